"""Pieces of a climb in processes of their own: what crashes, hangs or eats memory there is a sentence here.

ONNX Runtime and the quantizers are native code, and a model from elsewhere can bring them down (fp16 of a Transpose
before a MatMul ends ONNX Runtime 1.31.1 with SIGSEGV). Each piece has a bound on its time and on its memory; one that
breaks a bound is killed with all that it started.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deployer import errors
from deployer.errors import EnvironmentProblem, InputError
from deployer.optimization.output import NO_ROOM

SHARE = 0.8
"""Of the memory that is free when a piece begins, where no bound is given."""

_ENDED = "the process that starts the others ended"
_FULL = "there is no room on the disk for the climb"
_POLL_S = 0.05
_ENDING_S = 10.0
_RAISED = {kind.__name__: kind for kind in (InputError, EnvironmentProblem, errors.NotSupported)}


@dataclass(frozen=True)
class Limits:
    """Bounds of each rung: ``seconds`` on the wall clock, ``memory_bytes`` beside files (None: 80% of what is free)."""

    seconds: float = 1800.0
    memory_bytes: int | None = None

    @classmethod
    def of(cls, minutes: float, memory_gb: float | None) -> Limits:
        """Return the bounds in a user's units: minutes and GB (1e9 bytes)."""
        return cls(60 * minutes, None if memory_gb is None else int(memory_gb * 1e9))

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf"):
            raise InputError(f"the time for a rung must be above 0 s, not {self.seconds!r}")
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise InputError(f"the memory for a rung must be above 0, not {self.memory_bytes!r}")


