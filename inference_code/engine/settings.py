"""What a model folder says about how to serve it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inference_code.contract import (
    CONTENT_TYPES,
    MANIFEST_PATH,
    MULTI_MODEL_ENV,
    SAMPLES_PATH,
    ContractError,
    Manifest,
    ServingConfig,
)
from inference_code.errors import StartupError


@dataclass(frozen=True)
class Sample:
    """One request of ``code/samples``, for warm-up, checks and timing."""

    name: str
    content_type: str
    body: bytes


@dataclass(frozen=True)
class CacheLimits:
    """How much the answer cache may hold, and for how long; 0 bytes means no cache."""

    max_bytes: int = 0
    ttl_s: float = 60.0


@dataclass(frozen=True)
class Settings:
    """A model folder, read. ``manifest`` is None for a plain SageMaker folder, which is served too."""

    model_dir: Path
    serving: ServingConfig
    manifest: Manifest | None
    samples: tuple[Sample, ...]
    cache: CacheLimits = CacheLimits()

    @property
    def name(self) -> str:
        """The bundle's name, or the folder's."""
        return self.manifest.name if self.manifest else self.model_dir.name

    @property
    def model(self) -> Path | None:
        """The model file that the manifest names."""
        return self.model_dir / self.manifest.model if self.manifest else None


def serves_many() -> bool:
    """Return whether the environment asks for multi-model mode."""
    return os.environ.get(MULTI_MODEL_ENV, "").lower() == "true"


def read_settings(
    model_dir: Path,
    overrides: Mapping[str, Any] | None = None,
    cache: CacheLimits | None = None,
    *,
    required: bool = True,
) -> Settings:
    """Read ``model_dir``; ``overrides`` replace fields of ``manifest.serving``.

    Raises StartupError when the folder, its manifest or an override is wrong, or the folder is missing
    though ``required``.
    """
    model_dir = model_dir.resolve()
    if required and not model_dir.is_dir():
        raise StartupError(
            f"model folder {str(model_dir)!r} does not exist; name it by --model-dir"
        )
    try:
        manifest = _manifest(model_dir)
        serving = manifest.serving if manifest else ServingConfig()
        serving = replace(serving, **dict(overrides or {}))
    except ContractError as error:
        raise StartupError(f"{model_dir}: {error}") from error
    if manifest and not (model_dir / manifest.model).exists():  # a file, or "." for the folder
        raise StartupError(
            f"{model_dir} lacks {manifest.model!r}, which its manifest names as model"
        )
    return Settings(model_dir, serving, manifest, _samples(model_dir), cache or CacheLimits())


def _manifest(model_dir: Path) -> Manifest | None:
    path = model_dir / MANIFEST_PATH
    return Manifest.from_json(path.read_bytes()) if path.is_file() else None


def _samples(model_dir: Path) -> tuple[Sample, ...]:
    folder = model_dir / SAMPLES_PATH
    if not folder.is_dir():
        return ()
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix not in CONTENT_TYPES:
            known = ", ".join(sorted(CONTENT_TYPES))
            raise StartupError(f"sample {path.name!r} ends in none of {known}")
        found.append(Sample(path.name, CONTENT_TYPES[path.suffix], path.read_bytes()))
    return tuple(found)
