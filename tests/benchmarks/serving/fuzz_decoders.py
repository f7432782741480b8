"""Coverage-guided fuzzing (atheris) of whatever reads bytes from a client: ``fuzz_decoders.py NAME RUNS``.

Each target either returns or raises one of the errors that are answered 4xx; all else is a finding, at which
libFuzzer stops and prints the input. ``fuzz.py`` runs every target in a process of its own.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

try:
    import atheris
except ImportError:
    sys.exit("error: atheris is missing\nhint: pip install atheris")

with atheris.instrument_imports(include=["inference_code"]):
    from inference_code.codecs import csvtext, jsontext, media, npy, tensors
    from inference_code.contract import (
        CSV_TYPE,
        JSON_TYPE,
        NPY_TYPE,
        ContractError,
        Manifest,
        ServingConfig,
        TensorSpec,
    )
    from inference_code.engine.served import ServedModel
    from inference_code.engine.settings import Settings
    from inference_code.errors import RequestError
    from inference_code.server import tracing
    from inference_code.server.connection import Connection
    from inference_code.server.exchange import Exchange
    from inference_code.server.head import Heads

Target = Callable[[bytes], None]

KINDS = (JSON_TYPE, CSV_TYPE, NPY_TYPE, "", "text/plain", JSON_TYPE + "; charset=utf-8")
SPECS = (
    (TensorSpec("x", "float32", (None, 2)),),
    (TensorSpec("x", "int64", (None, None)), TensorSpec("y", "float32", (None,))),
    (TensorSpec("text", "str", (None,)),),
    (TensorSpec("x", "uint8", (2, 2, 2)),),
    (TensorSpec("x", "bool", (None, 1)),),
)


class Broken(Exception):
    """What a decoder must never do."""


def checked(read: Callable[[bytes], object]) -> Target:
    """Return the target that lets only errors of the client's pass."""

    def target(data: bytes) -> None:
        try:
            read(data)
        except RequestError as error:
            if not 400 <= error.status < 500:
                raise Broken(f"{error.status} for what a client sent: {error.message}") from error

    return target


def read_npy(data: bytes) -> None:
    """An array is never larger than what came."""
    array = npy.read(data)
    if array.nbytes > len(data):
        raise Broken(f"{array.nbytes} bytes made of {len(data)}")
    if not np.array_equal(npy.read(npy.write(array)), array, equal_nan=array.dtype.kind in "fc"):
        raise Broken("written and read again it differs")


