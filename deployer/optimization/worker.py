"""The process that forks one child for each piece of a climb: a crash inside ends the child alone.

``isolation`` starts it once per program and hands it one task at a time, a line of JSON on stdin. What takes long to
import is imported here, once; no session is opened and no thread pool is started, so that forking stays safe. Each
child leads a process group of its own and dies with this process, which ends with the program that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def main() -> None:
    """Fork a child for each line of stdin and tell its pid and then how it ended, until stdin closes."""
    answers = os.dup(1)
    os.dup2(2, 1)
    _LIBC.prctl(
        _PR_SET_PDEATHSIG, signal.SIGKILL
    )  # it cannot hear of its starter's end while it imports
    from deployer.optimization import jobs, output

    _LIBC.prctl(_PR_SET_PDEATHSIG, 0)
    warnings.simplefilter("ignore", DeprecationWarning)  # OpenBLAS has threads; it survives a fork
    outs: set[Path] = set()
    tasks = _Lines(0)
    _tell(answers, {"ready": True})
    while (line := tasks.next()) is not None:
        task = json.loads(line)
        outs.add(Path(task["out"]))
        own = os.getpid()
        pid = os.fork()
        if pid == 0:
            _child(task, jobs.run, own)
        _tell(answers, {"pid": pid})
        status = _ended(pid, tasks)
        if status is None:
            break
        _tell(answers, {"status": status})
    # The locks of a killed program fall at about the same time as its end of the pipe.
    for _ in range(5):
        for out in outs:
            with contextlib.suppress(OSError):
                output.sweep(out)
        time.sleep(0.05)


def _child(task: dict[str, Any], work: Any, starter: int) -> None:
    """Become the process of one task, and end with it, or with its ``starter``."""
    from deployer.optimization import output

    code = 1
    try:
        os.setsid()
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != starter:  # it died before it could be told of
            os._exit(code)
        with contextlib.suppress(OSError):  # where memory runs out this one goes first
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
        said = os.open(task["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (said, 1), (said, 2)):
            os.dup2(old, new)
        os.closerange(3, 64)
        with contextlib.suppress(OSError):
            os.chdir(task["cwd"])
        sys.path[:] = task["path"]
        tempfile.tempdir = task["at"]  # what a killed quantizer leaves goes with the task's folder
        work(task)
        code = 0
    except OSError as error:
        code = output.NO_ROOM if error.errno in output.FULL else 1
        sys.stderr.write(f"{error}\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _ended(pid: int, tasks: _Lines) -> int | None:
    """Wait for the child; return its exit code (minus the signal's number), None when stdin closed before."""
    pidfd = os.pidfd_open(pid)
    try:
        while True:
            ready, _, _ = select.select([pidfd, tasks.descriptor], [], [])
            if tasks.descriptor in ready and not tasks.read():
                for kill in (os.killpg, os.kill):  # it leads no group yet in its first moment
                    with contextlib.suppress(ProcessLookupError):
                        kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return None
            if pidfd in ready:
                _, status = os.waitpid(pid, 0)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)  # whatever it started itself
                return os.waitstatus_to_exitcode(status)
    finally:
        os.close(pidfd)


class _Lines:
    """Lines of a descriptor, which can be watched beside another one."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._held = b""

    def read(self) -> bool:
        """Take in what is there; False at the end."""
        block = os.read(self.descriptor, 1 << 16)
        self._held += block
        return bool(block)

    def next(self) -> bytes | None:
        """Return the next line, None at the end."""
        while b"\n" not in self._held:
            if not self.read():
                return None
        line, _, self._held = self._held.partition(b"\n")
        return line


def _tell(descriptor: int, message: dict[str, Any]) -> None:
    os.write(descriptor, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
