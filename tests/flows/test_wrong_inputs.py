"""Wrong inputs to ``optimize``, ``package`` and the server, as a new user gives them: the field and the fix are named.

Each case is a command or a request. It ends with the exit code or status of a mistake of the user's, without a
traceback, and says what is wrong and what to do, word by word.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from deployer.cli.main import cli
from deployer.deployments.local.server import free_port

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("PIL")
tokenizers = pytest.importorskip("tokenizers")
pytestmark = [pytest.mark.serve, pytest.mark.optimize]

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
NODE = onnx.helper.make_node
_RNG = np.random.default_rng(6)
WEIGHT = _RNG.normal(size=(16, 3)).astype("f4")
X = _RNG.normal(size=(64, 16)).astype("f4")
LABEL = (X @ WEIGHT).argmax(1)
IDS, MASK = _RNG.integers(0, 20, (64, 6)), np.ones((64, 6), np.int64)


def save(path: Path, nodes: Any, inputs: Any, outputs: Any, **weights: Any) -> Path:
    """Write a model; an input or output is its name, type and axes."""
    info = onnx.helper.make_tensor_value_info
    held = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = onnx.helper.make_graph(
        nodes, "g", [info(*each) for each in inputs], [info(*each) for each in outputs], held
    )
    opsets = [onnx.helper.make_opsetid("", 13), onnx.helper.make_opsetid("my.ops", 1)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def net(path: Path) -> Path:
    """16 features to 3 classes."""
    ends = [("features", FLOAT, ["n", 16])], [("logits", FLOAT, ["n", 3])]
    return save(path, [NODE("MatMul", ["features", "w"], ["logits"])], *ends, w=WEIGHT)


def words(path: Path, ids: str = "ids", mask: str = "mask") -> Path:
    """Tokens of a table of 20, each times its mask."""
    nodes = [
        NODE("Gather", ["table", ids], ["each"]),
        NODE("Cast", [mask], ["kept"], to=FLOAT),
        NODE("Unsqueeze", ["kept", "axis"], ["wide"]),
        NODE("Mul", ["each", "wide"], ["y"]),
    ]
    inputs = [(ids, INT64, ["n", "l"]), (mask, INT64, ["n", "l"])]
    table, axis = _RNG.normal(size=(20, 4)).astype("f4"), np.array([2])
    return save(path, nodes, inputs, [("y", FLOAT, ["n", "l", 4])], table=table, axis=axis)


def pixels(path: Path) -> Path:
    """Means of three channels of 8 by 8 pixels."""
    nodes = [NODE("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)]
    return save(path, nodes, [("x", FLOAT, ["n", 3, 8, 8])], [("y", FLOAT, ["n", 3])])


def state(path: Path) -> Path:
    """A row and its state, whose batch is its second axis."""
    inputs = [("x", FLOAT, ["batch", 4]), ("state", FLOAT, [1, "batch", 4])]
    return save(path, [NODE("Add", ["x", "state"], ["y"])], inputs, [("y", FLOAT, [1, "batch", 4])])


def unknown(path: Path) -> Path:
    ends = [("features", FLOAT, ["n", 16])], [("logits", FLOAT, ["n", 16])]
    return save(path, [NODE("Fancy", ["features"], ["logits"], domain="my.ops")], *ends)


def beside(path: Path) -> Path:
    """A model whose weights lie in ``m.data``, which is gone."""
    net(path)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
    path.with_name("m.data").unlink()
    return path


def npz(**arrays: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


def cut(**arrays: Any) -> Callable[[Path], None]:
    """Write an archive that a copy has cut in half."""

    def write(path: Path) -> None:
        np.savez(path, **arrays)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return write


def holed(at: float) -> np.ndarray:
    found = X.copy()
    found[3, 2] = at
    return found


@dataclass(frozen=True)
class Command:
    """``line`` follows ``deployer``; ``files`` are written first; every text of ``says`` is said."""

    line: str
    says: tuple[str, ...]
    files: Mapping[str, Callable[[Path], Any]] = field(default_factory=dict)
    code: int = 2


OPTIMIZE = "optimize net.onnx --calibration c.npz --eval e.npz --rung int8-dynamic -o out"
WORDS = "optimize words.onnx --calibration c.npz --eval w.npz --metric cosine --rung int8-dynamic -o out"
STATE = "optimize state.onnx --calibration c.npz --eval c.npz --metric cosine -o out"
ROWS = _RNG.normal(size=(64, 4)).astype("f4")

OPTIMIZING = {
    "a wrong name": Command(OPTIMIZE, (
        "calibration: the model has no input 'feature'", "its inputs: features; rename the array"),
        {"c.npz": npz(feature=X)}),
    "an input too many": Command(OPTIMIZE, (
        "evaluation: the model has no input 'age'", "its inputs: features; rename the array, or leave it out"),
        {"e.npz": npz(features=X, label=LABEL, age=X)}),
    "a missing input": Command(WORDS, (
        "calibration: no array for the model's input 'mask'", "found: ids; write one with numpy.savez"),
        {"c.npz": npz(ids=IDS)}),
    "floats for ids": Command(WORDS, (
        "'ids' has dtype float32, the model takes int64", "convert it with .astype('int64')"),
        {"c.npz": npz(ids=IDS.astype("f4"), mask=MASK)}),
    "texts for numbers": Command(OPTIMIZE, (
        "'features' has dtype str, the model takes float32", "turn the texts into numbers"),
        {"c.npz": npz(features=X.astype(str))}),
    "a wrong rank": Command(OPTIMIZE, (
        "'features' has shape (64, 16, 1), the model takes (rows, 16)", "the first axis is the rows of the set"),
        {"c.npz": npz(features=X[:, :, None])}),
    "a wrong fixed axis": Command(OPTIMIZE, (
        "'features' has shape (64, 8), the model takes (rows, 16)", "the others are as the model declares them"),
        {"c.npz": npz(features=X[:, :8])}),
    "NaN": Command(OPTIMIZE, (
        "calibration: 'features' holds NaN or infinity, first in row 3", "drop those rows, or put numbers there"),
        {"c.npz": npz(features=holed(np.nan))}),
    "infinity": Command(OPTIMIZE, (
        "evaluation: 'features' holds NaN or infinity, first in row 3", "drop those rows, or put numbers there"),
        {"e.npz": npz(features=holed(np.inf), label=LABEL)}),
    "rows that differ": Command(WORDS, (
        "calibration: the arrays differ in rows: ids 64, mask 60", "give each as many"),
        {"c.npz": npz(ids=IDS, mask=MASK[:60])}),
    "rows on another axis": Command(STATE, (
        "the arrays differ in rows: x 64, state 1",
        "'state' has 64 on its axis 1", "export the model with its batch first"),
        {"c.npz": npz(x=ROWS, state=ROWS[None])}),
    "rows on the first axis of a model that has them on another": Command(STATE, (
        "'state' has its rows on axis 1 ('batch' in the model's file), not on the first", "with its batch first"),
        {"c.npz": npz(x=ROWS, state=np.repeat(ROWS[None], 64, 0))}),
    "no label": Command(OPTIMIZE, (
        "evaluation: accuracy needs an array 'label' or 'target'", "numpy.savez(file, label=labels, ...)"),
        {"e.npz": npz(features=X)}),
    "float labels": Command(OPTIMIZE, (
        "labels must be one whole number per row, not float32 (64,)", "labels.astype('int64')"),
        {"e.npz": npz(features=X, label=LABEL.astype("f4"))}),
    "labels of another length": Command(OPTIMIZE, (
        "the arrays differ in rows: features 64, label 50", "give each as many"),
        {"e.npz": npz(features=X, label=LABEL[:50])}),
    "a label outside the classes": Command(OPTIMIZE, (
        "'label' is 7 in row 0, and the model tells 3 classes apart", "number the classes from 0 to 2"),
        {"e.npz": npz(features=X, label=np.full(64, 7))}),
    "names for labels": Command(OPTIMIZE, (
        "labels must be one whole number per row, not str", "the number of each row's class, from 0 on"),
        {"e.npz": npz(features=X, label=np.array(["cat"] * 64))}),
    "an id outside the vocabulary": Command(WORDS, (
        "'ids' holds 25 in row 0, and the model's table has 20 entries", "ids go from 0 to 19"),
        {"c.npz": npz(ids=IDS * 0 + 25, mask=MASK)}),
    "rows that do not fit together": Command(WORDS, (
        "calibration: the first row is not answered: the model failed",
       "4 by 6", "give rows as the model will be asked them"),
        {"c.npz": npz(ids=IDS, mask=MASK[:, :4])}),
    "an empty archive": Command(OPTIMIZE, (
        "no array for the model's input 'features'", "found: nothing; write one with numpy.savez"),
        {"c.npz": npz()}),
    "pickled arrays": Command(OPTIMIZE, (
        "cannot read 'c.npz': the array 'features' holds Python objects", "make it numbers or texts"),
        {"c.npz": npz(features=np.array([None] * 64, dtype=object))}),
    "an archive that is cut": Command(OPTIMIZE, (
        "cannot read 'c.npz' as .npz: it is cut short or damaged", "copy the whole file again"),
        {"c.npz": cut(features=X)}),
    "not a model": Command(OPTIMIZE, (
        "ONNX Runtime cannot open 'net.onnx': Protobuf parsing failed", "export the model again"),
        {"net.onnx": text("hello")}),
    "a folder of two models": Command(OPTIMIZE.replace("net.onnx", "two"), (
        "'two' is no Hugging Face folder", "a model file is named by itself (here two/a.onnx, two/b.onnx)"),
        {"two/a.onnx": net, "two/b.onnx": net}),
    "an operator of one's own": Command(OPTIMIZE, (
        "cannot open 'net.onnx': Fatal error: my.ops:Fancy(-1) is not a registered", "replace the operator"),
        {"net.onnx": unknown}),
    "weights that are gone": Command(OPTIMIZE, (
        "cannot open 'net.onnx'", "m.data", "put the weights' file beside the model"),
        {"net.onnx": beside}),
    "an unknown metric": Command(f"{OPTIMIZE} --metric acuracy", (
        "unknown metric 'acuracy'", "one of accuracy,")),
    "more of the best than classes": Command(f"{OPTIMIZE} --metric top9", (
        "top9 needs 9 classes, the model gives 3", "or top2 to top3")),
    "a metric that fails": Command(f"{OPTIMIZE} --metric os:getcwd", (
        "metric 'os:getcwd' raised TypeError", "it is called as function(outputs, labels)")),
    "a file in the way": Command(OPTIMIZE.replace("-o out", "-o net.onnx"), (
        "'net.onnx' is a file", "-o names a folder here")),
    "a folder that cannot be written": Command(OPTIMIZE.replace("-o out", "-o /proc/x"), (
        "cannot write into '/proc'", "choose a folder that you may write to")),
}  # fmt: skip

PACKAGE = "package net.onnx --name a -o dist"
IMAGE = "package pixels.onnx --handler image --name a -o dist"
BASE = "from inference_code.handler import Handler\n"
PACKAGING = {
    "not a model": Command(PACKAGE, (
        "'net.onnx' is not an ONNX model", "export the model again, or copy the whole file"),
        {"net.onnx": text("hello")}),
    "a folder of two models": Command(PACKAGE.replace("net.onnx", "two"), (
        "'two' is not one ONNX model but 2 (a.onnx, b.onnx)", "name one of the files"),
        {"two/a.onnx": net, "two/b.onnx": net}),
    "weights that are gone": Command(PACKAGE, (
        "'net.onnx' keeps weights in 'm.data', which is missing", "put 'm.data' beside the model"),
        {"net.onnx": beside}),
    "the output in the model's folder": Command("package two --name a -o two/out", (
        "'two/out' lies in 'two', which goes into the bundle", "choose an output folder outside it"),
        {"two/a.onnx": net}),
    "a file in the way": Command("package net.onnx --name a -o net.onnx", (
        "'net.onnx' is a file", "-o names a folder here")),
    "a folder that cannot be written": Command("package net.onnx --name a -o /proc/x", (
        "cannot write into '/proc'", "choose a folder that you may write to")),
    "a sample of another shape": Command(f"{PACKAGE} --samples s", (
        "sample 'a.json' fails: input 'features' takes shape (any, 16), the body holds (1, 4)",
        "axis 1 must be 16 long"),
        {"s/a.json": text('{"instances": [[1, 2, 3, 4]]}')}),
    "a sample with a header": Command(f"{PACKAGE} --samples a.csv", (
        "sample 'a.csv' fails: csv: line 1: 'age' is not a number", "send numbers only, and there is no header line"),
        {"a.csv": text("age,size\n1,2\n")}),
    "no samples": Command(f"{PACKAGE} --samples s", (
        "'s' holds no sample request", "put request bodies into it"),
        {"s/.DS_Store": text("what a Mac leaves")}),
    "a handler that is not Python": Command(f"{PACKAGE} --handler h.py", (
        "'h.py' is not Python at line 1: '(' was never closed", "mend that line"),
        {"h.py": text("def model_fn(folder:\n    return 1\n")}),
    "a handler without predict": Command(f"{PACKAGE} --handler h.py", (
        "'h.py': class Mine lacks predict", "with load and predict"),
        {"h.py": text(f"{BASE}class Mine(Handler):\n    def load(self, context): pass\n")}),
    "a file without a handler": Command(f"{PACKAGE} --handler h.py", (
        "'h.py' has no handler", "or SageMaker's model_fn and predict_fn"),
        {"h.py": text("def main(): return 1\n")}),
    "a handler that imports what is not there": Command(f"{PACKAGE} --handler h.py", (
        "'h.py' imports 'tools_of_mine', and there is no tools_of_mine.py", "put the missing file there"),
        {"h.py": text("import tools_of_mine\ndef model_fn(folder): return 1\n")}),
    "a preprocessor that does more": Command(IMAGE, (
        "preprocessor_config.json: 'do_pad' is not done here", "write a handler"),
        {"preprocessor_config.json": text('{"size": {"height": 8, "width": 8}, "do_pad": true}')}),
    "pictures of another size": Command(IMAGE, (
        "makes pictures of 16 by 16, and 'x' takes [None, 3, 8, 8]", "package the two that belong together"),
        {"preprocessor_config.json": text('{"size": {"height": 16, "width": 16}}')}),
    "labels of another model": Command(IMAGE, (
        "config.json names 2 labels (id2label)", "package the config.json of this model, or none"),
        {"preprocessor_config.json": text('{"size": {"height": 8, "width": 8}}'),
         "config.json": text('{"id2label": {"0": "cat", "1": "dog"}}')}),
}  # fmt: skip


def assert_refused(folder: Path, command: Command) -> None:
    """Run a command in ``folder``; its error has one sentence and one hint, and nothing is written."""
    for name, write in command.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write(folder / name)
    done = CliRunner().invoke(cli, command.line.split())
    said = done.stderr
    assert (done.exit_code, done.stdout) == (command.code, ""), said
    assert "Traceback" not in said
    assert [line.split(":")[0] for line in said.splitlines()][-2:] == ["error", "hint"]
    for words in command.says:
        assert words in said
    assert not (folder / "out").exists()
    assert not list(folder.glob("dist/*"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with models and rows that fit them."""
    monkeypatch.chdir(tmp_path)
    for make in (net, words, pixels, state):
        make(tmp_path / f"{make.__name__}.onnx")
    np.savez(tmp_path / "c.npz", features=X)
    np.savez(tmp_path / "e.npz", features=X, label=LABEL)
    np.savez(tmp_path / "w.npz", ids=IDS, mask=MASK)
    return tmp_path


