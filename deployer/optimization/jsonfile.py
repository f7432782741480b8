"""The JSON files of a Hugging Face folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deployer.errors import InputError


def read(path: Path) -> Any:
    """Return what the file holds. Raises InputError when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {str(path)!r}: {error}") from error


def read_object(path: Path) -> dict[str, Any]:
    """Return the object that the file holds. Raises InputError when there is none."""
    value = read(path)
    if not isinstance(value, dict):
        raise InputError(f"{path.parent.name}/{path.name} holds no object")
    return value
