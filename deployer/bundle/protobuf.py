"""Protocol Buffers on the wire, read forward once: enough to walk a message without holding it.

The format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from typing import NamedTuple

_SKIP_CHUNK = 1 << 20
_LONGEST_VARINT = 10
_LONGEST_TEXT = 1 << 16
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}


class Malformed(ValueError):
    """The bytes are no Protocol Buffers message."""


class Field(NamedTuple):
    """One field: an integer's ``value``, or where a part (text, bytes, a message) ends in the stream."""

    number: int
    value: int
    is_part: bool


class Wire:
    """A stream of Protocol Buffers and its position in bytes. Every method may raise Malformed."""

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream
        self.position = 0

    def fields(self, end: int | None) -> Iterator[Field]:
        """Yield each field up to ``end``, or to the end of the stream.

        The caller may read any of a part's bytes; what it leaves is skipped.
        """
        while not self._at(end):
            number, kind = divmod(self._varint(), 8)
            if kind == _VARINT:
                yield Field(number, self._varint(), is_part=False)
            elif kind == _BYTES:
                stop = self._varint() + self.position
                if end is not None and stop > end:
                    raise Malformed("a field is longer than the message around it")
                yield Field(number, stop, is_part=True)
                self._skip(stop - self.position)
            elif kind in _FIXED_SIZES:
                self._skip(_FIXED_SIZES[kind])
            else:
                raise Malformed(f"a field has the unknown wire type {kind}")

    def text(self, end: int) -> str:
        """Return the bytes up to ``end`` as text."""
        if end - self.position > _LONGEST_TEXT:
            raise Malformed(f"a name is longer than {_LONGEST_TEXT} bytes")
        try:
            return self._read(end - self.position).decode()
        except UnicodeDecodeError:
            raise Malformed("a name is not UTF-8") from None

    def short(self, end: int) -> bytes | None:
        """Return the bytes up to ``end``, None when there are more than a name has."""
        size = end - self.position
        return self._read(size) if size <= _LONGEST_TEXT else None

    def _at(self, end: int | None) -> bool:
        if end is None:
            return not self._stream.peek(1)
        if self.position > end:
            raise Malformed("a field is longer than the message around it")
        return self.position == end

    def _varint(self) -> int:
        value = 0
        for index in range(_LONGEST_VARINT):
            byte = self._read(1)[0]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value
        raise Malformed("an integer is longer than ten bytes")

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.position += len(data)
        if len(data) != size:
            raise Malformed("it ends too early")
        return data

    def _skip(self, size: int) -> None:
        for left in range(size, 0, -_SKIP_CHUNK):
            self._read(min(_SKIP_CHUNK, left))
