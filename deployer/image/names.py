"""Names of images, checked before they reach a tool or a Dockerfile."""

from __future__ import annotations

import re

from deployer.errors import InputError

_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?/)?"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAME = rf"{_HOST}{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
_TAG = re.compile(_NAME)
_REFERENCE = re.compile(rf"{_NAME}(?:@sha256:[0-9a-f]{{64}})?")
_LONGEST = 255


def check_reference(what: str, name: str) -> str:
    """Return the name of an existing image, ``[HOST/]NAME[:TAG][@sha256:...]``. Raises InputError."""
    return _check(_REFERENCE, what, name, "python:3.12-slim, or NAME@sha256:... to fix its content")


def check_tag(what: str, name: str) -> str:
    """Return a name for a new image, ``[HOST/]NAME[:TAG]``. Raises InputError."""
    return _check(_TAG, what, name, "digits:1.0, lower case, with no digest")


def _check(pattern: re.Pattern[str], what: str, name: str, example: str) -> str:
    if len(name) > _LONGEST or not pattern.fullmatch(name):
        raise InputError(f"{what} {name!r} is no name of an image", hint=f"write it like {example}")
    return name
