"""A model artifact that others made, ``model.tar.gz``, into a folder: nothing outside it, no more than is allowed.

Unlike a bundle it has no manifest, may be of any tar dialect, and may hold entries for folders; all else that a
bundle refuses is refused here: links, devices, absolute paths, ``..``, two members of one name, too much of anything.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from deployer.bundle.members import LIMITS, Limits, Paths, path_problem, refused
from deployer.bundle.staging import new_folder
from deployer.errors import InputError

_CHUNK = 2**20
_LONGEST_HEADER = 2**20
"""Bytes that an extended header may have: tarfile reads it whole."""


def unpack_artifact(path: Path, into: Path, limits: Limits = LIMITS) -> int:
    """Unpack a tar, compressed by gzip or not, to the new folder ``into``; return how many files it has.

    The folder appears when all is unpacked. Raises InputError naming the member that is refused.
    """
    with new_folder(into) as draft, tempfile.TemporaryFile(dir=into.parent) as plain:
        _inflate(path, plain, limits)
        plain.seek(0)
        try:
            with tarfile.open(fileobj=cast(IO[bytes], _Careful(plain)), mode="r:") as archive:
                return _extract(path, archive, draft, limits)
        except (tarfile.TarError, ValueError, EOFError) as error:
            raise InputError(f"{path.name} is no tar that can be read: {error}") from error


def _inflate(path: Path, plain: IO[bytes], limits: Limits) -> None:
    """Copy what is compressed to ``plain``; a bomb is refused when it passes the limit."""
    # Each member has a header, and is padded; folders have headers, too.
    most = limits.total_bytes + limits.members * 4 * tarfile.BLOCKSIZE + tarfile.RECORDSIZE
    count = 0
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        source = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
        try:
            while chunk := source.read(_CHUNK):
                count += len(chunk)
                if count > most:
                    raise InputError(
                        f"{path.name} expands to more than {limits.total_bytes:,} bytes"
                    )
                plain.write(chunk)
        except (OSError, EOFError, zlib.error) as error:
            if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
                raise
            raise InputError(f"{path.name} is damaged: {error}") from error


def _extract(path: Path, archive: tarfile.TarFile, folder: Path, limits: Limits) -> int:
    seen, total, count = Paths(), 0, 0
    for member in _members(path, archive, limits):
        name = member.name.removeprefix("./").rstrip("/")
        problem = path_problem(name) or _kind_problem(member)
        if member.isdir() and name in ("", "."):
            continue
        if problem is None and member.isdir():
            continue  # folders are made for the files in them
        problem = problem or seen.add(name)
        if problem is not None:
            raise refused(path, member.name, problem)
        total += member.size
        count += 1
        if total > limits.total_bytes:
            raise InputError(f"{path.name} expands to more than {limits.total_bytes:,} bytes")
        _write(archive, member, folder / name)
    if count == 0:
        raise InputError(f"{path.name} holds no file")
    return count


def _members(path: Path, archive: tarfile.TarFile, limits: Limits) -> Iterator[tarfile.TarInfo]:
    for count, member in enumerate(archive):
        if count >= limits.members:
            raise InputError(f"{path.name} has more than {limits.members:,} members")
        yield member


def _kind_problem(member: tarfile.TarInfo) -> str | None:
    if member.issym() or member.islnk():
        return f"is a link to {member.linkname!r}"
    if member.isdir() or (member.isreg() and not member.issparse()):
        return None
    return "is neither a plain file nor a folder"


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o600)
    with open(handle, "wb") as file:
        source = archive.extractfile(member)
        assert source is not None  # a plain file
        shutil.copyfileobj(source, file, _CHUNK)
        if file.tell() != member.size:
            raise EOFError(f"member {member.name!r} ends too early")
        os.fchmod(handle, 0o755 if member.mode & 0o100 else 0o644)


class _Careful:
    """A file of which no more is read at once than a header may have."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes. Raises ValueError for more than a header's."""
        if not 0 <= size <= _LONGEST_HEADER:
            raise ValueError(f"a header of {size:,} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()
