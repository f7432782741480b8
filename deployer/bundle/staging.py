"""New files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from deployer.errors import EnvironmentProblem, InputError


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that takes the name ``path`` on success and is removed on failure or Ctrl-C.

    A file of that name is replaced. Raises EnvironmentProblem when it cannot be written.
    """
    draft = _draft(path)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Created inside the try: Ctrl-C may arrive the moment the draft exists. Its name is random, so
        # what is removed can only be ours.
        try:
            with open(draft, "x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder that takes the name ``path`` on success and is removed on failure or Ctrl-C.

    Raises InputError when something other than an empty folder has that name, EnvironmentProblem when it
    cannot be written.
    """
    draft = _draft(path)
    with _writing(path):
        _check_free(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.mkdir(mode=0o700)
            yield draft
            draft.chmod(0o755)
            draft.rename(path)  # POSIX: replaces an empty folder, refuses a full one
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _check_free(path: Path) -> None:
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise InputError(
            f"{str(path)!r} is there already", hint="name a new folder, or an empty one"
        )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write {str(path)!r}: {error.strerror or error}",
            hint="choose a folder that you may write to, with room for the bundle",
        ) from error