class Lost(Exception):
    """A piece ended without an answer, for ``reason``; ``words`` are the last that it wrote.

    ``mark`` is the last it set, ``final`` whether trying again is of no use.
    """

    def __init__(self, reason: str, words: str, mark: int, *, final: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.words = words
        self.mark = mark
        self.final = final

    def told(self, doing: str) -> str:
        """Return the sentence: what happened while it was ``doing`` what, with its last words."""
        return f"{self.reason} {doing}" + (f": {self.words}" if self.words else "")


class Isolation:
    """Runs the functions of ``jobs`` for one climb; what they write goes to ``folder``, ``out`` is the climb's."""

    def __init__(self, folder: Path, out: Path, limits: Limits) -> None:
        self.folder = folder
        self._out = out
        self._limits = limits
        self._end = float("inf")

    @property
    def seconds(self) -> float:
        """Return the bound of one rung on the wall clock."""
        return self._limits.seconds

    def until(self, end: float) -> Isolation:
        """Return one for the same climb whose pieces are stopped at ``end`` by the monotonic clock, in seconds."""
        bounded = Isolation(self.folder, self._out, self._limits)
        bounded._end = min(end, self._end)
        return bounded

    def run(self, call: str, *, times: int = 1, **arguments: Any) -> Any:
        """Return what ``jobs.call(folder, **arguments)`` returns; ``times`` is how many rungs it concerns.

        Raises the DeployerError that it raised, and Lost where there is no answer.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise Lost("there was no time left", "", 0, final=False)
        limits = replace(self._limits, seconds=min(self._limits.seconds * times, left))
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".task-") as inner:
            at = Path(inner).resolve()
            (at / "mark").write_bytes(b"\0")
            task = {
                "call": call,
                "arguments": arguments,
                "folder": str(self.folder.resolve()),
                "at": str(at),
                "said": str(at / "said"),
                "out": str(self._out.resolve()),
                "cwd": str(Path.cwd()),
                "path": sys.path,
            }
            with _LOCK:
                reason, final = _SERVER.run(task, limits)
            if reason == _FULL:
                hint = "make room there, or choose another folder with -o"
                raise EnvironmentProblem(_FULL, hint=hint)
            return _answer(at, reason, final=final)


def _answer(at: Path, reason: str | None, *, final: bool) -> Any:
    """Return the answer in a task's folder, raise the error in it, or Lost."""
    try:
        held = json.loads((at / "answer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        held = None
    if held is None or reason is not None:
        why = reason or "its process ended without an answer"
        raise Lost(why, _last_words(at / "said"), (at / "mark").read_bytes()[0], final=final)
    if "error" not in held:
        return held["value"]
    kind = _RAISED.get(held["error"])
    if kind is None:
        # What a full disk or a full memory did, another climb need not meet.
        passing = held["error"] in ("OSError", "MemoryError")
        raise Lost(held["message"], "", (at / "mark").read_bytes()[0], final=not passing)
    raise kind(held["message"], hint=held["hint"])


class _Server:
    """The process of ``worker``, started when it is first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._heard = b""

    def run(self, task: Mapping[str, Any], limits: Limits) -> tuple[str | None, bool]:
        """Run a task to its end; return why it has no answer (None when it should have) and whether that is final."""
        try:
            return self._watched(task, limits)
        except (
            BaseException
        ):  # Ctrl-C above all: nothing of the piece may stay, and no half message
            self.stop()
            raise

    def _watched(self, task: Mapping[str, Any], limits: Limits) -> tuple[str | None, bool]:
        process = self._started()
        assert process.stdin is not None
        pid = None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.flush()
            pid = self._hear(None).get("pid")
        if pid is None:
            self.stop()  # it has ended; the next piece gets a new one
            return _ENDED, False
        watch = _Watch(pid, limits)
        while not (message := self._hear(_POLL_S)):
            watch.look()
        status = message.get("status")
        if status is None:
            self.stop()
        if watch.broken:
            return watch.broken, False
        return _ending(status), status not in (
            1,
            -signal.SIGKILL,
        )  # 1: it could not write its answer

    def stop(self) -> None:
        """Close its stdin, at which it ends with all that it started."""
        process, self._process, self._heard = self._process, None, b""
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # a fork of the program that started it has to have its own
            self._process, self._owner, self._heard = None, os.getpid(), b""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        path = os.pathsep.join(part or str(Path.cwd()) for part in sys.path)
        with tempfile.TemporaryFile() as said:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "deployer.optimization.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, "PYTHONPATH": path, "ORT_DISABLE_TELEMETRY": "1"},
                start_new_session=True,  # Ctrl-C on the terminal reaches us alone
            )
            if "ready" not in self._hear(None):
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines() or [""]
                self.stop()
                raise EnvironmentProblem(f"no process can be started for the rungs: {lines[-1]}")
        return self._process

    def _hear(self, timeout_s: float | None) -> dict[str, Any]:
        """Return its next message; ``{}`` after ``timeout_s`` (None waits), ``{"status": None}`` when it has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        while (
            b"\n" not in self._heard
        ):  # two messages may come at once; a stream's own buffer would hide the second
            if not select.select([stream], [], [], timeout_s)[0]:
                return {}
            if not (block := os.read(stream, 1 << 16)):
                return {"status": None}
            self._heard += block
        line, _, self._heard = self._heard.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


class _Watch:
    """Looks after one child: kills it when it breaks a bound, and then says which."""

    def __init__(self, pid: int, limits: Limits) -> None:
        self._pid = pid
        self._seconds = limits.seconds
        self._end = time.monotonic() + limits.seconds
        self._bytes = limits.memory_bytes or int(SHARE * available_bytes())
        self.broken: str | None = None

    def look(self) -> None:
        if self.broken:
            return
        if time.monotonic() > self._end:
            self.broken = f"stopped after {self._seconds:.4g} s"
        elif (used := memory_bytes(self._pid)) > self._bytes:
            self.broken = (
                f"stopped at {used / 1e9:.1f} GB of memory, {self._bytes / 1e9:.1f} GB is its bound"
            )
        if self.broken:
            _kill_group(self._pid)


def memory_bytes(pid: int) -> int:
    """Return the memory of a process and its descendants that no file holds; 0 when it is gone."""
    try:
        resident, shared = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1:3]
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    own = (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return own + sum(memory_bytes(int(child)) for child in children)


def available_bytes() -> int:
    """Return the memory that can still be had: what the machine has free, or less where a cgroup bounds us."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        free = int(text.split("MemAvailable:")[1].split()[0]) * 1024
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no bound
        limit, used = (
            int(Path(f"/sys/fs/cgroup/memory.{name}").read_text(encoding="ascii"))
            for name in ("max", "current")
        )
        free = min(free, max(limit - used, 0))
    return free


def _ending(status: int | None) -> str | None:
    if status == 0:
        return None
    if status == NO_ROOM:
        return _FULL
    if status is None:
        return _ENDED
    if status == -signal.SIGKILL:
        return "its process was killed (SIGKILL), as the kernel does when memory runs out"
    if status < 0:
        return f"its process crashed ({signal.Signals(-status).name})"
    return f"its process ended with {status}"


def _last_words(said: Path) -> str:
    """Return the last line that the process wrote, which of native code is often the only explanation."""
    with contextlib.suppress(OSError):
        lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines:
            return lines[-1].strip()[:200]
    return ""


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # it leads no group yet in its first moment
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


_SERVER = _Server()
_LOCK = threading.Lock()
atexit.register(_SERVER.stop)
