"""A gzip file that knows when one of its bytes has changed.

gzip's own check covers the content only: its header, and the spare bits and interchangeable codes of the
compressed stream, can change unnoticed. So the header carries the sha256 of all bytes behind it, in an
extra field that every gzip reader skips. The seal finds damage; it proves nothing about who wrote the file.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from deployer.bundle.disk import reading
from deployer.errors import InputError

_DAMAGED = "the file is damaged"
_HINT = "copy it again from where it was made, or package the model again"
_CHUNK = 1 << 16
_LEVEL = 6

# ID1 ID2 CM FLG=FEXTRA MTIME=0 XFL=0 OS=unknown XLEN | subfield "FD" of 34 bytes: version 1, sha256.
# Subtleness ahead! Without its FEXTRA flag the file would be read as compressed from byte 10 on, and with
# FNAME in its place from byte 12 on. XLEN (38 = 0b100110) and "F" (0b1000110) each begin such a stream with
# the reserved block type 3, so a changed flag byte can never make an unsealed file of a sealed one.
_MAGIC = b"\x1f\x8b\x08"
_SEALED = b"\x04"
_UNSEALED = (b"\x00", b"\x08")  # plain, or with the name that gzip(1) keeps
_PREFIX = _MAGIC + _SEALED + b"\0\0\0\0" + b"\0\xff" + b"\x26\0" + b"FD\x22\0" + b"\x01\0"
_SEAL_BYTES = 32
_BODY = len(_PREFIX) + _SEAL_BYTES


class SealedWriter:
    """Compresses into an empty, seekable file; ``close`` writes the seal."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._crc = 0
        self._size = 0
        self._seal = hashlib.sha256()
        file.write(_PREFIX + bytes(_SEAL_BYTES))

    def write(self, data: bytes) -> None:
        """Compress ``data``."""
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._put(self._deflate.compress(data))

    def close(self) -> None:
        """End the compressed stream and seal the file."""
        self._put(self._deflate.flush() + struct.pack("<LL", self._crc, self._size & 0xFFFFFFFF))
        self._file.seek(len(_PREFIX))
        self._file.write(self._seal.digest())
        self._file.seek(0, os.SEEK_END)

    def _put(self, data: bytes) -> None:
        self._seal.update(data)
        self._file.write(data)


def check_seal(path: Path, file: BufferedReader) -> None:
    """Raise InputError unless the file is as it was sealed, or is gzip without a seal; rewind it.

    A file that was compressed again, by gzip(1) or another zlib, has no seal: its content speaks for itself.
    """
    with reading(str(path)):
        head = file.read(_BODY)
        seal = hashlib.file_digest(file, "sha256").digest()
        file.seek(0)
    if not head.startswith(_MAGIC):
        raise InputError(f"{path.name}: {_DAMAGED}, or is no gzip file", hint=_HINT)
    if head[3:4] not in _UNSEALED:
        if len(head) < _BODY or not head.startswith(_PREFIX):
            raise InputError(f"{path.name}: {_DAMAGED}: its header is not a bundle's", hint=_HINT)
        if seal != head[len(_PREFIX) :]:
            raise InputError(
                f"{path.name}: {_DAMAGED}: its bytes are not the ones that were sealed", hint=_HINT
            )


class Inflater:
    """Reads a gzip file's content; at most ``limit_bytes`` of it. Every method may raise InputError."""

    def __init__(self, path: Path, file: BinaryIO, limit_bytes: int) -> None:
        self._path = path
        self._file = file
        self._limit = limit_bytes
        self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._count = 0

    def read(self, size: int, /) -> bytes:
        """Return ``size`` bytes, fewer only at the end."""
        parts = io.BytesIO()
        while (missing := size - parts.tell()) > 0 and (data := self._next(missing)):
            parts.write(data)
        return parts.getvalue()

    def _next(self, most: int) -> bytes:
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._read(_CHUNK)
            if not packed:
                raise self._damaged("it ends too early")
            try:
                data = self._inflate.decompress(packed, most)
            except zlib.error as error:
                raise self._damaged(str(error)) from error
            self._count += len(data)
            if self._count > self._limit:
                raise InputError(
                    f"{self._path.name}: expands past the bound of {self._limit:,} bytes"
                )
            if data:
                return data
        if self._inflate.unused_data or self._read(1):
            raise self._damaged("bytes follow its end")
        return b""

    def _read(self, size: int) -> bytes:
        with reading(str(self._path)):
            return self._file.read(size)

    def _damaged(self, problem: str) -> InputError:
        return InputError(f"{self._path.name}: {_DAMAGED}: {problem}", hint=_HINT)
