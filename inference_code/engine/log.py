"""One JSON object per line on stderr, where SageMaker, journald and Docker pick it up.

A log must never hold a request: what cannot be written now, on a full disk or into a pipe that no one
reads, is dropped.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import time
from functools import cache
from typing import Any, TextIO

from inference_code.codecs import jsontext

#: A pipe takes this many bytes whole or not at all (POSIX's PIPE_BUF is at least 512, Linux's 4096).
_PIECE = 4096


def log(event: str, **fields: Any) -> None:
    """Write an event with its fields to stderr."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
    emit(jsontext.write({"time": stamp, "event": event, **fields}).decode() + "\n", sys.stderr)


def emit(text: str, stream: TextIO) -> None:
    """Write text to stdout or stderr if that takes it at once; drop what it does not take."""
    with contextlib.suppress(OSError):
        try:
            descriptor = stream.fileno()
        except OSError:  # a stream of no file: a notebook's, a test's
            stream.write(text)
            return
        stream.flush()
        data, target = text.encode("utf-8", "backslashreplace"), _unblocked(descriptor)
        for start in range(0, len(data), _PIECE):
            # A write that a pipe has room for returns at once even if the descriptor may block.
            if not _writable(target):
                return
            os.write(target, data[start : start + _PIECE])


def _writable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


@cache
def _unblocked(descriptor: int) -> int:
    """Return the pipe behind a descriptor, opened again so that writing to it never blocks.

    The flag belongs to the open file, which other processes share: it must not be set on theirs.
    What is no pipe, or may not be opened again, is returned as it is.
    """
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK)
    return descriptor
