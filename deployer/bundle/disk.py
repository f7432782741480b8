"""Files below one folder, opened without following a link at any step."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath

from deployer.bundle.members import normal_mode
from deployer.errors import InputError

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
}


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn any OSError within into an InputError: ``path`` cannot be read."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {path!r}: {error.strerror or error}") from error


@dataclass(frozen=True)
class DiskFile:
    """A regular file ``name`` (relative, with ``/``) below the folder ``root``, as it was when listed.

    ``mode`` is octal text, ``size`` in bytes.
    """

    root: Path
    name: str
    mode: str
    size: int

    def __str__(self) -> str:
        return str(self.root / self.name)

    def open(self) -> BufferedReader:
        """Open for reading. Raises InputError when any step of the path is a link by now."""
        with reading(str(self)):
            return open_below(self.root, self.name)


def is_folder(path: Path) -> bool:
    """Return whether ``path`` is a folder, or a link to one; False when that cannot be told."""
    return os.path.isdir(path)  # Path.is_dir raises where a parent may not be searched


def file_at(path: Path) -> DiskFile:
    """Return the regular file at ``path``. Raises InputError when it is anything else, a link included."""
    return file_below(path.parent, path.name)


def file_below(root: Path, name: str) -> DiskFile:
    """Return the regular file ``name`` below ``root``. Raises InputError when any step to it is a link."""
    with reading(str(root / name)):
        for parent in reversed(PurePosixPath(name).parents[:-1]):
            _check_folder(root / parent)
        return _disk_file(root, name, (root / name).lstat())


def _nothing(name: str) -> bool:
    return False


def files_in(folder: Path, without: Callable[[str], bool] = _nothing) -> list[DiskFile]:
    """Return every file below ``folder``, sorted by name, but files and folders of a name that is ``without``.

    Raises InputError naming what is neither a regular file nor a folder, and any link.
    """
    with reading(str(folder)):
        _check_folder(folder)
        return sorted(_walk(folder, "", without), key=lambda file: file.name)


def _check_folder(path: Path) -> None:
    mode = path.lstat().st_mode
    if not stat.S_ISDIR(mode):
        raise _refused(path, mode, "a folder")


def _walk(root: Path, inside: str, without: Callable[[str], bool]) -> Iterator[DiskFile]:
    with os.scandir(root / inside) as entries:
        for entry in entries:
            name = f"{inside}{entry.name}"
            if without(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(root, f"{name}/", without)
            else:
                yield _disk_file(root, name, entry.stat(follow_symlinks=False))


def _disk_file(root: Path, name: str, status: os.stat_result) -> DiskFile:
    if not stat.S_ISREG(status.st_mode):
        raise _refused(root / name, status.st_mode, "a regular file")
    return DiskFile(root, name, normal_mode(status.st_mode), status.st_size)


def open_file(path: Path) -> BufferedReader:
    """Open the regular file that the user named, be it by a link. Raises InputError."""
    with reading(str(path)):
        return _regular(os.open(path, os.O_RDONLY | os.O_NONBLOCK), path)


def open_below(root: Path, name: str) -> BufferedReader:
    """Open ``root/name`` step by step, refusing a link at each. Raises OSError or InputError."""
    *folders, last = name.split("/")
    place = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            deeper = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
            os.close(place)
            place = deeper
        handle = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
    finally:
        os.close(place)
    return _regular(handle, root / name)


def _regular(handle: int, path: Path) -> BufferedReader:
    """Return the file, opened with O_NONBLOCK so that a fifo did not keep us waiting for a writer."""
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise _refused(path, mode, "a regular file")
    return open(handle, "rb")


def _refused(path: Path, mode: int, wanted: str) -> InputError:
    kind = _KINDS.get(stat.S_IFMT(mode), "of an unknown kind")
    hint = None
    if stat.S_ISLNK(mode):
        hint = f"links are never followed; give what it points to: {os.path.realpath(path)!r}"
    return InputError(f"{str(path)!r} is {kind}, not {wanted}", hint=hint)
