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
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def load(folder: Path) -> torch.nn.Module:
    """Return the model of ``folder`` taking ``input_ids`` and ``attention_mask``.

    A sentence-transformers folder (``modules.json``) gives one vector per text, pooled and normalised as it says;
    a model with a head gives its logits, any other its hidden states.
    Raises InputError for a folder that cannot be read, EnvironmentProblem without the transformers package.
    """
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{str(folder)!r} is no Hugging Face folder: it has no config.json",
            hint="a model file is named by itself; a folder is what save_pretrained writes",
        )
    config = _object(folder / "config.json")
    architecture = str(next(iter(config.get("architectures") or []), ""))
    pooled = (folder / "modules.json").is_file()
    modes = _pooling(folder) if pooled else None
    normalise = pooled and _normalises(folder)
    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise InputError(
            f"{str(folder)!r} holds no safetensors weights: neither {' nor '.join(_WEIGHTS)}",
            hint="pickled weights are not read: model.save_pretrained(folder) writes safetensors",
        )
    transformers = _package()
    headed = "For" in architecture and not pooled
    kind = getattr(transformers, architecture, None) if headed else transformers.AutoModel
    if kind is None:
        raise InputError(f"{folder.name}: transformers has no {architecture!r}")
    return _lighter(_Encoder(_weighted(kind, folder).eval(), modes, normalise=normalise))


def _lighter(encoder: _Encoder) -> _Encoder:
    """Return ``encoder`` with its mask made in two steps, where that gives the same answers to padded texts.

    What transformers makes of a mask takes forty operators, a twentieth of a small encoder's time for a short text.
    A decoder, which hides later tokens as well, answers otherwise and stays as it is.
    """
    # As short as can tell a decoder from an encoder; each token is another one, in every row.
    example = torch.arange(1, 9).reshape(2, 4), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    light = _Encoder(encoder.model, encoder.pooling, normalise=encoder.normalise, light=True).eval()
    try:
        with torch.no_grad():
            wanted, given = encoder(*example), light(*example)
    except (
        Exception
    ):  # a model that takes no such mask, or no such tokens: each has its own way to say so
        return encoder
    if wanted.shape != given.shape:
        return encoder
    seen = example[1].bool() if wanted.shape[:2] == example[1].shape else slice(None)
    return light if torch.allclose(wanted[seen], given[seen], rtol=1e-5, atol=1e-6) else encoder


def _package() -> Any:
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise EnvironmentProblem(
            "a Hugging Face folder needs the transformers package", hint="pip install transformers"
        ) from error
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return transformers


def _weighted(kind: Any, folder: Path) -> Any:
    """Return the model with the folder's weights; one that the folder lacks would be random, and is an error."""
    try:
        model, loaded = kind.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            # The exporter and the integer rungs want the matrix products in the open.
            attn_implementation="eager",
            dtype=torch.float32,
        )
    except (
        Exception
    ) as error:  # transformers and safetensors have no common base for what they raise
        line = str(error).strip().splitlines() or [""]
        raise InputError(
            f"{str(folder)!r} cannot be loaded: {type(error).__name__}: {line[0]}"
        ) from error
    # The pooler of a model without a head is not part of the answer.
    lacking = sorted(name for name in loaded["missing_keys"] if not name.startswith("pooler."))
    if lacking:
        raise InputError(
            f"{str(folder)!r} lacks {len(lacking)} of the weights that {type(model).__name__} needs: "
            f"{', '.join(lacking[:3])}",
            hint="'architectures' in config.json must name the class that was saved",
        )
    return model


class _Encoder(torch.nn.Module):  # type: ignore[misc]
    def __init__(
        self, model: Any, pooling: str | None, *, normalise: bool, light: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.pooling = pooling
        self.normalise = normalise
        self.light = light

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        hidden = _hidden(attention_mask) if self.light else attention_mask
        answer = self.model(input_ids=input_ids, attention_mask=hidden)
        value = answer[0]
        if self.pooling == "mean":
            mask = attention_mask.unsqueeze(-1).to(value.dtype)
            value = (value * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        elif self.pooling == "cls":
            value = value[:, 0]
        return functional.normalize(value, dim=1) if self.normalise else value


def _hidden(attention_mask: Any) -> Any:
    """Return what is added to the scores of attention: 0 for a token, the lowest number for padding."""
    padding = 1 - attention_mask[:, None, None, :].to(torch.float32)
    return padding * torch.finfo(torch.float32).min


def _pooling(folder: Path) -> str:
    config = _object(folder / _POOLING)
    # Old folders mark one flag true, new ones name the mode.
    mode = config.get("pooling_mode")
    if config.get("pooling_mode_mean_tokens") or mode == "mean":
        return "mean"
    if config.get("pooling_mode_cls_token") or mode == "cls":
        return "cls"
    raise InputError(f"{folder.name}/{_POOLING}: only mean and cls pooling can be exported")


def _normalises(folder: Path) -> bool:
    modules = _json(folder / "modules.json")
    if not isinstance(modules, list) or not all(isinstance(item, dict) for item in modules):
        raise InputError(f"{folder.name}/modules.json holds no list of modules")
    return any(str(item.get("type", "")).endswith("Normalize") for item in modules)


def _object(path: Path) -> dict[str, Any]:
    value = _json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path.parent.name}/{path.name} holds no object")
    return value


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {str(path)!r}: {error}") from error
