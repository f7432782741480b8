"""The tar inside a bundle: regular files only, each with no more than a name, a mode and a size.

Only a single header's fields are parsed by tarfile; which member comes next, where it may lie and how much it
may hold is decided here.
"""

from __future__ import annotations

import itertools
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deployer.bundle.members import Limits, path_problem, refused
from deployer.bundle.sealed import Inflater
from deployer.errors import InputError

_BLOCK = tarfile.BLOCKSIZE
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)  # TarInfo.isreg() takes sparse files too
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.DIRTYPE: "a folder",
    tarfile.FIFOTYPE: "a fifo",
}
_RECORD = re.compile(rb"([1-9][0-9]{0,5}) ([^=\n]+)=")
_IGNORED = {"atime", "comment", "ctime", "gid", "gname", "mtime", "uid", "uname"}
_LONGEST_EXTENSION = 8 * 1024
_LONGEST_END = 1 << 20

END = bytes(2 * _BLOCK)


@dataclass(frozen=True)
class Header:
    """One member as the tar announces it; ``mode`` is octal text, ``size`` in bytes."""

    path: str
    mode: str
    size: int


def header_bytes(header: Header) -> bytes:
    """Return the tar header of a regular file without times and owners: the same bytes everywhere."""
    info = tarfile.TarInfo(header.path)
    info.size = header.size
    info.mode = int(header.mode, 8)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """Return the zeros that follow a member of ``size`` bytes."""
    return bytes(-size % _BLOCK)


def inflated_limit(limits: Limits) -> int:
    """Return the most bytes that a tar within ``limits`` may take, headers and padding included."""
    return limits.total_bytes + limits.members * (4 * _BLOCK + _LONGEST_EXTENSION) + _LONGEST_END


def headers(bundle: Path, stream: Inflater, limits: Limits) -> Iterator[Header]:
    """Yield the header of each member; the caller reads its ``size`` bytes before it asks for the next.

    Raises InputError naming the member that is no regular file, has a path that a member may not have, or
    is past ``limits``.
    """
    total = 0
    for count in itertools.count(1):
        header = _next_header(bundle, stream)
        if header is None:
            break
        total += header.size
        if total > limits.total_bytes:
            raise refused(
                bundle, header.path, f"expands past the bound of {limits.total_bytes:,} bytes"
            )
        if count > limits.members:
            raise refused(bundle, header.path, f"is past the bound of {limits.members:,} members")
        yield header
        if _exactly(bundle, stream, -header.size % _BLOCK).strip(b"\0"):
            raise refused(bundle, header.path, "is followed by bytes that belong to no member")
    while rest := stream.read(_LONGEST_END):
        if rest.strip(b"\0"):
            raise InputError(f"{bundle.name}: bytes follow the end of the archive")


def _next_header(bundle: Path, stream: Inflater) -> Header | None:
    info = _header(bundle, stream)
    extension: dict[str, str] = {}
    if info is not None and info.type == tarfile.XHDTYPE:
        if not 0 < info.size <= _LONGEST_EXTENSION:
            raise refused(bundle, info.name, f"is a header extension of {info.size:,} bytes")
        data = _exactly(bundle, stream, info.size + -info.size % _BLOCK)[: info.size]
        extension = _extension(bundle, info.name, data)
        info = _header(bundle, stream)
        if info is None:
            raise InputError(f"{bundle.name}: it ends after a header extension")
    return None if info is None else _checked(bundle, info, extension)


def _header(bundle: Path, stream: Inflater) -> tarfile.TarInfo | None:
    block = _exactly(bundle, stream, _BLOCK)
    if not block.strip(b"\0"):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise InputError(f"{bundle.name}: it holds no readable tar: {error}") from error


def _checked(bundle: Path, info: tarfile.TarInfo, extension: dict[str, str]) -> Header:
    path = extension.get("path", info.name)
    problem = path_problem(path)
    if problem is not None:
        raise refused(bundle, path, problem)
    if info.type not in _REGULAR or info.linkname:
        kind = _KINDS.get(info.type, f"of the tar type {info.type!r}")
        raise refused(bundle, path, f"is {kind}, not a regular file")
    size = extension.get("size", str(info.size))
    if not (size.isascii() and size.isdigit()):
        raise refused(bundle, path, f"has the size {size!r}")
    return Header(path, f"{info.mode:04o}", int(size))


def _extension(bundle: Path, name: str, data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    while data:
        match = _RECORD.match(data)
        end = int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise refused(bundle, name, "is a header extension that cannot be read")
        key, value = match[2].decode(errors="replace"), data[match.end() : end - 1]
        if key in found or key not in {"path", "size"} | _IGNORED:
            raise refused(bundle, name, f"is a header extension with the key {key!r}")
        found[key] = value.decode(errors="surrogateescape")
        data = data[end:]
    return found


def _exactly(bundle: Path, stream: Inflater, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise InputError(f"{bundle.name}: the archive inside ends too early")
    return data
