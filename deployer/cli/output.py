"""Output files: refused early, written whole, never lost by accident.

What can be made again from its inputs (a simulation, a report, a trace, a plan, a bundle) replaces an older
file. What cannot (a measurement, a file that people edit) is kept: --force replaces it.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deployer.errors import EnvironmentProblem, InputError


def check_file(
    path: Path | None, *, inputs: Iterable[Path | None] = (), keep: bool = False
) -> None:
    """Raise before any work when ``path`` cannot or must not be written.

    ``inputs`` must not be overwritten; ``keep`` refuses an existing file.
    """
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder", hint="-o names a file here")
    for source in inputs:
        if source is not None and source.exists() and path.exists() and path.samefile(source):
            raise InputError(f"{str(path)!r} is also an input", hint="name another file with -o")
    if keep and path.exists():
        raise InputError(f"{str(path)!r} is there already", hint="name another, or add --force")
    _check_folder(path.parent)


def check_folder(path: Path) -> None:
    """Raise before any work when the folder ``path`` cannot be made or written into."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{str(path)!r} is a file", hint="-o names a folder here")
    _check_folder(path)


def _check_folder(path: Path) -> None:
    """The nearest folder that exists must take a file: permissions alone do not tell."""
    nearest = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write into {str(nearest)!r}: {error.strerror}",
            hint="choose a folder that you may write to",
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a draft beside ``path`` that takes its name on success and is removed otherwise."""
    draft = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(path)
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write {str(path)!r}: {error.strerror or error}",
            hint="choose a folder that you may write to, with room",
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def write(path: Path | None, text: str) -> None:
    """Write a text file whole; None writes nothing."""
    if path is not None:
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8")