@pytest.mark.parametrize("command", OPTIMIZING.values(), ids=OPTIMIZING)
def test_optimize_names_what_is_wrong_and_what_to_do(folder: Path, command: Command) -> None:
    assert_refused(folder, command)


@pytest.mark.parametrize("command", PACKAGING.values(), ids=PACKAGING)
def test_package_names_what_is_wrong_and_what_to_do(folder: Path, command: Command) -> None:
    assert_refused(folder, command)


JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"


@dataclass(frozen=True)
class Request:
    """A request to ``model``: a value as JSON, or bytes; ``status`` and every text of ``says`` are answered."""

    model: str
    body: Any
    says: tuple[str, ...]
    kind: str = JSON
    accept: str = ""
    status: int = 400


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def v2(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "features", "shape": [1, 16], "datatype": "FP32", "data": [1.0] * 16}
    return {"inputs": [{**tensor, **changes}]}


ROW = [1.0] * 16
ASKED = {
    "instances: a wrong name": Request("net", {"instances": [{"feature": ROW}]}, (
        "instances[0] must have the keys ['features']", "it lacks 'features', leave out 'feature'")),
    "instances: a row too short": Request("net", {"instances": [ROW[:4]]}, (
        "input 'features' takes shape (any, 16), the body holds (1, 4)", "axis 1 must be 16 long")),
    "instances: a bare row": Request("net", {"instances": ROW}, (
        "input 'features' takes shape (any, 16), the body holds (16,)", "put it into one more list")),
    "instances: ragged": Request("net", {"instances": [ROW, ROW[:3]]}, (
        "input 'features': rows of different lengths", "make all lists of one axis equally long")),
    "instances: null": Request("net", {"instances": [[None] * 16]}, (
        "input 'features' takes float32 numbers only (no text, no null)", "the body holds null or text")),
    "instances: NaN": Request("net", b'{"instances": [[NaN]]}', (
        "json: unexpected character", "JSON has no NaN and no Infinity: send npy for them")),
    "inputs: one is missing": Request("words", {"inputs": {"ids": [[1, 2]]}}, (
        "input 'mask' is missing", "this model takes ['ids', 'mask']")),
    "inputs: one too many": Request("net", {"inputs": {"features": [ROW], "age": [1]}}, (
        "unknown input 'age'", "this model takes ['features']")),
    "inputs: half an id": Request("words", {"inputs": {"ids": [[1.5]], "mask": [[1]]}}, (
        "input 'ids' takes whole numbers (int64), not 1.5",)),
    "inputs: an id outside the vocabulary": Request("words", {"inputs": {"ids": [[25]], "mask": [[1]]}}, (
        "input 'ids': the model refuses its values", "idx=25", "send whole numbers from 0 to 19")),
    "inputs: rows that differ": Request("words", {"inputs": {"ids": [[1]], "mask": [[1], [1]]}}, (
        "the inputs must have the same number of rows", "'ids' has 1, input 'mask' has 2")),
    "inputs: rows of an input with them on its second axis": Request(
        "state", {"instances": [{"x": [1.0] * 4, "state": [[1.0] * 4]}]}, (
        "the first axes of this model's inputs differ ('x': any, 'state': 1)", 'send {"inputs": {name: value}}')),
    "neither form": Request("net", {"features": [ROW]}, (
        'json: expected {"instances": [...]} or {"inputs": ...}',)),
    "v2: an unknown datatype": Request("net", v2(datatype="FP99"), (
        "input 'features' takes FP32, not 'FP99'", 'send "datatype": "FP32"')),
    "v2: a shape that the data does not fill": Request("net", v2(shape=[2, 16]), (
        "input 'features': shape [2, 16] does not hold 16 values", "send 32 in data, or their own shape")),
    "v2: a part is missing": Request("net", {"inputs": [{"name": "features"}]}, (
        "inputs[0] needs name, shape, datatype and data",)),
    "CSV: a word": Request("net", b"1,2,cat" + b",1" * 13, (
        "csv: line 1: 'cat' is not a number", "send numbers only"), CSV),
    "CSV: lines that differ": Request("net", b"1,2\n1\n", (
        "csv: line 2 has 1 values, line 1 has 2", "give each line as many"), CSV),
    "CSV: to a model of two inputs": Request("words", b"1,2\n", (
        "text/csv holds one array; this model takes ids, mask", "send application/json"), CSV),
    "npy: objects": Request("net", npy(np.array([None, {}], dtype=object)), (
        "npy: the header does not describe a plain array of numbers", "array.astype('float32')"), NPY),
    "npy: a wrong axis": Request("net", npy(np.ones((2, 8), "f4")), (
        "takes shape (any, 16), the body holds (2, 8)", "axis 1 must be 16 long"), NPY),
    "npy: cut": Request("net", npy(X)[:100], (
        "npy: the header claims 118 bytes", "send the file whole"), NPY),
    "npy: an archive": Request("net", archive(features=X), (
        "npy: the body is an .npz archive", "send one array, as numpy.save writes it"), NPY),
    "npz": Request("net", archive(features=X), (
        "Content-Type 'application/x-npz' is not read", "send application/json, text/csv or application/x-npy"),
        "application/x-npz", status=415),
    "an unknown type": Request("net", b"<x/>", (
        "Content-Type 'application/xml' is not read", "send application/json"), "application/xml", status=415),
    "an answer that nobody can give": Request("net", {"instances": [ROW]}, (
        "Accept is 'text/html, image/png'; this model answers in application/json", "ask for one of them"),
        accept="text/html, image/png", status=406),
    "a picture of another size": Request("pixels", {"inputs": np.ones((1, 3, 9, 8)).tolist()}, (
        "input 'x' takes shape (any, 3, 8, 8), the body holds (1, 3, 9, 8)", "axis 2 must be 8 long")),
    "no picture": Request("image", b"hello", (
        "the picture cannot be read", "send a whole JPEG or PNG"), "image/png"),
    "a picture that is not in base64": Request("image", {"inputs": "@@"}, (
        "a picture of inputs is not in base64",)),
    "a number for a text": Request("text", {"inputs": 5}, (
        'json: expected {"inputs": "a text"} or {"inputs": ["texts", ...]}',)),
    "CSV for a text": Request("text", b"a,b\n", (
        "Content-Type 'text/csv' is not read", "send application/json"), CSV, status=415),
}  # fmt: skip


