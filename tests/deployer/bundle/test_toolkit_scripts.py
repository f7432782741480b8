"""Handler scripts in the form that AWS documents for its toolkits, packaged and served as they are.

They are written for this test after the documentation. ``transformers`` is stood in for by a module of one
function: what is tested is the convention around the library, not the library.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from deployer.bundle.archive import unpack
from deployer.bundle.build import build
from deployer.clients.base import Answer
from deployer.clients.http import HttpInvoker
from deployer.deployments.local import server as servers

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.serve, pytest.mark.optimize]

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
Ask = Callable[..., Answer]

NET = """
import os
import torch
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        return self.linear(x)


def model_fn(model_dir):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Net()
    with open(os.path.join(model_dir, "model.pth"), "rb") as f:
        model.load_state_dict(torch.load(f, map_location=device))
    return model.to(device).eval()
"""

FOUR = """
import json
import logging
from io import BytesIO

import numpy as np

logger = logging.getLogger(__name__)


def input_fn(request_body, request_content_type, context):
    assert context.get_request_header(0, "Content-Type") == request_content_type
    if request_content_type == "application/json":
        return torch.tensor(json.loads(request_body)["instances"], dtype=torch.float32)
    if request_content_type == "text/csv":
        rows = [[float(cell) for cell in line.split(",")] for line in request_body.splitlines()]
        return torch.tensor(rows)
    if request_content_type == "application/x-npy":
        return torch.from_numpy(np.load(BytesIO(request_body))).float()
    raise ValueError("Unsupported content type: {}".format(request_content_type))


def predict_fn(input_data, model, context):
    device = torch.device("cuda:" + str(context.system_properties.get("gpu_id"))
                          if torch.cuda.is_available() else "cpu")
    with torch.no_grad():
        return model.to(device)(input_data.to(device))


def output_fn(prediction, response_content_type, context):
    if response_content_type == "application/x-npy":
        buffer = BytesIO()
        np.save(buffer, prediction.numpy())
        return buffer.getvalue()
    if response_content_type == "text/csv":
        return "\\n".join(",".join(str(v) for v in row) for row in prediction.tolist())
    return json.dumps(prediction.numpy().tolist()), "application/json"
"""

FOUR_PLAIN = """
import json
from io import BytesIO, StringIO

import numpy as np


def input_fn(request_body, request_content_type):
    if request_content_type == "application/json":
        rows = json.loads(request_body)["instances"]
    elif request_content_type == "text/csv":
        rows = np.loadtxt(StringIO(request_body), delimiter=",", ndmin=2)
    elif request_content_type == "application/x-npy":
        rows = np.load(BytesIO(request_body))
    else:
        raise ValueError("This predictor does not know " + request_content_type)
    return torch.as_tensor(np.asarray(rows), dtype=torch.float32)


def predict_fn(input_data, model):
    with torch.no_grad():
        return model(input_data)


def output_fn(prediction, accept):
    if accept == "application/x-npy":
        buffer = BytesIO()
        np.save(buffer, prediction.numpy())
        return buffer.getvalue()
    if accept == "text/csv":
        return "\\n".join(",".join(map(str, row)) for row in prediction.tolist())
    return json.dumps(prediction.tolist())
"""

TRANSFORM = """
import json


def transform_fn(model, request_body, content_type, accept_type):
    rows = json.loads(request_body)
    with torch.no_grad():
        return json.dumps(model(torch.tensor(rows).float()).tolist()), accept_type
"""

TRANSFORM_CONTEXT = """
import json


def transform_fn(model, data, content_type, accept, context):
    rows = json.loads(data)
    context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes",
                                "rows={}".format(len(rows)))
    with torch.no_grad():
        return json.dumps(model(torch.tensor(rows).float()).tolist())
"""

TRANSFORM_CODED = """
from sagemaker_inference import decoder, encoder


def transform_fn(model, data, content_type, accept{context}):
    rows = decoder.decode(data, content_type)
    with torch.no_grad():
        found = model(torch.as_tensor(rows, dtype=torch.float32))
    return encoder.encode(found.numpy(), accept), accept
"""

HUGGING_FACE_FOUR = """
import numpy as np
import transformers
from sagemaker_inference import decoder, encoder


def model_fn(model_dir{context}):
    return transformers.pipeline("text-classification", model=model_dir)


def input_fn(data, content_type{context}):
    return np.atleast_2d(decoder.decode(data, content_type)).astype("float32")


def predict_fn(rows, model{context}):
    return rows * len(model.labels)


def output_fn(found, accept{context}):
    return encoder.encode(found, accept), accept
"""

HUGGING_FACE_TRANSFORM = """
import numpy as np
import transformers
from sagemaker_inference import decoder, encoder


def model_fn(model_dir{context}):
    return transformers.pipeline("text-classification", model=model_dir)


