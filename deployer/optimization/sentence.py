"""What sentence-transformers puts behind a model, read from ``modules.json``: pooling, dense layers, normalization."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from deployer.errors import InputError
from deployer.optimization.jsonfile import read, read_object

MODULES = "modules.json"
_MODES = ("cls", "max", "mean", "mean_sqrt_len")
"""In the order in which sentence-transformers joins them."""

_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
_ACTIVATIONS = {
    "Identity": torch.nn.Identity,
    "Tanh": torch.nn.Tanh,
    "ReLU": torch.nn.ReLU,
    "GELU": torch.nn.GELU,
    "Sigmoid": torch.nn.Sigmoid,
}


def chain(folder: Path) -> torch.nn.ModuleList:
    """Return what follows the model, each taking (value, mask). Raises InputError for a kind that is not known."""
    listed = read(folder / MODULES)
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise InputError(f"{folder.name}/{MODULES} holds no list of modules")
    known: dict[str, Callable[[Path], Any]] = {
        "Pooling": _Pooling,
        "Dense": _Dense,
        "Normalize": lambda _: _Normalize(),
    }
    parts = torch.nn.ModuleList()
    for place, item in enumerate(listed):
        kind = str(item.get("type", "")).rpartition(".")[2]
        if kind == "Transformer" and place == 0 and not item.get("path"):
            continue
        if kind not in known:
            raise InputError(
                f"{folder.name}/{MODULES}: {kind!r} at {item.get('path')!r} cannot be exported",
                hint=f"known: a Transformer in the folder itself, then {', '.join(known)}",
            )
        parts.append(known[kind](folder / (item.get("path") or f"1_{kind}")))
    return parts


class _Pooling(torch.nn.Module):  # type: ignore[misc]
    """One vector from those of all tokens: each mode's, joined."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.modes = _modes(folder / "config.json")

    def forward(self, value: Any, mask: Any) -> Any:
        real = mask.unsqueeze(-1).to(value.dtype)
        found = [getattr(self, f"_{mode}")(value, real) for mode in self.modes]
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)

    def _cls(self, value: Any, real: Any) -> Any:
        return value[:, 0]

    def _max(self, value: Any, real: Any) -> Any:
        return torch.where(real > 0, value, torch.finfo(value.dtype).min).amax(1)

    def _mean(self, value: Any, real: Any) -> Any:
        return (value * real).sum(1) / real.sum(1).clamp(min=1e-9)

    def _mean_sqrt_len(self, value: Any, real: Any) -> Any:
        return (value * real).sum(1) / real.sum(1).clamp(min=1e-9).sqrt()


class _Dense(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, folder: Path) -> None:
        super().__init__()
        config = read_object(folder / "config.json")
        name = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
        if name not in _ACTIVATIONS:
            raise InputError(f"{folder.name}: activation {name!r} cannot be exported")
        weights = _weights(folder / "model.safetensors")
        size = weights["linear.weight"].shape
        self.linear = torch.nn.Linear(size[1], size[0], bias="linear.bias" in weights)
        self.load_state_dict(weights)
        self.activation = _ACTIVATIONS[name]()

    def forward(self, value: Any, mask: Any) -> Any:
        return self.activation(self.linear(value))


class _Normalize(torch.nn.Module):  # type: ignore[misc]
    def forward(self, value: Any, mask: Any) -> Any:
        return functional.normalize(value, dim=1)


def _modes(path: Path) -> list[str]:
    config = read_object(path)
    # Old folders mark flags true, new ones name the modes.
    named = config.get("pooling_mode") or []
    names = named.split("+") if isinstance(named, str) else list(named)
    wanted = {*names, *(mode for mode, flag in _FLAGS.items() if config.get(flag))}
    if not wanted or wanted - set(_MODES):
        shown = ", ".join(map(repr, sorted(wanted - set(_MODES)))) or "no mode"
        raise InputError(
            f"{path.parent.name}/{path.name}: pooling by {shown} cannot be exported",
            hint=f"known: {', '.join(_MODES)}",
        )
    return [mode for mode in _MODES if mode in wanted]


def _weights(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    try:
        held: dict[str, Any] = load_file(str(path))
        return {
            name: held[name].float() for name in ("linear.weight", "linear.bias") if name in held
        }
    except Exception as error:  # safetensors has its own classes
        raise InputError(
            f"{path.parent.name} holds no {path.name} that can be read: {error}",
            hint="pickled weights are not read: save the folder with safetensors",
        ) from error