def folders(root: Path) -> None:
    """Write a model folder for each model that the server is asked for."""
    makers = {"net": net, "words": words, "pixels": pixels, "state": state, "image": pixels}
    for name, make in {**makers, "text": lambda p: words(p, "input_ids", "attention_mask")}.items():
        (root / name / "code").mkdir(parents=True)
        make(root / name / "model.onnx")
        if name in ("image", "text"):
            line = f"from inference_code.handlers.{name} import Handler\n"
            (root / name / "code/inference.py").write_text(line)
    size = {"height": 8, "width": 8}
    (root / "image/preprocessor_config.json").write_text(json.dumps({"size": size}))
    kinds: Any = tokenizers.models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")
    tokenizers.Tokenizer(kinds).save(str(root / "text/tokenizer.json"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one server for all models."""
    root = tmp_path_factory.mktemp("models")
    folders(root)
    port = free_port()
    here = os.environ.get("PYTHONPATH", str(Path(__file__).parents[2]))
    env = {**os.environ, "PYTHONPATH": here, "SAGEMAKER_MULTI_MODEL": "true"}
    line = [sys.executable, "-m", "inference_code", "serve", "--model-dir", str(root / "none")]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            [*line, "--host", "127.0.0.1", "--port", str(port), "--drain-s", "1"],
            stdout=log,
            stderr=log,
            env={**env, "INFERENCE_MODELS_ROOT": str(root)},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for name in ("net", "words", "pixels", "state", "image", "text"):
            body = {"model_name": name, "url": str(root / name)}
            assert asked(f"{url}/models", json.dumps(body).encode(), patience_s=20)[0] == 200, (
                root / "log"
            ).read_text()
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    assert "Traceback" not in (root / "log").read_text()


def asked(
    url: str, body: bytes, patience_s: float = 0.0, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Return status and body of a POST; wait for the server while it does not listen yet."""
    end = time.monotonic() + patience_s
    request = urllib.request.Request(url, body, dict(headers or {}))
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except urllib.error.URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize("request_", ASKED.values(), ids=ASKED)
def test_the_server_names_what_is_wrong_and_what_to_do(server: str, request_: Request) -> None:
    sent = request_.body if isinstance(request_.body, bytes) else json.dumps(request_.body).encode()
    headers = {"Content-Type": request_.kind}
    if request_.accept:
        headers["Accept"] = request_.accept
    status, body = asked(f"{server}/models/{request_.model}/invoke", sent, headers=headers)
    assert status == request_.status, body
    message = json.loads(body)["message"]
    for words_ in request_.says:
        assert words_ in message
    assert "Traceback" not in message
