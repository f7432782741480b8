import json

import pytest

from inference_code.engine.served import ServedModel
from inference_code.engine.settings import read_settings
from inference_code.errors import HandlerFailed
from inference_code.handler.context import FunctionContext

NAME = "X-Amzn-SageMaker-Custom-Attributes"


def test_what_a_script_sets_comes_with_its_answer(model_dir):
    source = f"""
        def model_fn(d): return 1
        def transform_fn(model, data, content_type, accept, context):
            context.set_response_status(202, "later")
            context.set_response_content_type(0, "text/plain")
            context.set_response_header(0, "{NAME}", "tenant=7")
            context.set_response_header(0, "X-Other", "not handed on")
            return "taken"
    """
    model = ServedModel(read_settings(model_dir(source)))
    head = b"text/plain\r\nx-amzn-sagemaker-custom-attributes: tenant=7"
    assert model.answer(b"1", "text/csv") == (202, head, b"taken")


@pytest.mark.parametrize("value", ["x" * 1025, "a\r\nSet-Cookie: b", "ä", "a\nb"])
def test_attributes_cannot_smuggle_headers(value):
    with pytest.raises(HandlerFailed):
        FunctionContext("").set_response_header(0, NAME, value)


def test_a_content_type_cannot_smuggle_headers(model_dir):
    source = """
        def model_fn(d): return 1
        def transform_fn(model, data, content_type, accept): return "x", data
    """
    model = ServedModel(read_settings(model_dir(source)))
    status, kind, _ = model.answer(b"text/plain\r\nSet-Cookie: a", "text/csv")
    assert (status, kind) == (500, b"application/json")


@pytest.mark.parametrize("code", [0, 100, 204, 304, 299, 700, "200"])
def test_only_statuses_of_answers_with_a_body_can_be_set(code):
    with pytest.raises(HandlerFailed):
        FunctionContext("").set_response_status(code)


def test_older_names_lead_to_the_same_headers():
    context = FunctionContext(
        "/m", {"Content-Type": "text/csv", "X-Amzn-SageMaker-Inference-Id": "7"}
    )
    assert context.request_processor[0].get_request_properties()["content-type"] == "text/csv"
    assert context.get_request_header(0, "CONTENT-TYPE") == "text/csv"
    assert context.request_ids == {0: "7"}
    assert context.system_properties["model_dir"] == "/m"
    assert context.get_response_status() == (200, "OK")


def test_what_a_script_measures_is_a_line_of_json(capsys):
    FunctionContext("").metrics.add_time("tokenize", 3.2, None, "ms")
    line = json.loads(capsys.readouterr().err)
    assert (line["name"], line["value"], line["unit"]) == ("tokenize", 3.2, "ms")