def transform_fn(model, data, content_type, accept{context}):
    rows = np.asarray(decoder.decode(data, content_type), "float32")
    return encoder.encode(rows * len(model.labels), accept)
"""

HUGGING_FACE = """
import torch
from transformers import pipeline


def model_fn(model_dir):
    return pipeline("text-classification", model=model_dir, tokenizer=model_dir)
"""

HUGGING_FACE_PREDICT = """
from transformers import pipeline


def model_fn(model_dir, context=None):
    return pipeline("text-classification", model=model_dir), "tokenizer"


def predict_fn(data, model_and_tokenizer, context=None):
    model, tokenizer = model_and_tokenizer
    sentences = data.pop("inputs", data)
    return {"vectors": [[answer["score"]] for answer in model(sentences)]}
"""

TRANSFORMERS = """
import json
import pathlib


class Pipeline:
    def __init__(self, task, folder):
        self.task = task
        self.labels = json.loads(pathlib.Path(folder, "config.json").read_text())["labels"]

    def __call__(self, inputs, top_k=1):
        if hasattr(inputs, "size"):
            return {"size": list(inputs.size)}
        texts = [inputs] if isinstance(inputs, str) else inputs
        return [{"label": self.labels[len(t) % 2], "score": len(t) / top_k} for t in texts]


def pipeline(task, model=None, tokenizer=None):
    return Pipeline(task, model)
"""

SCIKIT = """
import os
import joblib


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))
"""


@contextmanager
def served(
    folder: Path, script: str, model: Mapping[str, bytes], beside: Mapping[str, str] | None = None
) -> Iterator[Ask]:
    """Package a model folder with a script, serve the bundle, and yield how to ask it."""
    (folder / "model").mkdir()
    for name, content in model.items():
        (folder / "model" / name).write_bytes(content)
    (folder / "script.py").write_text(script)
    bundle = build(folder / "model", folder / "dist", name="script", handler=folder / "script.py")
    unpacked, log = folder / "unpacked", folder / "server.log"
    digest = unpack(bundle.path, unpacked).digest
    for name, text in (beside or {}).items():
        (unpacked / "code" / name).write_text(text)
    port = servers.free_port()
    server = servers.start(unpacked, port, log=log, digest=digest)

    def ask(body: object, kind: str = JSON, accept: str = "*/*", **headers: str) -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        invoker = HttpInvoker(f"http://{servers.HOST}:{port}")
        return invoker.request(
            "POST", "/invocations", content, {"Content-Type": kind, "Accept": accept, **headers}
        )

    try:
        servers.wait_ready(server, log, limit_s=60)
        yield ask
    finally:
        servers.stop(server, 5)


def weights() -> tuple[dict[str, bytes], Callable[[object], np.ndarray]]:
    """Return a linear model's file, and what it answers."""
    torch.manual_seed(7)
    linear = torch.nn.Linear(3, 2)
    file = io.BytesIO()
    torch.save({f"linear.{name}": value for name, value in linear.state_dict().items()}, file)

    def answer(rows: object) -> np.ndarray:
        with torch.no_grad():
            return linear(torch.tensor(rows, dtype=torch.float32)).numpy()

    return {"model.pth": file.getvalue()}, answer


def npy(rows: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(rows, dtype=np.float32))
    return file.getvalue()


def numbers(answer: Answer) -> np.ndarray:
    assert answer.status == 200, answer.content
    if answer.content_type == NPY:
        return np.load(io.BytesIO(answer.content))
    if answer.content_type == CSV:
        return np.loadtxt(io.StringIO(answer.content.decode()), delimiter=",", ndmin=2)
    return np.asarray(json.loads(answer.content))


ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
TEXT = b"1,2,3\n4,5,6\n"


CONTEXT = {"plain": "", "with context": ", context"}
BODIES = ((ROWS, JSON), (TEXT, CSV), (npy(ROWS), NPY))


@pytest.mark.parametrize(
    "script",
    [NET, NET + FOUR_PLAIN, NET + FOUR],
    ids=["model_fn alone", "four", "four with context"],
)
def test_pytorch_scripts_read_and_write_all_three_formats(tmp_path: Path, script: str) -> None:
    model, expected = weights()
    whole = script == NET
    with served(tmp_path, script, model) as ask:
        for accept, (rows, kind) in product((JSON, CSV, NPY), BODIES):
            body = rows if whole or kind != JSON else {"instances": ROWS}
            answer = ask(body, kind, accept)
            assert answer.content_type == accept
            np.testing.assert_allclose(numbers(answer), expected(ROWS), rtol=1e-5)
        if whole:
            np.testing.assert_allclose(numbers(ask(b"1,2,3", CSV)), expected(ROWS[0]), rtol=1e-5)
            assert ask([["a"]]).status == 400
            assert ask(b"x", "image/png").status == 415
        else:
            assert ask(b"x", "image/png").status == 400


