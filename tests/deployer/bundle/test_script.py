"""A handler's file read without running it: what surely fails at the start is refused, all else is left to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.bundle.disk import file_at
from deployer.bundle.script import check_handler
from deployer.errors import InputError

OURS = "from inference_code.handler import Handler\n"
REFUSED = {
    "nothing": ("", "has no handler"),
    "a class of nobody": ("class Net:\n    def predict(self, x): return x\n", "has no handler"),
    "our class alone": (OURS, "has no handler"),
    "other functions": ("def main(): pass\n", "has no handler"),
    "no predict": (OURS + "class Mine(Handler):\n    def load(self, c): pass\n", "class Mine lacks predict"),
    "neither": (OURS + "class Mine(Handler):\n    x = 1\n", "class Mine lacks load and predict"),
    "by another name": (
        "from inference_code.handler import Handler as B\nclass Mine(B[int, int]):\n    def load(self, c): pass\n",
        "class Mine lacks predict",
    ),
    "by the module": (
        "import inference_code.handler\n"
        "class Mine(inference_code.handler.Handler):\n    def predict(self, i): return i\n",
        "class Mine lacks load",
    ),
    "no Python": ("def model_fn(:\n", "is not Python at line 1"),
}  # fmt: skip
TAKEN = {
    "functions": "def model_fn(d): return 1\n",
    "functions that are assigned": "predict_fn = lambda data, model: data\n",
    "functions from elsewhere": "from lib.serving import model_fn, predict_fn\n",
    "a class from elsewhere": "from inference_code.handlers.onnx import Handler\n",
    "a star": "from lib import *\n",
    "below try": "try:\n    import x\nexcept ImportError:\n    def predict_fn(d, m): return d\n",
    "a class with a base of its own": "import lib\nclass Mine(lib.Base): pass\n",
    "a class whose child has the rest": OURS
    + "class Half(Handler):\n    def load(self, c): pass\n"
    + "class Whole(Half):\n    def predict(self, i): return i\n",
    "methods that are assigned": OURS + "class Mine(Handler):\n    load = predict = print\n",
    "names that are made": "globals()['model_fn'] = print\n",
}


def check(folder: Path, text: str) -> None:
    (folder / "h.py").write_text(text)
    check_handler(file_at(folder / "h.py"))


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_cannot_be_a_handler_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        check(tmp_path, text)
    assert words in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
def test_a_file_that_may_be_one_is_left_to_the_start(tmp_path: Path, text: str) -> None:
    check(tmp_path, text)
