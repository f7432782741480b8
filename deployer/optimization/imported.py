"""What a user names as ``module:function``: a metric, a model, a student."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deployer.errors import InputError


def imported(name: str, what: str) -> Any:
    """Return the attribute that ``module:function`` names; modules of the working folder count.

    Raises InputError naming ``what`` it was for and why it cannot be had.
    """
    module, _, attribute = name.partition(":")
    try:
        with _working_folder():
            return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing runs the user's code
        raise InputError(
            f"{what} {name!r} cannot be imported: {type(error).__name__}: {error}",
            hint="write it as module:function; the module lies here or is installed",
        ) from error


@contextmanager
def _working_folder() -> Iterator[None]:
    """A console script's import path begins with its own folder, not with the user's."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