@pytest.mark.parametrize("context", CONTEXT)
def test_transform_fn_reads_and_writes_all_three_formats(tmp_path: Path, context: str) -> None:
    model, expected = weights()
    script = NET + TRANSFORM_CODED.format(context=CONTEXT[context])
    with served(tmp_path, script, model) as ask:
        for accept, (body, kind) in product((JSON, CSV, NPY), BODIES):
            answer = ask(body, kind, accept)
            assert answer.content_type == accept
            np.testing.assert_allclose(numbers(answer), expected(ROWS), rtol=1e-5)


@pytest.mark.parametrize("context", CONTEXT)
@pytest.mark.parametrize(
    "script", [HUGGING_FACE_FOUR, HUGGING_FACE_TRANSFORM], ids=["four", "transform_fn"]
)
def test_hugging_face_scripts_read_and_write_all_three_formats(
    tmp_path: Path, script: str, context: str
) -> None:
    model = {"config.json": b'{"labels": ["even", "odd"]}'}
    written = script.replace("{context}", CONTEXT[context])
    with served(tmp_path, written, model, {"transformers.py": TRANSFORMERS}) as ask:
        for accept, (body, kind) in product((JSON, CSV, NPY), BODIES):
            answer = ask(body, kind, accept)
            assert answer.content_type == accept
            np.testing.assert_allclose(numbers(answer), 2 * np.asarray(ROWS))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_torchscript_file_needs_no_function_but_the_one_that_is_written(tmp_path: Path) -> None:
    _, expected = weights()
    torch.manual_seed(7)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(3, 2), torch.zeros(1, 3)), file)
    script = "import torch\ndef output_fn(prediction, accept): return str(prediction.tolist())\n"
    with served(tmp_path, script, {"anything.pt": file.getvalue()}) as ask:
        np.testing.assert_allclose(numbers(ask(ROWS)), expected(ROWS), rtol=1e-5)


@pytest.mark.parametrize("script", [TRANSFORM, TRANSFORM_CONTEXT], ids=["plain", "with context"])
def test_transform_fn_takes_the_whole_request(tmp_path: Path, script: str) -> None:
    model, expected = weights()
    with served(tmp_path, NET + script, model) as ask:
        answer = ask(ROWS, JSON, JSON)
        np.testing.assert_allclose(numbers(answer), expected(ROWS), rtol=1e-5)
        attributes = answer.headers.get("x-amzn-sagemaker-custom-attributes")
        assert attributes == ("rows=2" if "context" in script else None)


def test_hugging_face_scripts_get_json_tables_pictures_and_parameters(tmp_path: Path) -> None:
    model = {"config.json": b'{"labels": ["even", "odd"]}', "model.safetensors": b"\0" * 8}
    beside = {"transformers.py": TRANSFORMERS}
    with served(tmp_path, HUGGING_FACE, model, beside) as ask:
        first = json.loads(ask({"inputs": "abc"}).content)
        assert first == [{"label": "odd", "score": 3.0}]
        halved = json.loads(ask({"inputs": ["ab"], "parameters": {"top_k": 2}}).content)
        assert halved == [{"label": "even", "score": 1.0}]
        table = ask(b"inputs\nab\nabc\n", CSV, CSV)
        assert table.content == b"label,score\r\neven,2.0\r\nodd,3.0\r\n"
        assert ask(b"ab\nabc\n", CSV).status == 400
        pillow = pytest.importorskip("PIL.Image")
        picture = io.BytesIO()
        pillow.new("RGB", (4, 3)).save(picture, format="PNG")
        assert json.loads(ask(picture.getvalue(), "image/png").content) == {"size": [4, 3]}
        assert ask(b"no picture", "image/png").status == 400


def test_hugging_face_scripts_with_their_own_predict_fn(tmp_path: Path) -> None:
    model = {"config.json": b'{"labels": ["even", "odd"]}'}
    with served(tmp_path, HUGGING_FACE_PREDICT, model, {"transformers.py": TRANSFORMERS}) as ask:
        assert json.loads(ask({"inputs": ["ab", "abc"]}).content) == {"vectors": [[2.0], [3.0]]}


def test_scikit_learn_scripts_need_only_model_fn(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    linear = pytest.importorskip("sklearn.linear_model")
    fitted = linear.LinearRegression().fit(np.asarray(ROWS), np.asarray([1.0, 2.0]))
    file = io.BytesIO()
    joblib.dump(fitted, file)
    with served(tmp_path, SCIKIT, {"model.joblib": file.getvalue()}) as ask:
        for body, kind in ((ROWS, JSON), (TEXT, CSV), (npy(ROWS), NPY)):
            np.testing.assert_allclose(numbers(ask(body, kind)), [1.0, 2.0], rtol=1e-4)
        assert ask(ROWS, JSON, CSV).content_type == CSV
