"""A model served to eight clients at once, each answer held against ONNX Runtime's for that request alone."""

from __future__ import annotations

import ctypes
import http.client
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

import deployer
from deployer.bundle import archive
from deployer.deployments.local import server as servers
from deployer.errors import DeployerError

CLIENTS, ROUNDS = 8, 5
RTOL, ATOL = 1e-4, 1e-5
_NAMES = {"float": "float32", "double": "float64"}
REFUSED = "refused: "
Feeds = dict[str, np.ndarray]


class Alone:
    """ONNX Runtime with one model, asked one request at a time."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = self._session.get_inputs()
        self.outputs = [each.name for each in self._session.get_outputs()]
        nodes = [*self.inputs, *self._session.get_outputs()]
        self._halves = {each.name for each in nodes if each.type == "tensor(bfloat16)"}

    def answer(self, feeds: Feeds) -> list[np.ndarray] | None:
        """Return the outputs, None when it refuses."""
        try:
            return self._by_bits(feeds) if self._halves else self._session.run(self.outputs, feeds)
        except Exception:
            return None

    def _by_bits(self, feeds: Feeds) -> list[np.ndarray]:
        """Run a model with bfloat16, which numpy lacks: the upper half of a float32's bits."""
        made = ort.OrtValue
        values = {
            name: made.ortvalue_from_numpy_with_onnx_type(_upper(array), 16)
            if name in self._halves
            else made.ortvalue_from_numpy(array)
            for name, array in feeds.items()
        }
        found = self._session.run_with_ort_values(self.outputs, values)
        return [
            _lengthened(value) if name in self._halves else value.numpy()
            for name, value in zip(self.outputs, found, strict=True)
        ]

    def feeds(self, first: int, length: int, seed: int) -> Feeds:
        """Return random inputs whose free first axes are ``first`` long, other free ones ``length``."""
        random = np.random.default_rng(seed)
        return {each.name: _array(each, first, length, random) for each in self.inputs}


def _upper(array: np.ndarray) -> np.ndarray:
    return np.asarray(array.view(np.uint32) >> 16, np.uint16)


def _lengthened(value: Any) -> np.ndarray:
    bits = np.empty(tuple(value.shape()), np.uint16)
    ctypes.memmove(bits.ctypes.data, value.data_ptr(), bits.nbytes)
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _array(node: Any, first: int, length: int, random: np.random.Generator) -> np.ndarray:
    free = (first, *[length] * len(node.shape))
    shape = [
        size if isinstance(size, int) and size > 0 else free[axis]
        for axis, size in enumerate(node.shape)
    ]
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    kind = _NAMES.get(kind, kind)
    if kind == "string":
        return random.choice(np.array(["Ab", "c", "Dé"], dtype=object), shape)
    if kind == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if "int" in kind:
        return np.asarray(random.integers(0, 2, shape), kind)
    if kind == "bfloat16":
        return np.asarray(random.integers(1, 17, shape) / 8, np.float32)  # exact in it
    return np.asarray(random.random(shape) * 2 + 0.05, kind)


def requests(alone: Alone) -> list[list[Feeds]]:
    """Return five requests for each client; in a round all are of one length, in some of one number of rows."""
    length = next((n for n in (8, 32, 1) if alone.answer(alone.feeds(2, n, 0)) is not None), 8)
    return [
        [
            alone.feeds(2 + (turn if turn < 3 else client % 3), length, 100 * client + turn)
            for turn in range(ROUNDS)
        ]
        for client in range(CLIENTS)
    ]


def write_samples(folder: Path, asked: Sequence[Sequence[Feeds]]) -> Path:
    """Write three requests of one shape as samples."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        (folder / f"{number}.json").write_bytes(body(asked[number][0]))
    return folder


def body(feeds: Feeds) -> bytes:
    """Return a request's body."""
    return json.dumps({"inputs": {name: array.tolist() for name, array in feeds.items()}}).encode()


@contextmanager
def served(bundle: Path, folder: Path, options: Sequence[str] = ()) -> Iterator[int]:
    """Serve a bundle with options; yield the port. Raises DeployerError when it does not start."""
    manifest = archive.unpack(bundle, folder / "model")
    port, log = servers.free_port(), folder / "server.log"
    server = servers.start(folder / "model", port, log=log, digest=manifest.digest, options=options)
    try:
        servers.wait_ready(server, log, limit_s=60)
        yield port
    finally:
        servers.stop(server, 0)


def wrong(path: Path, folder: Path, *, samples: bool, options: Sequence[str] = ()) -> list[str]:
    """Serve a model to the crowd; return what was answered wrongly, or ["refused: ..."]."""
    folder.mkdir(parents=True)
    try:
        alone = Alone(path)
    except Exception:
        alone = None
    asked = requests(alone) if alone is not None else []
    given = write_samples(folder / "samples", asked) if samples and asked else None
    try:
        bundle = deployer.package(path, folder / "dist", name="m", samples=given)
        with served(bundle.path, folder, options) as port:
            assert alone is not None, "a model is served that ONNX Runtime does not load"
            return _asked(port, alone, asked)
    except DeployerError as error:
        return [REFUSED + error.message + (f"; {error.hint}" if error.hint else "")]


def stats(port: int) -> dict[str, Any]:
    """Return what the server says of itself."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/stats")
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def _asked(port: int, alone: Alone, asked: Sequence[Sequence[Feeds]]) -> list[str]:
    problems: list[str] = []
    gate = threading.Barrier(len(asked))

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        gate.wait(60)
        for turn, feeds in enumerate(asked[number]):
            connection.request(
                "POST", "/invocations", body(feeds), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            problem = _problem(alone, feeds, answer.status, answer.read())
            if problem:
                problems.append(f"client {number}, round {turn}: {problem}")
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return problems


def _problem(alone: Alone, feeds: Feeds, status: int, content: bytes) -> str:
    expected = alone.answer(feeds)
    if expected is None:
        return "" if status != 200 else "answered what ONNX Runtime refuses"
    if status != 200:
        return f"status {status}: {content[:200].decode(errors='replace')}"
    found = json.loads(content)["outputs"]
    found = found if isinstance(found, dict) else {alone.outputs[0]: found}
    for name, array in zip(alone.outputs, expected, strict=True):
        if not equal(found[name], array):
            return f"output {name!r} is not what ONNX Runtime answers alone"
    return ""


def equal(found: Any, expected: np.ndarray) -> bool:
    """Return whether an answer has the shape and, within the tolerance, the numbers of an array."""
    if expected.dtype.kind not in "biuf":
        return bool(found == expected.tolist())
    wanted = np.where(np.isfinite(expected), expected.astype(float), np.nan)
    got = np.array(found, dtype=float)  # JSON has null for what is not finite
    if got.shape != wanted.shape:
        return False
    scale = float(np.nanmax(np.abs(wanted), initial=0.0)) if wanted.size else 0.0
    return bool(np.allclose(got, wanted, rtol=RTOL, atol=ATOL * scale, equal_nan=True))
