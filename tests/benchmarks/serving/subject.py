"""What the reliability benchmarks test: a real bundle, served as it ships, in processes of its own."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from deployer import processes
from deployer.bundle.archive import unpack
from deployer.bundle.build import build
from inference_code.contract import CONTENT_TYPES, ServingConfig

#: A handler that misbehaves on request, around the default one: what chaos and controls are made of.
MOODY = '''
import os, signal
from inference_code.codecs import jsontext
from inference_code.handlers.onnx import Handler as Default

LEAK = []

class Handler(Default):
    """The ONNX model; {"fault": ...} beside "instances" raises, kills the worker or leaks."""

    def decode(self, body, content_type):
        value = jsontext.read(body)
        fault = value.get("fault", "") if isinstance(value, dict) else ""
        if fault == "leak":
            LEAK.append(os.urandom(16384))
        return super().decode(body, content_type), fault

    def predict(self, items):
        for _, fault in items:
            if fault == "raise":
                raise RuntimeError("a fault that was asked for")
            if fault == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        return super().predict([item for item, _ in items])
'''


class Body(NamedTuple):
    """One request body and its media type."""

    content: bytes
    content_type: str

    def request(self, headers: bytes = b"") -> bytes:
        """Return the HTTP request that asks for it; ``headers`` are lines that end in CR LF."""
        head = (
            b"POST /invocations HTTP/1.1\r\nhost: bench\r\ncontent-type: %b\r\n"
            b"content-length: %d\r\n%b\r\n"
        )
        return head % (self.content_type.encode(), len(self.content), headers) + self.content


@dataclass(frozen=True)
class Subject:
    """An unpacked bundle and what to ask it."""

    name: str
    model_dir: Path
    bodies: tuple[Body, ...]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark takes: which bundle, which bodies, which cores, where results go."""
    parser.add_argument("--bundle", type=Path, help="a .tar.gz (default: a small CNN made here)")
    parser.add_argument("--bodies", type=Path, help="a folder of request bodies (default: samples)")
    parser.add_argument(
        "--server-core", type=int, default=0, metavar="N", help="core of the server (-1: any)"
    )
    parser.add_argument(
        "--limit", type=float, metavar="X",
        help="how far a right answer may be from the in-process one, relative to its largest number "
        "(default: 0.001; dynamic int8 needs more, as its answers depend on the batch)",
    )  # fmt: skip
    parser.add_argument("--results", type=Path, help="append each result to this file, as JSON")


