"""A bundle served by ``deployer serve`` to eight clients at once, each answer held against ONNX Runtime alone."""

from __future__ import annotations

import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import orjson
from numpy.typing import NDArray

from inference_code.contract import ONNXRUNTIME_CONFIG, ONNXRUNTIME_WITHOUT

Array = NDArray[Any]
Feeds = dict[str, Array]
CLIENTS, ROUNDS = 8, 5
RTOL, ATOL = 1e-4, 1e-5
_LARGE = 50_000


class Alone:
    """ONNX Runtime with one model on one thread; ``as_served`` with the optimizers that the server has."""

    def __init__(self, path: Path, *, as_served: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        without: Sequence[str] = ()
        if as_served:
            without = ONNXRUNTIME_WITHOUT
            for entry, value in ONNXRUNTIME_CONFIG.items():
                options.add_session_config_entry(entry, value)
        self._session = onnxruntime.InferenceSession(
            str(path),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(without),
        )
        self.names = [each.name for each in self._session.get_outputs()]

    def answer(self, feeds: Feeds) -> list[Array]:
        """Return the outputs in their order."""
        return list(self._session.run(self.names, feeds))


class Request(NamedTuple):
    """What is sent, and the answer that it must get."""

    body: bytes
    sends: str
    takes: str
    expected: list[Array]


def request(feeds: Feeds, expected: list[Array]) -> Request:
    """Return a request: .npy where one large array goes or comes, else JSON."""
    json_type, npy_type = "application/json", "application/x-npy"
    large = len(expected) == 1 and expected[0].size > _LARGE
    takes = npy_type if large else json_type
    ((_, first), *others) = feeds.items()
    if not others and first.size > _LARGE:
        return Request(npy(first), npy_type, takes, expected)
    options = orjson.OPT_SERIALIZE_NUMPY
    plain = {
        name: np.ascontiguousarray(array) if array.ndim else array.item()
        for name, array in feeds.items()
    }
    return Request(orjson.dumps({"inputs": plain}, option=options), json_type, takes, expected)


def npy(array: Array) -> bytes:
    """Return an array as .npy."""
    written = io.BytesIO()
    np.save(written, array, allow_pickle=False)
    return written.getvalue()


class Played(NamedTuple):
    """How a crowd was served: equal answers, the others in words, what /stats says, how the server ended."""

    equal: int
    asked: int
    problems: list[str]
    stats: dict[str, Any]
    code: int | None
    log: str


@contextmanager
def _served(bundle: Path, log: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "deployer", "serve", str(bundle), "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield port, process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def play(
    bundle: Path, names: Sequence[str], asked: Sequence[Request], folder: Path, moves: float = 0.0
) -> Played:
    """Serve the bundle, ask, stop it by Ctrl-C. ``moves``: by how much of the largest number answers may move."""
    log = folder / "serve.log"
    problems: list[str] = []
    stats: dict[str, Any] = {}
    with _served(bundle, log) as (port, process):
        if _ready(port, process):
            _ask(port, names, asked, moves, problems)
            _, content = _get(port, "/stats")
            stats = json.loads(content)
        else:
            problems = ["it does not start"] * len(asked)
    words = log.read_text(errors="replace")
    return Played(
        len(asked) - len(problems), len(asked), problems, stats, process.returncode, words
    )


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _ready(port: int, process: subprocess.Popen[bytes], limit_s: float = 90) -> bool:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if _get(port, "/ping")[0] == 200:
                return True
        except OSError:
            pass
        time.sleep(0.1)
    return False


def _ask(
    port: int, names: Sequence[str], asked: Sequence[Request], moves: float, problems: list[str]
) -> None:
    gate, scales = threading.Barrier(CLIENTS), largest(asked)

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        gate.wait(60)
        for turn, each in enumerate(asked[number::CLIENTS]):
            headers = {"Content-Type": each.sends, "Accept": each.takes, "X-Deadline-Ms": "110000"}
            try:
                connection.request("POST", "/invocations", each.body, headers)
                answer = connection.getresponse()
                problem = _problem(names, scales, each, answer.status, answer.read(), moves)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                connection.close()
            if problem:
                problems.append(f"client {number}, round {turn}: {problem}")
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _problem(
    names: Sequence[str],
    scales: Sequence[float],
    asked: Request,
    status: int,
    content: bytes,
    moves: float,
) -> str:
    if status != 200:
        return f"status {status}: {content[:300].decode(errors='replace')}"
    if asked.takes == "application/x-npy":
        found: dict[str, Any] = {names[0]: np.load(io.BytesIO(content), allow_pickle=False)}
    else:
        found = _named(orjson.loads(content), names)
    for name, wanted, scale in zip(names, asked.expected, scales, strict=True):
        if problem := differs(found[name], wanted, scale, moves):
            return f"output {name!r} {problem}"
    return ""


def _named(document: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the outputs by name of {"outputs": all} or {"predictions": one for each example}."""
    if "outputs" in document:
        held = document["outputs"]
        return held if isinstance(held, dict) else {names[0]: held}
    each = document["predictions"]
    if isinstance(each[0], dict):
        return {name: [one[name] for one in each] for name in names}
    return {names[0]: each}


def largest(asked: Sequence[Request]) -> list[float]:
    """Return each output's scale: its largest number over all answers."""
    return [
        max(float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) for array in arrays)
        for arrays in zip(*(each.expected for each in asked), strict=True)
    ]


def differs(found: Any, wanted: Array, scale: float, moves: float = 0.0) -> str:
    """Say how an answer differs from an array, nothing where it is equal within the tolerance."""
    got = np.array(found, dtype=float)
    if got.shape != wanted.shape:
        return f"has shape {got.shape}, not {wanted.shape}"
    numbers = np.where(np.isfinite(wanted), wanted.astype(float), np.nan)
    room = ATOL * scale + moves * scale + RTOL * np.abs(numbers)
    off = np.abs(got - numbers) - room
    if (np.isnan(got) != np.isnan(numbers)).any():
        return "is no number where ONNX Runtime's is one, or the reverse"
    if np.nanmax(off, initial=-1.0) > 0:
        return (
            f"is off by {float(np.nanmax(np.abs(got - numbers))) / (scale or 1):.2g} of the largest"
        )
    return ""


def tracebacks(text: str) -> int:
    """Return how many tracebacks of Python are in a text."""
    return len(re.findall(r"Traceback \(most recent call last\)", text))
