"""What scripts import from SageMaker's toolkits."""

import io
import json

import numpy as np
import pytest

from inference_code.codecs import npy
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import read_settings
from inference_code.handler import toolkits


@pytest.fixture
def serve(model_dir):
    return lambda source: ServedModel(read_settings(model_dir(source)))


def test_decoder_and_encoder_are_there_without_pickle(serve):
    model = serve(
        """
        from sagemaker_inference import content_types, decoder, encoder
        def model_fn(model_dir): return 2
        def input_fn(data, content_type): return decoder.decode(data, content_type)
        def predict_fn(data, model): return data * model
        def output_fn(prediction, accept): return encoder.encode(prediction, accept)
        """
    )
    assert model.answer(b"[1, 2.5]", "application/json") == (200, b"application/json", b"[2.0,5.0]")
    assert model.answer(b"1,2\n3,4", "text/csv", "text/csv")[2] == b"2.0,4.0\n6.0,8.0\n"
    assert model.answer(b"1,2", "text/csv")[2] == b"[2.0,4.0]"
    status, _, body = model.answer(
        npy.write(np.arange(3)), "application/x-npy", "application/x-npy"
    )
    assert (status, np.load(io.BytesIO(body)).tolist()) == (200, [0, 2, 4])
    pickled = io.BytesIO()
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert model.answer(pickled.getvalue(), "application/x-npy")[0] == 400
    status, _, body = model.answer(b"x", "image/png")
    assert (status, json.loads(body)["error"]) == (415, "HandlerRefused")


def test_refusals_of_the_toolkits_have_their_own_status_and_words(serve):
    model = serve(
        """
        from mms.service import PredictionException
        from sagemaker_inference.errors import GenericInferenceToolkitError, UnsupportedFormatError
        def model_fn(model_dir): return 1
        def predict_fn(data, model):
            if data == 0: raise PredictionException("no such tenant", 404)
            if data == 1: raise GenericInferenceToolkitError(422, "too short", "short")
            if data == 2: raise UnsupportedFormatError("image/x")
            if data == 3: raise PredictionException("odd", 799)
            raise ValueError("a secret")
        """
    )

    def ask(number):
        status, _, body = model.answer(str(number).encode(), "application/json")
        return status, json.loads(body)["message"]

    assert ask(0) == (404, "no such tenant")
    assert ask(1) == (422, "too short")
    assert ask(2) == (415, "Content type image/x is not supported.")
    assert ask(3)[0] == 500
    assert ask(4) == (500, "the model's predict step failed; the server's log says why")


def test_utilities_are_there(serve, tmp_path):
    model = serve(
        f"""
        from sagemaker_inference import utils
        def model_fn(model_dir):
            utils.write_file("{tmp_path}/a.txt", "7")
            return utils.read_file("{tmp_path}/a.txt")
        def predict_fn(data, model):
            return [model, utils.parse_accept("text/csv;q=0.5, */*"),
                    utils.retrieve_content_type_header({{"content-type": "text/csv"}})]
        """
    )
    assert json.loads(model.answer(b"1", "")[2]) == ["7", ["text/csv", "*/*"], "text/csv"]


def test_hugging_faces_coder_reads_tables_and_refuses_as_its_own_does(serve):
    model = serve(
        """
        from sagemaker_huggingface_inference_toolkit import content_types, decoder_encoder
        def model_fn(model_dir): return str.upper
        def transform_fn(model, data, content_type, accept):
            inputs = decoder_encoder.decode(data, content_type)["inputs"]
            return decoder_encoder.encode([{"label": model(text)} for text in inputs], accept)
        """
    )
    assert model.answer(b"inputs\na\nb\n", "text/csv")[2] == b'[{"label":"A"},{"label":"B"}]'
    assert model.answer(b"inputs\na\n", "text/csv", "text/csv")[2] == b"label\r\nA\r\n"
    status, _, body = model.answer(b"1,2", "text/csv")
    assert status == 400
    assert b"must name the columns" in body


def test_installing_twice_is_installing_once():
    toolkits.install()
    import sagemaker_inference.decoder as first

    toolkits.install()
    import sagemaker_inference.decoder as second

    assert first is second
