"""Wrong requests to models of ONNX: each is a 400 that names the field and the fix, and harms nobody else."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_code.codecs import npy
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import read_settings
from inference_code.handlers import blame
from inference_code.runtime import cleaned, words_of

pytest.importorskip("onnx")
from onnx import TensorProto
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument

_spec = importlib.util.spec_from_file_location("traits", Path(__file__).parent / "traits.py")
assert _spec is not None
assert _spec.loader is not None
traits: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(traits)

pytestmark = pytest.mark.optimize
JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
F32, I64 = traits.F32, traits.I64


def ends(kind: int, shape: Any) -> tuple[Any, Any]:
    return traits.value("x", kind, shape), traits.value("y", kind, shape)


def same_shape(kind: int, *shape: Any) -> bytes:
    x, y = ends(kind, shape)
    return traits.model([traits.node("Identity", ["x"], ["y"])], [x], [y])


def two_columns() -> bytes:
    """Two inputs side by side, each with its own name for the rows, which only the graph ties together."""
    inputs = [traits.value("a", F32, ["left", 2]), traits.value("b", F32, ["right", 1])]
    out = [traits.value("y", F32, ["left", 3])]
    return traits.model([traits.node("Concat", ["a", "b"], ["y"], axis=1)], inputs, out)


def large() -> bytes:
    """Makes as many numbers as it is asked for."""
    x, y = traits.value("n", I64, [1]), traits.value("y", F32, ["n"])
    return traits.model([traits.node("Expand", ["one", "n"], ["y"])], [x], [y], one=traits.ramp(1))


MODELS: dict[str, Callable[[], bytes]] = {
    "rows": lambda: same_shape(F32, "batch", 2),
    "bytes": lambda: same_shape(TensorProto.UINT8, "batch", 2),
    "flags": lambda: same_shape(TensorProto.BOOL, "batch", 2),
    "halves": lambda: same_shape(TensorProto.FLOAT16, "batch", 2),
    "texts": lambda: same_shape(TensorProto.STRING, "batch", 2),
    "state": lambda: same_shape(F32, 2, 1),
    "embedding": traits.embedding,
    "picture": traits.picture_net,
    "voice": traits.voice,
    "columns": two_columns,
    "large": large,
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ServedModel]:
    known: dict[str, ServedModel] = {}

    def get(name: str) -> ServedModel:
        if name not in known:
            folder = traits.write(tmp_path_factory.mktemp(name), MODELS[name]())
            known[name] = ServedModel(read_settings(folder, {"max_batch": 1}))
            known[name].warm_up()
        return known[name]

    return get


def named(**arrays: Any) -> dict[str, Any]:
    return {"inputs": arrays}


def v2(name: str, shape: list[Any], datatype: str, data: Any) -> dict[str, Any]:
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


PICTURE = [[[[0.0] * 9] * 9]]
VOICE = {"sound": [[0.0] * 16], "state": [[[0.0] * 3]] * 2, "rate": 8000}
WRONG: list[tuple[str, Any, str]] = [
    # names
    ("rows", {"input": [[1, 2]]}, 'expected {"instances": [...]} or {"inputs": ...}'),
    ("rows", named(z=[[1, 2]]), "input 'x' is missing; this model takes ['x']"),
    ("embedding", named(ids=[[1]]), "input 'mask' is missing; this model takes ['ids', 'mask']"),
    ("embedding", named(ids=[[1]], mask=[[1]], len=1), "unknown input 'len'; this model takes"),
    ("embedding", {"inputs": [[1]]}, "'inputs' must name ['ids', 'mask']"),
    ("embedding", [{"ids": [1]}], "instances[0] must have the keys ['ids', 'mask']"),
    ("rows", v2("z", [1, 2], "FP32", [1, 2]), "input 'x' is missing"),
    ("rows", {"inputs": [{"name": "x", "data": [1, 2]}]}, "needs name, shape, datatype and data"),
    # types
    ("rows", [["1", "2"]], "input 'x' takes float32 numbers only (no text, no null)"),
    ("rows", [[1, None]], "input 'x' takes float32 numbers only (no text, no null)"),
    ("rows", [[1, 1e39]], "input 'x': a value does not fit into float32: 1e+39"),
    ("rows", b'{"inputs": [[NaN, 1]]}', "JSON has no NaN and no Infinity: send npy for them"),
    ("rows", b'{"inputs": [[1e999, 1]]}', "number is infinity when parsed as double"),
    ("bytes", [[0, 256]], "input 'x': a value does not fit into uint8: 256"),
    ("bytes", [[0, -1]], "input 'x': a value does not fit into uint8: -1"),
    ("bytes", [[0, 0.5]], "input 'x' takes whole numbers (uint8), not 0.5"),
    ("bytes", v2("x", [1, 2], "INT64", [1, 2]), "input 'x' takes UINT8, not 'INT64'"),
    ("flags", [[0, 2]], "input 'x' takes true or false (or 1 and 0), not 2"),
    ("halves", [[0, 65520]], "input 'x': a value does not fit into float16: 65520"),
    ("texts", [["a", 1]], "input 'x' takes text, not 1"),
    ("texts", (npy.write(np.zeros((1, 2))), NPY), "input 'x' takes text, not float64"),
    ("rows", (npy.write(np.zeros((1, 2), complex)), NPY), "input 'x' takes float32 numbers only"),
    # shapes
    ("rows", [[1, 2, 3]], "input 'x' takes shape (any, 2), the body holds (1, 3)"),
    ("rows", {"inputs": [1, 2]}, "input 'x' takes shape (any, 2), the body holds (2,)"),
    ("rows", [[1, 2], [3]], "input 'x': rows of different lengths"),
    ("rows", [], "'instances' must be a list of at least one example"),
    ("rows", (b"1,2\n3\n", CSV), "csv: line 2 has 1 values, line 1 has 2"),
    ("rows", v2("x", [2, 2], "FP32", [1, 2]), "input 'x': shape [2, 2] does not hold 2 values"),
    ("state", [[1], [2], [3]], "exported for exactly 2 rows at a time; 3 were sent"),
    ("voice", named(**{**VOICE, "state": [[[0.0] * 3]]}), "'state' takes shape (2, any, 3), the body"),
    ("voice", [VOICE], "'rate' is one value for the whole request: send {\"inputs\""),
    ("embedding", named(ids=[[1], [2]], mask=[[1]]),
     "the same number of rows: input 'ids' has 2, input 'mask' has 1"),
    # what only the model can tell
    ("embedding", named(ids=[[1, 10]], mask=[[1, 1]]),
     "input 'ids': the model refuses its values: Gather: indices element out of data bounds, "
     "idx=10 must be within the inclusive range [-10,9]"),
    ("embedding", named(ids=[[1, 2, 3]], mask=[[1, 1]]),
     "input 'ids' of shape (1, 3), input 'mask' of shape (1, 2): the model refuses this input: Mul: "),
    ("picture", {"inputs": PICTURE},
     "input 'x' of shape (1, 1, 9, 9): the model refuses this input: MatMul: MatMul dimension mismatch; "
     "it has answered input 'x' of shape (1, 1, 8, 8)"),
    ("picture", {"inputs": [[[[0.0]]]]}, "(1, 1, 1, 1): the model refuses this input: Conv: "),
    ("voice", named(**{**VOICE, "sound": [[0.0] * 15]}),
     "the model refuses this input: Conv: "),
    ("columns", named(a=[[1, 2], [3, 4]], b=[[5]]),
     "input 'a' of shape (2, 2), input 'b' of shape (1, 1): the model refuses this input: Concat: "),
]  # fmt: skip


def test_there_are_thirty_wrong_requests() -> None:
    assert len(WRONG) >= 30


@pytest.mark.parametrize(("model", "body", "words"), WRONG)
def test_a_wrong_request_is_a_400_that_names_the_field_and_the_fix(
    model: str, body: Any, words: str, served: Callable[[str], ServedModel]
) -> None:
    sent, kind = body if isinstance(body, tuple) else (body, JSON)
    if not isinstance(sent, bytes):
        sent = json.dumps(sent).encode()
    status, _, answer = served(model).answer(sent, kind)
    assert status == 400
    message = json.loads(answer)["message"]
    assert words in message
    assert not re.search(r"onnxruntime_src|ONNXRuntimeError|node\. Name|\.cc|\.h:\d", message)


def test_what_needs_more_memory_than_there_is_is_too_large(
    served: Callable[[str], ServedModel],
) -> None:
    status, _, answer = served("large").answer(json.dumps({"inputs": [2**50]}).encode(), JSON)
    assert status == 413
    assert (
        "input 'n' of shape (1,) needs more memory than there is" in json.loads(answer)["message"]
    )


def test_a_neighbour_of_a_refused_request_is_answered(tmp_path: Path) -> None:
    model = ServedModel(read_settings(traits.write(tmp_path, traits.embedding()), {"max_batch": 4}))
    model.warm_up()
    bodies = [named(ids=[[word]], mask=[[1]]) for word in (1, 10, 2)]
    items = [model.decode(json.dumps(body).encode(), JSON, "") for body in bodies]
    replies = [model.encode(output, "") for output in model.predict(items)]
    assert [status for status, _, _ in replies] == [200, 400, 200]
    table = traits.ramp(10, 4)
    for reply, word in ((replies[0], 1), (replies[2], 2)):
        assert json.loads(reply[2])["outputs"] == [table[word].tolist()]


@pytest.mark.serve
def test_bad_and_good_requests_at_once_each_get_their_own_answer(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    server = start(traits.write(tmp_path / "model", traits.embedding())).wait_until_ready()
    table = traits.ramp(10, 4).tolist()

    def ask(word: int) -> tuple[int, Any]:
        answer = server.invoke(named(ids=[[word]], mask=[[1]]))
        return answer.status, answer.json()

    words = [number % 14 for number in range(56)]  # 10 to 13 are outside the table
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, words))
    for word, (status, answer) in zip(words, answers, strict=True):
        if word < len(table):
            assert (status, answer) == (200, {"outputs": [table[word]]})
        else:
            assert (status, f"idx={word} must be" in answer["message"]) == (400, True)
    assert "Traceback" not in server.log.read_text()


# No st.floats: it wants numbers below 1e-308, which ONNX Runtime takes for zero in its thread.
CELLS = st.one_of(st.integers(-20, 20), st.integers(-(2**66), 2**66), st.booleans(), st.none(),
                  st.sampled_from([0.5, -1.0, 1e39, -1e300, 1e-5]), st.text(max_size=2))  # fmt: skip
VALUES = st.recursive(CELLS, lambda inner: st.lists(inner, max_size=3), max_leaves=12)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 8, 2**31 - 1, 2**40, 2**70]), max_size=4)


@st.composite
def tensors_for(draw: st.DrawFn, names: list[str], types: list[str]) -> dict[str, Any]:
    """A body that is nearly right: each input by its name, with one value or shape or another."""
    form = draw(st.sampled_from(["inputs", "instances", "v2"]))
    if form == "v2":
        pairs = zip(names, types, strict=True)
        return {"inputs": [{"name": name, "datatype": kind, "shape": draw(SHAPES), "data": draw(VALUES)}
                           for name, kind in pairs]}  # fmt: skip
    arrays = {name: draw(VALUES) for name in names}
    return named(**arrays) if form == "inputs" else {"instances": [arrays]}


@pytest.mark.parametrize(
    ("model", "names", "types"),
    [
        ("rows", ["x"], ["FP32"]),
        ("bytes", ["x"], ["UINT8"]),
        ("texts", ["x"], ["BYTES"]),
        ("state", ["x"], ["FP32"]),
        ("embedding", ["ids", "mask"], ["INT64", "INT64"]),
        ("picture", ["x"], ["FP32"]),
        ("voice", ["sound", "state", "rate"], ["FP32", "FP32", "INT64"]),
        ("columns", ["a", "b"], ["FP32", "FP32"]),
    ],
)
@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_no_body_makes_a_sound_model_fail(
    model: str, names: list[str], types: list[str], data: st.DataObject,
    served: Callable[[str], ServedModel],
) -> None:  # fmt: skip
    body = data.draw(tensors_for(names, types))
    status, _, answer = served(model).answer(json.dumps(body).encode(), JSON)
    assert status in (200, 400, 413), answer


class Broken:
    """An engine that fails as ONNX Runtime does, from some moment on or for one value."""

    def __init__(self) -> None:
        self.fails = False

    def run(self, arrays: Any) -> list[np.ndarray]:
        if self.fails or (arrays["x"] == 7).any():
            raise Fail("[ONNXRuntimeError] : 1 : FAIL : the weights are gone")
        return [arrays["x"]]


def test_a_model_that_fails_at_what_it_answered_before_is_at_fault_itself(
    capfd: pytest.CaptureFixture[str],
) -> None:
    engine = Broken()
    known, asked = {"x": np.zeros(2, np.int64)}, {"x": np.array([7, 1])}
    error = Fail("[ONNXRuntimeError] : 1 : FAIL : the weights are gone")
    refused = blame.judged(engine.run, asked, known, error)
    assert (type(refused).__name__, str(refused)) == (
        "BadRequest",
        "input 'x': the model refuses its values: the weights are gone",
    )
    assert capfd.readouterr().err == ""  # nothing for an alarm
    engine.fails = True
    failed = blame.judged(engine.run, asked, known, error)
    assert (type(failed).__name__, str(failed)) == (
        "HandlerFailed",
        "the model fails: the weights are gone",
    )
    assert "the weights are gone" in capfd.readouterr().err


def test_an_error_that_is_not_the_engines_is_left_as_it_is() -> None:
    error = KeyError("x")
    assert words_of(error) is None
    assert blame.judged(lambda arrays: None, {}, {}, error) is error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while running Gather node. "
         "Name:'/emb/G' Status Message: indices element out of data bounds, idx=5 must be within [-2,1]",
         "Gather: indices element out of data bounds, idx=5 must be within [-2,1]"),
        ("[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add node. Name:'' Status "
         "Message: /onnxruntime_src/core/element_wise_ops.h:583 void onnxruntime::BroadcastIterator::Append("
         "ptrdiff_t, ptrdiff_t) axis == 1 || axis == largest was false. Attempting to broadcast 2 by 3\n",
         "Add: Attempting to broadcast 2 by 3"),
        ("[ONNXRuntimeError] : 1 : FAIL : concatbase.h:133 PrepareForComputeImpl Non concat axes must match",
         "Non concat axes must match"),
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x\n"
         " index: 1 Got: 3 Expected: 4\n Please fix either the inputs/outputs or the model.",
         "Got invalid dimensions for input: x index: 1 Got: 3 Expected: 4"),
        ("", "it does not say why"),
    ],
)  # fmt: skip
def test_the_runtimes_words_come_without_its_internals(text: str, words: str) -> None:
    assert cleaned(text) == words
    assert words_of(InvalidArgument(text)) == words