@contextlib.contextmanager
def subject(options: argparse.Namespace) -> Iterator[Subject]:
    """Unpack the bundle that was asked for, or build one; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="deployer-bench-") as name:
        folder = Path(name)
        archive, bodies = (options.bundle, []) if options.bundle else _small_cnn(folder)
        manifest = unpack(archive, folder / "model")
        where = options.bodies or (folder / "model" / "code" / "samples" if not bodies else None)
        if where is not None:
            files = sorted(path for path in where.iterdir() if path.suffix in CONTENT_TYPES)
            bodies = [Body(path.read_bytes(), CONTENT_TYPES[path.suffix]) for path in files]
        if len(bodies) < 2:
            raise SystemExit("at least two request bodies are needed: give --bodies DIR")
        yield Subject(manifest.name, folder / "model", tuple(bodies))


class Server:
    """``python -m inference_code serve`` on a bundle's own code: start, watch, stop."""

    def __init__(
        self,
        model_dir: Path,
        *arguments: str,
        core: int = -1,
        files: int | None = None,
        log: Any = subprocess.DEVNULL,
        env: dict[str, str] | None = None,
    ) -> None:
        """Start on a free port; ``files`` limits the file descriptors, ``log`` takes its output."""
        self.port = _free_port()
        command = processes.command(
            model_dir, "serve", ["--host", "127.0.0.1", "--port", str(self.port), *arguments]
        )

        def prepare() -> None:
            if core >= 0 and core < (os.cpu_count() or 1):
                os.sched_setaffinity(0, {core})
            if files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        self.process = subprocess.Popen(
            command,
            cwd=processes.working_dir(model_dir),
            env=processes.environment(model_dir, {"OMP_NUM_THREADS": "1", **(env or {})}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=prepare,
        )

    def __enter__(self) -> Server:
        return self.wait_until_ready()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def wait_until_ready(self, within_s: float = 60.0, workers: int = 1) -> Server:
        """Return when /ping is 200 and ``workers`` are warm; raise SystemExit when that takes too long."""
        end = time.monotonic() + within_s
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/ping")[0] == 200 and len(self.workers()) >= workers:
                    return self
            time.sleep(0.05)
        self.stop()
        raise SystemExit(f"the server of {self.port} was not ready within {within_s:g} s")

    def get(self, path: str, timeout_s: float = 2.0) -> tuple[int, bytes]:
        """Return status and body of a GET on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def workers(self) -> list[int]:
        """Return the process ids of the workers that are warm."""
        stats = json.loads(self.get("/stats")[1])
        return [worker["pid"] for worker in stats["workers"] if worker["ready"]]

    def metric(self, name: str) -> float:
        """Return one number of /metrics."""
        text = self.get("/metrics")[1].decode()
        match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(match[1]) if match else 0.0

    def memory_mb(self) -> float:
        """Return the memory of front and workers together; shared pages count once (PSS)."""
        total = 0.0
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total / 2**20

    def processor_s(self) -> float:
        """Return the processor time of front and workers so far, in seconds."""
        return float(sum(sum(process.cpu_times()[:2]) for process in self._family()))

    def open_files(self) -> int:
        """Return how many file descriptors the front holds."""
        return psutil.Process(self.process.pid).num_fds()

    def stop(self) -> None:
        """Ask the server to end, then make it."""
        family = self._family()
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for process in family[1:]:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _family(self) -> list[psutil.Process]:
        try:
            front = psutil.Process(self.process.pid)
            return [front, *front.children(recursive=True)]
        except psutil.Error:
            return []


def moody(folder: Path) -> tuple[Path, list[Body]]:
    """Build and unpack the small CNN with a handler that misbehaves on request."""
    handler = folder / "moody.py"
    handler.write_text(MOODY)
    archive, bodies = _small_cnn(folder, handler)
    unpack(archive, folder / "moody")
    return folder / "moody", bodies


def with_fault(body: Body, fault: str) -> Body:
    """Return the body that makes the moody handler misbehave."""
    value = {**json.loads(body.content), "fault": fault}
    return Body(json.dumps(value).encode(), body.content_type)


def _small_cnn(folder: Path, handler: Path | None = None) -> tuple[Path, list[Body]]:
    """Build a bundle: 64 numbers through 24 convolutions, about 3 ms; and 48 bodies."""
    import onnx

    path = folder / "cnn.onnx"
    onnx.save(_convolutions(layers=24, channels=128), str(path))
    rng = np.random.default_rng(7)
    bodies = []
    for _ in range(48):
        row = [round(float(value), 4) for value in rng.normal(size=64)]
        bodies.append(Body(json.dumps({"instances": [row]}).encode(), "application/json"))
    samples = folder / "samples"
    samples.mkdir(exist_ok=True)
    for number, body in enumerate(bodies[:2]):
        (samples / f"{number}.json").write_bytes(body.content)
    bundle = build(
        path, folder / "dist", name="small-cnn", handler=handler, samples=samples,
        serving=ServingConfig(),
    )  # fmt: skip
    return bundle.path, bodies


def _convolutions(layers: int, channels: int) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(3)
    weights, nodes = [], []

    def weight(name: str, *shape: int) -> str:
        value = rng.normal(size=shape).astype("f4") / np.sqrt(np.prod(shape[1:]))
        weights.append(numpy_helper.from_array(value.astype("f4"), name))
        return name

    weights.append(numpy_helper.from_array(np.array([-1, 1, 8, 8]), "square"))
    nodes.append(helper.make_node("Reshape", ["x", "square"], ["h0"]))
    for layer in range(layers):
        shape = (channels, channels if layer else 1, 3, 3)
        kernel = weight(f"w{layer}", *shape)
        nodes.append(
            helper.make_node("Conv", [f"h{layer}", kernel], [f"c{layer}"], pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("LeakyRelu", [f"c{layer}"], [f"h{layer + 1}"], alpha=0.3))
    nodes.append(helper.make_node("Flatten", [f"h{layers}"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", weight("out", channels * 64, 10)], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph(nodes, "small-cnn", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def load_apart(server_core: int) -> None:
    """Keep this process, which makes the load, off the server's core where there is another."""
    others = os.sched_getaffinity(0) - {server_core}
    if others and server_core >= 0:
        os.sched_setaffinity(0, others)


def more_files() -> int:
    """Raise this process's limit of file descriptors as far as it goes; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
