"""Read a file once: its size, its sha256, and what its model format says, however large it is."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from deployer.bundle.onnxfile import OnnxFile, read_onnx

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
Sink = Callable[[bytes], object]


class Readable(Protocol):
    """What bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""


@dataclass(frozen=True)
class Measured:
    """What one reading found; ``onnx`` is set for a file whose name ends in ``.onnx``."""

    size: int
    sha256: str
    onnx: OnnxFile | None


def measure(
    source: Readable, *, name: str = "", size: int | None = None, sink: Sink | None = None
) -> Measured:
    """Read ``source`` to its end, or ``size`` bytes of it, and pass every byte on to ``sink``.

    Raises InputError when ``name`` ends in ``.onnx`` and the bytes are no ONNX model.
    """
    meter = _Meter(source, size, sink)
    stream: io.BufferedReader = io.BufferedReader(meter, CHUNK)
    onnx = read_onnx(name, stream) if name.lower().endswith(".onnx") else None
    while stream.read(CHUNK):
        pass
    return Measured(meter.count, meter.state.hexdigest(), onnx)


class _Meter(io.RawIOBase):
    """Counts, hashes and passes on what is read through it."""

    def __init__(self, source: Readable, size: int | None, sink: Sink | None) -> None:
        self._source = source
        self._size = size
        self._sink = sink
        self.count = 0
        self.state = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        want = len(view) if self._size is None else min(len(view), self._size - self.count)
        data = self._source.read(want)
        view[: len(data)] = data
        self.state.update(data)
        if self._sink is not None:
            self._sink(data)
        self.count += len(data)
        return len(data)
