"""Which imports of a handler something else than its own files brings."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Collection
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from inference_code.contract import HANDLER_PATH, SAMPLES_PATH, SERVING_CODE_PATH

SERVING_CODE = PurePosixPath(SERVING_CODE_PATH).name
#: A module of the handler may not be called so: in the bundle it would stand before these.
_SERVING = {
    *("numpy", "onnxruntime", "openvino", "httptools", "uvloop", "orjson", "uvicorn"),
    *(SERVING_CODE, PurePosixPath(HANDLER_PATH).stem, PurePosixPath(SAMPLES_PATH).name),
}
#: The serving code stands in for these.
_TOOLKITS = {"sagemaker_inference", "sagemaker_huggingface_inference_toolkit", "mms"}


def clash(name: str) -> str | None:
    """Return what a module of the handler called ``name`` would hide in a bundle, or None."""
    if name in sys.stdlib_module_names:
        return "a module of the standard library"
    return "a name that the serving code needs" if name in _SERVING else None


def is_serving_code(folder: Path) -> bool:
    """Return whether ``folder`` is the serving code itself, as in a clone of this project."""
    spec = importlib.util.find_spec(SERVING_CODE)
    places = (spec and spec.submodule_search_locations) or []
    return os.path.realpath(folder) in {os.path.realpath(place) for place in places}


class Provided:
    """What the standard library, the serving code, requirements and this installation bring."""

    def __init__(self, requirements: str, packaged: Collection[str] = ()) -> None:
        """Take the bundle's ``requirements``, and the modules that it holds already."""
        self._packaged = packaged
        self._names = {
            canonicalize_name(name) for line in requirements.splitlines() if (name := _name(line))
        }
        self._installed: dict[str, list[str]] | None = None

    def has(self, name: str) -> bool:
        """Return whether the import ``name`` comes from elsewhere, or may.

        It may where a requirement is not installed here, as nobody then knows what it brings.
        """
        if name in sys.stdlib_module_names or name in _SERVING | _TOOLKITS:
            return True
        if name in self._packaged or canonicalize_name(name) in self._names:
            return True
        others = self._names - _SERVING  # which are known to bring nothing else
        return name in self._here() or any(not _is_installed(package) for package in others)

    def is_installed(self, name: str) -> bool:
        """Return whether a package that is installed here brings the import ``name``."""
        return name in sys.stdlib_module_names or name in self._here()

    def _here(self) -> dict[str, list[str]]:
        if self._installed is None:  # reads the metadata of every package: only when asked
            self._installed = dict(metadata.packages_distributions())
        return self._installed


def _name(line: str) -> str | None:
    try:
        return Requirement(line.partition(" --hash=")[0]).name
    except InvalidRequirement:  # an index's address
        return None


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True
