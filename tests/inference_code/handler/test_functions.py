import numpy as np
import pytest

from inference_code.codecs import npy
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import read_settings


@pytest.fixture
def serve(model_dir):
    def load(source):
        return ServedModel(read_settings(model_dir(source)))

    return load


def test_text_bodies_arrive_as_str_and_others_as_bytes(serve):
    model = serve(
        """
        def model_fn(model_dir): return None
        def input_fn(data, content_type): return type(data).__name__ + " " + content_type
        def predict_fn(data, model): return data
        """
    )
    assert model.answer(b"{}", "application/json; charset=utf-8")[2] == b'"str application/json"'
    assert model.answer(b"1,2", "text/csv")[2] == b'"str text/csv"'
    assert model.answer(b"\xff", "image/png")[2] == b'"bytes image/png"'


def test_text_that_is_no_utf8_is_a_bad_request(serve):
    model = serve("def model_fn(d): return 1\ndef predict_fn(data, model): return data")
    assert model.answer(b"\xff", "text/csv")[0] == 400


def test_context_is_passed_to_functions_that_take_it_and_only_to_them(serve):
    model = serve(
        """
        def model_fn(model_dir, context): return context.system_properties["model_dir"]
        def input_fn(data, content_type, context): return context.get_request_header(0, "Accept")
        def predict_fn(data, model): return [data, model]
        def output_fn(prediction, accept, context): return repr(prediction), "text/plain"
        """
    )
    status, kind, body = model.answer(b"{}", "application/json", "text/plain")
    assert (status, kind) == (200, b"text/plain")
    assert body == repr(["text/plain", str(model.settings.model_dir)]).encode()


def test_transform_fn_replaces_the_other_three(serve):
    model = serve(
        """
        def model_fn(model_dir): return 10
        def transform_fn(model, data, content_type, accept): return data * 2, content_type
        """
    )
    assert model.answer(b"ab", "text/csv") == (200, b"text/csv", b"abab")


def test_bodies_are_decoded_by_default_without_pickle(serve):
    model = serve("def model_fn(d): return 1\ndef predict_fn(data, model): return data.sum()")
    assert model.answer(npy.write(np.arange(4)), "application/x-npy")[2] == b"6"


def test_warm_up_functions_run_in_order(serve):
    model = serve(
        """
        calls = []
        def pre_model_fn(model_dir): calls.append("pre")
        def model_fn(model_dir): calls.append("model"); return calls
        def model_warmup_fn(model_dir, model): calls.append("warm")
        def predict_fn(data, model): return list(model)
        """
    )
    assert model.answer(b"1", "")[2] == b'["pre","model","warm"]'


def test_the_default_accept_comes_from_sagemakers_variable(serve, monkeypatch):
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv")
    model = serve(
        """
        def model_fn(d): return 1
        def predict_fn(data, model): return data
        def output_fn(prediction, accept): return accept
        """
    )
    assert model.answer(b"1", "")[:2] == (200, b"text/csv")


def test_a_function_that_raises_fails_its_request_and_hides_the_reason(serve, capsys):
    model = serve(
        """
        def model_fn(d): return 1
        def predict_fn(data, model): raise RuntimeError("a secret")
        """
    )
    status, _, body = model.answer(b"1", "")
    assert status == 500
    assert b"secret" not in body
    assert "a secret" in capsys.readouterr().err


ECHO = """
def model_fn(d): return 1
def predict_fn(data, model): return data
def output_fn(prediction, accept): return accept
"""


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv, application/json", b"text/csv"),
        ("text/csv;q=0.1, application/json", b"application/json"),
        ("image/png, */*;q=0.8", b"image/png"),
        ("application/json;q=0, */*", b"text/csv"),
        ("image/*", b"application/json"),
        ("Application/JSON; charset=utf-8", b"application/json"),
    ],
)
def test_output_fn_is_asked_for_one_type_and_answers_with_it(serve, accept, kind):
    assert serve(ECHO).answer(b"1", "", accept) == (200, kind, kind)


def test_an_accept_header_that_refuses_everything_is_not_acceptable(serve):
    assert serve(ECHO).answer(b"1", "", "text/csv;q=0")[0] == 406


def test_a_script_whose_content_type_is_a_list_fails(serve, capsys):
    both = '"text/csv, application/json"'
    model = serve(ECHO.replace("return accept", f"return prediction, {both}"))
    assert model.answer(b'"a"', "")[0] == 500
