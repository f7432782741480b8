"""Variant: one model file with what is known of it."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deployer.errors import InputError
from deployer.optimization.onnxfile import external_files
from inference_code.contract import ONNXRUNTIME


@dataclass(frozen=True)
class Variant:
    """One ONNX file. ``size_bytes`` includes external data; ``parent_sha256`` is what it was made from.

    ``score`` is the metric's value on the evaluation set, None before it was scored; ``engine`` is what ran it.
    """

    name: str
    path: Path
    precision: str
    size_bytes: int
    sha256: str
    parent_sha256: str | None = None
    score: float | None = None
    engine: str = ONNXRUNTIME

    def files(self) -> tuple[Path, ...]:
        """Return the model file and, where weights lie beside it, their files."""
        return (self.path, *external_files(self.path))

    def moved(self, path: Path) -> Variant:
        """Return the same variant at another path."""
        return replace(self, path=path)

    def scored(self, score: float) -> Variant:
        """Return the same variant with its score."""
        return replace(self, score=score)

    def to_json(self) -> dict[str, Any]:
        """Return the record; the path is the file's name only, so that records compare across folders."""
        return {
            "name": self.name,
            "file": self.path.name,
            "precision": self.precision,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "parent_sha256": self.parent_sha256,
            "score": self.score,
            "engine": self.engine,
        }


def describe(
    path: Path,
    name: str,
    precision: str,
    parent_sha256: str | None = None,
    engine: str = ONNXRUNTIME,
) -> Variant:
    """Return the Variant of a file and its external data. Raises InputError when one cannot be read."""
    digest = hashlib.sha256()
    size = 0
    for part in (path, *external_files(path)):
        try:
            with part.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
                    size += len(block)
        except OSError as error:
            raise InputError(f"cannot read {str(part)!r}: {error.strerror}") from error
    return Variant(name, path, precision, size, digest.hexdigest(), parent_sha256, engine=engine)


def adopt(model: Path, target: Path) -> Variant:
    """Copy the user's FP32 model, and its external data under their own names, to ``target``'s folder."""
    for part in external_files(model):
        shutil.copyfile(part, target.with_name(part.name))
    shutil.copyfile(model, target)
    return describe(target, "fp32", "fp32")