def read_tensors(data: bytes) -> None:
    """The first byte chooses the model's inputs and the media type."""
    if data:
        specs = SPECS[data[0] % len(SPECS)]
        kind = KINDS[data[0] // len(SPECS) % 3]
        inputs = tensors.read(data[1:], kind, specs)
        if set(inputs.arrays) != {spec.name for spec in specs}:
            raise Broken(f"arrays {sorted(inputs.arrays)} for {specs}")


def read_accept(data: bytes) -> None:
    """Any header chooses a type on offer or is refused."""
    text = data.decode("latin-1")
    media.media_type(text)
    media.choose(text)


def read_trace(data: bytes) -> None:
    """Nothing in a header may split the answer's head."""
    for header in (tracing.TRACEPARENT, tracing.ATTRIBUTES):
        if tracing.response_headers({header: data}).count(b"\n") > 1:
            raise Broken("a header of the client's splits the response")


def read_manifest(data: bytes) -> None:
    """A manifest is read, or refused by name."""
    try:
        Manifest.from_json(data)
    except ContractError:
        return


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.over = b"", False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def close(self) -> None:
        self.over = True

    abort = write_eof = close

    def can_write_eof(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Echo:
    """An application that answers at once."""

    max_body_bytes, draining = 4096, False

    def __init__(self) -> None:
        self.scratch = memoryview(bytearray(4096))
        self.heads = Heads()
        self.connections: set[Connection] = set()
        self.answers = self.refusals = 0

    def connected(self, connection: Connection) -> None:
        """Take a connection in."""
        self.connections.add(connection)

    def slot(self, target: bytes, length: int) -> None:
        return None

    def handle(self, exchange: Exchange) -> None:
        self.answers += 1
        exchange.answer(200, b"text/plain", b"")

    def refuse(self, exchange: Exchange, error: RequestError) -> None:
        self.refusals += 1
        if error.status not in (400, 413, 431):
            raise Broken(f"refused with {error.status}")
        exchange.answer(error.status, b"text/plain", b"")

    def abandoned(self, exchange: Exchange) -> None:
        raise Broken("every exchange was answered at once")


def read_http(data: bytes) -> None:
    """Bytes in pieces of a length that the first byte gives: one answer each, at most one refusal, the last."""
    if not data:
        return
    app, wire = Echo(), Wire()
    connection = Connection(app)
    connection.connection_made(wire)
    step = data[0] or 256
    for start in range(1, len(data), step):
        if wire.over:
            break
        piece = data[start : start + step]
        connection.get_buffer(-1)[: len(piece)] = piece
        connection.buffer_updated(len(piece))
    connection.eof_received()
    connection.connection_lost(None)
    if app.refusals > 1 or wire.sent.count(b"HTTP/1.1 ") < app.answers + app.refusals:
        raise Broken(f"{app.answers} answers, {app.refusals} refusals, sent {wire.sent!r}")


def served(folder: Path, number: int) -> ServedModel:
    """Return a loaded model that adds its inputs up, with the inputs of ``SPECS[number]``."""
    import onnx
    from onnx import TensorProto, helper

    kind = (TensorProto.FLOAT, TensorProto.INT64)[number]
    shape = ["n", 2] if number == 0 else ["n", "m"]
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", kind, shape)
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "add", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    place = folder / str(number)
    place.mkdir()
    onnx.save(model, str(place / "add.onnx"))
    return ServedModel(Settings(place, ServingConfig(), None, ()))


def whole_path() -> Target:
    """Decode, predict and encode with real models; the first byte chooses model, type and Accept."""
    folder = tempfile.mkdtemp(prefix="deployer-fuzz-")
    models = [served(Path(folder), number) for number in (0, 1)]
    accepts = ("", CSV_TYPE, NPY_TYPE, "text/html, application/json;q=0.5")

    def target(data: bytes) -> None:
        if data:
            model, rest = models[data[0] % 2], data[0] // 2
            status, _, body = model.answer(data[1:], KINDS[rest % 6], accepts[rest // 6 % 4])
            if status not in (200, 400, 406, 415):
                raise Broken(f"{status}: {body!r}")

    return target


def np_load(data: bytes) -> None:
    """The control: what numpy itself does with such bytes is not fit for a server."""
    np.load(io.BytesIO(data), allow_pickle=False)


def saved(array: np.ndarray) -> bytes:
    """Return the array as np.save writes it."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


_NPY = (saved(np.arange(4.0, dtype="f4").reshape(2, 2)), saved(np.zeros((2, 2), "i8", order="F")))
_V2 = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
_JSON = tuple(
    json.dumps(value).encode()
    for value in (
        {"instances": [[1, 2], [3, 4]]}, {"inputs": {"x": [[1, 2]], "y": [0.5]}}, {"inputs": [_V2]},
        {"instances": [{"x": [1, 2], "y": 3}]}, {"instances": [[True]]}, {"inputs": ["a", "b"]},
    )
)  # fmt: skip
_CSV = (b"1,2\n3,4\n", b'"a b",2\r\n', b"nan,1e999\n")
_BODIES = (*_JSON, *_CSV, *_NPY)
_HTTP = (
    b"\x00GET /ping HTTP/1.1\r\nhost: a\r\n\r\n",
    b"\x07POST /invocations HTTP/1.1\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\nhello",
    b"\x00POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n",
)
_MANIFEST = Manifest("m", "model.onnx", "fp32", (), SPECS[1], SPECS[0]).to_json().encode()

TARGETS: dict[str, tuple[Callable[[], Target], tuple[bytes, ...]]] = {
    "json": (lambda: checked(jsontext.read), _JSON),
    "csv": (lambda: checked(csvtext.read_numbers), _CSV),
    "npy": (lambda: checked(read_npy), _NPY),
    "tensors": (lambda: checked(read_tensors), tuple(b"\x00" + b for b in _BODIES)),
    "accept": (lambda: checked(read_accept), (b"text/csv;q=0.5, */*;q=0.1",)),
    "trace": (lambda: read_trace, (b"a=b;traceparent=00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01",)),
    "manifest": (lambda: read_manifest, (_MANIFEST,)),
    "http": (lambda: read_http, _HTTP),
    "whole-path": (whole_path, tuple(bytes([n]) + b for n in (0, 1) for b in _BODIES)),
    "control": (lambda: checked(np_load), _NPY),
}  # fmt: skip


def main() -> None:
    """Fuzz one target for a number of inputs; libFuzzer ends the process."""
    name, runs = sys.argv[1], sys.argv[2]
    make, seeds = TARGETS[name]
    # A traceback for every 500 would drown the finding; and the status is what is judged.
    corpus = Path(tempfile.mkdtemp(prefix="deployer-corpus-"))
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    options = [f"-runs={runs}", "-timeout=10", "-rss_limit_mb=1500", "-max_len=2048", "-seed=1",
               f"-artifact_prefix={corpus}/", "-print_final_stats=1", "-verbosity=1"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], make())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
