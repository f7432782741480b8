"""The files that lie beside a model: configurations in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference_code.errors import HandlerInvalid
from inference_code.handler.base import Context


def find(context: Context, name: str) -> Path | None:
    """Return the file ``name`` at the root of the model folder or beside the model itself."""
    folders = [context.model_dir, *([context.model.parent] if context.model else [])]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def needed(context: Context, name: str) -> Path:
    """Return the file ``name``. Raises HandlerInvalid when it is missing."""
    path = find(context, name)
    if path is None:
        raise HandlerInvalid(f"{context.model_dir / name} is missing: package it with the model")
    return path


def settings(context: Context, name: str) -> Mapping[str, Any]:
    """Return the JSON object in the file ``name``, empty when there is no such file. Raises HandlerInvalid."""
    path = find(context, name)
    if path is None:
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise HandlerInvalid(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise HandlerInvalid(f"{name} must hold an object")
    return value


def types(path: Path) -> list[str]:
    """Return the types in a ``modules.json`` of sentence-transformers. Raises HandlerInvalid."""
    try:
        return [str(step["type"]) for step in json.loads(path.read_bytes())]
    except (ValueError, TypeError, KeyError) as error:
        raise HandlerInvalid(f"{path.name} is no list of steps with a type: {error!r}") from error
