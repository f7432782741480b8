import pytest

from inference_code.errors import HandlerInvalid
from inference_code.handler import Context
from inference_code.handler.functions import FunctionHandler
from inference_code.handler.loading import find_handler
from inference_code.handlers.onnx import Handler as OnnxHandler


def test_a_class_that_extends_handler_is_found(model_dir):
    assert type(find_handler(model_dir())).__name__ == "Doubler"


def test_sagemaker_functions_are_found(model_dir):
    source = "def model_fn(model_dir): return 1\ndef predict_fn(data, model): return data"
    assert isinstance(find_handler(model_dir(source)), FunctionHandler)


def test_a_folder_without_code_gets_the_onnx_handler(tmp_path):
    assert isinstance(find_handler(tmp_path), OnnxHandler)


def test_one_line_in_inference_py_gets_the_onnx_handler(model_dir):
    folder = model_dir("from inference_code.handlers.onnx import Handler")
    assert isinstance(find_handler(folder), OnnxHandler)


def test_sagemaker_program_names_another_file(model_dir, monkeypatch):
    folder = model_dir("raise SystemError")
    (folder / "code" / "other.py").write_text(
        "def model_fn(d): return 1\ndef predict_fn(data, model): return data"
    )
    monkeypatch.setenv("SAGEMAKER_PROGRAM", "other.py")
    assert isinstance(find_handler(folder), FunctionHandler)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "has no handler: add a class"),
        ("import surely_not_there", "needs the module 'surely_not_there', which neither lies in"),
        ("1 / 0", "fails on import: ZeroDivisionError"),
        ("def f(:", "fails on import: SyntaxError"),
        ("def model_fn(): return 1\ndef predict_fn(d, m): return d", r"model_fn\(\) does not fit"),
        (
            "def model_fn(d): return 1\ndef transform_fn(m, d, c, a): return d\n"
            "def input_fn(d, c): return d",
            "transform_fn and input_fn: transform_fn replaces",
        ),
        (
            "from inference_code.handler import Handler\n"
            "class A(Handler):\n    def load(self, context): pass",
            "class A lacks predict: write it",
        ),
        (
            "from inference_code.handler import Handler\n"
            "class A(Handler):\n    def load(self): pass\n    def predict(self, items): return items",
            r"A.load\(self\) does not fit: write load\(self, context",
        ),
        (
            "from inference_code.handler import Handler\n"
            "class A(Handler):\n    def load(self, c): pass\n    def predict(self, items): return items\n"
            "class B(Handler):\n    def load(self, c): pass\n    def predict(self, items): return items",
            r"several handlers \(A, B\)",
        ),
    ],
)
def test_a_handler_that_cannot_serve_is_told_what_to_change(model_dir, source, message):
    with pytest.raises(HandlerInvalid, match=message):
        find_handler(model_dir(source))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def predict_fn(d, m): return d", "has no model_fn: add"),
        ("def model_fn(d): return 1", "neither predict_fn nor transform_fn"),
        ("import torch\ndef model_fn(d): return 1", "neither predict_fn nor transform_fn"),
        (
            "import torch\ndef predict_fn(d, m): return d",
            "of .pt and .pth files there is not one: none",
        ),
    ],
)
def test_what_no_toolkit_has_a_default_for_is_told_when_loading(model_dir, source, message):
    if "torch" in source:
        pytest.importorskip("torch")
    folder = model_dir(source)
    with pytest.raises(HandlerInvalid, match=message):
        find_handler(folder).load(Context(folder))


def test_an_unknown_toolkit_is_told(model_dir, monkeypatch):
    monkeypatch.setenv("INFERENCE_TOOLKIT", "keras")
    with pytest.raises(HandlerInvalid, match="there are huggingface, plain, pytorch, scikit-learn"):
        find_handler(model_dir("def model_fn(d): return 1"))
