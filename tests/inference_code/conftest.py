"""Model folders with a handler given as text, and real server processes over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HANDLERS = Path(__file__).parent / "handlers"


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


class Server:
    """A server process; ``ask`` sends one request on a connection of its own."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.process = process
        self.log = log
        self.port = int(self._wait_for(r"http://127\.0\.0\.1:(\d+)"))

    def _wait_for(self, pattern: str) -> str:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            match = re.search(pattern, self.log.read_text())
            if match:
                return match[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"no {pattern} in the log:\n{self.log.read_text()}")

    def wait_until_ready(self) -> Server:
        self.wait_for_ping(200)
        return self

    def wait_for_ping(self, status: int, within_s: float = 20) -> float:
        start = time.monotonic()
        while time.monotonic() < start + within_s:
            with contextlib.suppress(ConnectionError):  # no answer is not this answer
                if self.ask("GET", "/ping").status == status:
                    return time.monotonic() - start
            time.sleep(0.02)
        raise AssertionError(f"/ping was not {status} within {within_s} s:\n{self.log.read_text()}")

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def invoke(self, value: object, **headers: str) -> Reply:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.ask(
            "POST", "/invocations", body, **{"Content_Type": "application/json", **headers}
        )

    def metric(self, name: str) -> float:
        text = self.ask("GET", "/metrics").body.decode()
        match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(match[1]) if match else 0.0

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def model_dir(tmp_path: Path) -> Callable[..., Path]:
    """Make a model folder out of a handler (a name in ``handlers``, or source text) and samples."""

    def make(source: str = "doubler", samples: Mapping[str, bytes] | None = None) -> Path:
        code = tmp_path / "model" / "code"
        (code / "samples").mkdir(parents=True)
        if source.isidentifier():
            source = (HANDLERS / f"{source}.py").read_text()
        (code / "inference.py").write_text(textwrap.dedent(source))
        for name, body in (samples or {}).items():
            (code / "samples" / name).write_bytes(body)
        return code.parent

    return make


def servers(folder: Path) -> Iterator[Callable[..., Server]]:
    """Start servers of model folders, with their logs in ``folder``; stop all at the end."""
    started: list[subprocess.Popen] = []

    def run(model: Path, *arguments: str, files: int | None = None) -> Server:
        """Start a server; ``files`` is the most file descriptors it may have."""
        log = folder / f"server-{len(started)}.log"
        limit = ["prlimit", f"--nofile={files}:{files}"] if files else []
        command = [
            *limit,
            sys.executable,
            "-m",
            "inference_code",
            "serve",
            "--model-dir",
            str(model),
        ]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", "0", "--drain-s", "2", *arguments],
                stdout=file,
                stderr=file,
                env=environment(),
            )
        started.append(process)
        return Server(process, log)

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers of model folders; all are gone after the test."""
    yield from servers(tmp_path)


@pytest.fixture(scope="module")
def start_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start servers that the tests of a module share."""
    yield from servers(tmp_path_factory.mktemp("servers"))


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run ``python -m inference_code`` to its end."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "inference_code", *arguments],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=60,
        )

    return run
