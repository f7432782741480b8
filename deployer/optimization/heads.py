"""Cut whole attention heads, and inner channels of feed-forward layers, out of a transformer.

The widths between blocks stay, so that residual sums and norms are left alone. What a head or a channel adds to its
block's answer passes through columns of one matrix: with those columns at zero the whole model answers as the cut one
must, which is checked on real inputs.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from deployer.errors import InputError

_PROJECTIONS = (
    ("query", "key", "value"),
    ("q_proj", "k_proj", "v_proj"),
    ("q_lin", "k_lin", "v_lin"),
)
_HEAD_SIZES = ("attention_head_size", "head_dim", "head_size")
_COUNTS = ("num_attention_heads", "num_heads", "n_heads")
_WIDTHS = ("all_head_size", "dim")
_TOLERANCE = 1e-4
_HINT = "cut it by its own means and give it as an alternative"


@dataclass(frozen=True)
class Group:
    """Units of ``size`` neighbouring channels: made by the rows of ``makers``, read by columns of ``reader`` alone."""

    makers: tuple[str, ...]
    reader: str
    size: int
    attention: str | None = None

    def touches(self, names: Sequence[str]) -> bool:
        """Say whether one of the named modules, or what is in it, would lose channels."""
        own = (*self.makers, self.reader)
        return any(mine == name or mine.startswith(f"{name}.") for mine in own for name in names)


def groups(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[Group, ...]:
    """Return the heads and the feed-forward channels that can be cut; nothing for a model without attention layers."""
    order = _run_order(model, inputs)
    heads = [_heads(name, module, order) for name, module in model.named_modules()]
    found = [group for group in heads if group]
    if not found:
        return ()
    taken = {name for group in found for name in (*group.makers, group.reader)}
    return (*found, *_feed_forward(model, [name for name in order if name not in taken]))


def cut(
    model: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
    found: Sequence[Group],
    *,
    remove: float,
) -> torch.nn.Module:
    """Return a copy of ``model`` without the share ``remove`` of each group, the weakest by norm; one is always left.

    Raises InputError where the copy does not answer as the whole model with the same channels silenced.
    """
    small, silenced = copy.deepcopy(model).eval(), copy.deepcopy(model).eval()
    for group in found:
        kept = _strongest(model, group, remove)
        _silence(silenced, group, kept)
        _keep(small, group, kept)
    try:
        with torch.no_grad():
            wanted, given = _first(silenced(*inputs)), _first(small(*inputs))
    except RuntimeError as error:  # torch's word for shapes that do not fit
        raise InputError(f"the heads of this model cannot be cut: {error}", hint=_HINT) from error
    if not torch.allclose(given, wanted, atol=_TOLERANCE, rtol=_TOLERANCE):
        gap = float((given - wanted).abs().max())
        raise InputError(
            f"the heads of this model cannot be cut: its answer would be off by {gap:.3g}",
            hint=_HINT,
        )
    return small


def _run_order(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> list[str]:
    """Return the names of the linear layers as they run."""
    ran: list[str] = []
    hooks = [
        module.register_forward_hook(lambda layer, given, answer, name=name: ran.append(name))
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return ran


def _heads(name: str, module: torch.nn.Module, order: list[str]) -> Group | None:
    children = dict(module.named_children())
    names = next((n for n in _PROJECTIONS if set(n) <= set(children)), None)
    if names is None or not all(isinstance(children[n], torch.nn.Linear) for n in names):
        return None
    makers = tuple(f"{name}.{n}" for n in names)
    widths = {children[n].out_features for n in names}
    size = next((int(getattr(module, key)) for key in _HEAD_SIZES if hasattr(module, key)), None)
    if size is None or len(widths) != 1 or any(order.count(maker) != 1 for maker in makers):
        return None  # keys shared between heads, or layers between passes
    after = order[max(order.index(maker) for maker in makers) + 1 :]
    return Group(makers, after[0], size, name) if after else None


def _feed_forward(model: torch.nn.Module, order: list[str]) -> Iterator[Group]:
    """Yield the pairs of layers that widen and narrow again; a gate beside the first one loses the same channels."""
    layers = dict(model.named_modules())
    for place, (first, second) in enumerate(itertools.pairwise(order)):
        wide, back = layers[first], layers[second]
        once = order.count(first) == order.count(second) == 1
        if once and wide.in_features < wide.out_features == back.in_features:
            gate = order[place - 1] if place else None
            gated = gate is not None and layers[gate].weight.shape == wide.weight.shape
            yield Group((str(gate), first) if gated else (first,), second, 1)


def _strongest(model: torch.nn.Module, group: Group, remove: float) -> torch.Tensor:
    """Return the channels to keep, in order: whole units, the largest by the norm of all that they read and feed."""
    layers = dict(model.named_modules())
    with torch.no_grad():
        squares = layers[group.reader].weight.square().sum(0)
        squares = squares + sum(layers[name].weight.square().sum(1) for name in group.makers)
        units = squares.reshape(-1, group.size).sum(1)
    count = max(1, round(len(units) * (1 - remove)))
    chosen = units.topk(count).indices.sort().values
    return (chosen[:, None] * group.size + torch.arange(group.size)).flatten()


def _silence(model: torch.nn.Module, group: Group, kept: torch.Tensor) -> None:
    weight = model.get_submodule(group.reader).weight
    mask = torch.zeros(weight.shape[1])
    mask[kept] = 1
    weight.data *= mask


def _keep(model: torch.nn.Module, group: Group, kept: torch.Tensor) -> None:
    for name in group.makers:
        layer = model.get_submodule(name)
        layer.weight = torch.nn.Parameter(layer.weight.data[kept].clone())
        if layer.bias is not None:
            layer.bias = torch.nn.Parameter(layer.bias.data[kept].clone())
        layer.out_features = len(kept)
    reader = model.get_submodule(group.reader)
    reader.weight = torch.nn.Parameter(reader.weight.data[:, kept].clone())
    reader.in_features = len(kept)
    if group.attention is not None:
        module: Any = model.get_submodule(group.attention)
        for keys, value in ((_COUNTS, len(kept) // group.size), (_WIDTHS, len(kept))):
            for key in keys:
                if hasattr(module, key):
                    setattr(module, key, value)


def _first(answer: Any) -> torch.Tensor:
    while not isinstance(answer, torch.Tensor):
        answer = next(iter(answer.values() if isinstance(answer, dict) else answer))
    return answer
