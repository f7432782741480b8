"""A Hugging Face folder as a module whose first output is what serves: sentence vectors, logits or hidden states.

Only a local folder with safetensors weights is read; nothing is downloaded, and no code from the folder runs.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from deployer.errors import EnvironmentProblem, InputError

_POOLING = "1_Pooling/config.json"


def load(folder: Path) -> torch.nn.Module:
    """Return the model of ``folder`` taking ``input_ids`` and ``attention_mask``.

    A sentence-transformers folder (``modules.json``) gives one vector per text, pooled and normalised as it says;
    a model with a head gives its logits, any other its hidden states.
    Raises InputError for a folder that cannot be read, EnvironmentProblem without the transformers package.
    """
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise EnvironmentProblem(
            "a Hugging Face folder needs the transformers package", hint="pip install transformers"
        ) from error
    transformers.utils.logging.disable_progress_bar()
    config = _json(folder / "config.json")
    architecture = next(iter(config.get("architectures") or []), "")
    pooled = (folder / "modules.json").is_file()
    headed = "For" in architecture and not pooled
    kind = getattr(transformers, architecture, None) if headed else transformers.AutoModel
    if kind is None:
        raise InputError(f"{folder.name}: transformers has no {architecture!r}")
    try:
        model = kind.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            # The exporter and the integer rungs want the matrix products in the open.
            attn_implementation="eager",
            dtype=torch.float32,
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{str(folder)!r} cannot be loaded: {error}") from error
    modes = _pooling(folder) if pooled else None
    return _Encoder(model.eval(), modes, normalise=pooled and _normalises(folder))


class _Encoder(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, model: Any, pooling: str | None, *, normalise: bool) -> None:
        super().__init__()
        self.model = model
        self.pooling = pooling
        self.normalise = normalise

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        answer = self.model(input_ids=input_ids, attention_mask=attention_mask)
        value = answer[0]
        if self.pooling == "mean":
            mask = attention_mask.unsqueeze(-1).to(value.dtype)
            value = (value * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        elif self.pooling == "cls":
            value = value[:, 0]
        return functional.normalize(value, dim=1) if self.normalise else value


def _pooling(folder: Path) -> str:
    config = _json(folder / _POOLING)
    # Old folders mark one flag true, new ones name the mode.
    mode = config.get("pooling_mode")
    if config.get("pooling_mode_mean_tokens") or mode == "mean":
        return "mean"
    if config.get("pooling_mode_cls_token") or mode == "cls":
        return "cls"
    raise InputError(f"{folder.name}/{_POOLING}: only mean and cls pooling can be exported")


def _normalises(folder: Path) -> bool:
    modules = _json(folder / "modules.json")
    return any(str(item.get("type", "")).endswith("Normalize") for item in modules)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {str(path)!r}: {error}") from error
