"""Remove whole channels, and with them their work: the model that comes out is smaller and dense.

torch-pruning follows which layers must lose a channel together (residual sums, batch norms, the next layer's
inputs); what is weakest by the norm of such a group goes first. A transformer loses whole attention heads and
inner feed-forward channels instead (``heads``).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch_pruning

from deployer.errors import InputError
from deployer.optimization import heads
from deployer.optimization.data import LABELS
from deployer.optimization.distill import distill
from deployer.optimization.session import Arrays
from deployer.progress import Say


def prune(
    model: torch.nn.Module,
    example: Arrays,
    *,
    remove: float,
    training: Arrays | None = None,
    epochs: int = 20,
    keep: Sequence[str] = (),
    seed: int = 0,
    progress: Say | None = None,
) -> torch.nn.Module:
    """Return a copy of ``model`` without the share ``remove`` (0 to 1) of each layer's channels, or heads.

    ``example`` holds real inputs in order. With ``training`` rows (and ``label`` for a classifier) the copy is tuned
    for ``epochs`` toward the answers of the whole model. The last layer keeps its channels; ``keep`` names further
    modules to leave alone. Raises InputError for a share outside 0..1, an unknown name, or a changed answer shape.
    """
    if not 0 < remove < 1:
        raise InputError(f"prune: remove must lie between 0 and 1, not {remove!r}")
    whole = copy.deepcopy(model).eval()
    inputs = tuple(torch.from_numpy(v[:2]) for name, v in example.items() if name not in LABELS)
    modules = dict(whole.named_modules())
    for name in keep:
        if name not in modules:
            raise InputError(f"prune: no module {name!r}", hint=f"known: {', '.join(modules)}")
    if found := [group for group in heads.groups(whole, inputs) if not group.touches(keep)]:
        small = heads.cut(whole, inputs, found, remove=remove)
    else:
        small = _without_channels(whole, inputs, remove, [modules[name] for name in keep])
    if training is None:
        return small
    return distill(small, model, training, epochs=epochs, seed=seed, progress=progress)


def _without_channels(
    small: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
    remove: float,
    keep: list[torch.nn.Module],
) -> torch.nn.Module:
    with torch.no_grad():
        before = small(*inputs).shape
    ignored = [_last_layer(small, inputs), *keep]
    try:
        torch_pruning.pruner.BasePruner(
            small,
            inputs,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=remove,
            ignored_layers=ignored,
        ).step()
        with torch.no_grad():
            after = small(*inputs).shape
    except Exception as error:  # what torch-pruning cannot follow ends in errors of any kind
        raise InputError(
            f"this model's channels cannot be cut: {type(error).__name__}: {error}",
            hint="name in keep= what must stay whole, or cut it by its own means and give it as an alternative",
        ) from error
    if after != before:
        raise InputError(
            f"pruning changed the answer's shape from {tuple(before)} to {tuple(after)}",
            hint="name the layers that make the answer in keep=",
        )
    for parameter in small.parameters():
        parameter.grad = None
    return small


def _last_layer(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.nn.Module:
    """Return the layer with weights that runs last."""
    ran: list[torch.nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda layer, given, answer: ran.append(layer))
        for module in model.modules()
        if not list(module.children()) and list(module.parameters(recurse=False))
    ]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not ran:
        raise InputError("prune: the model has no layer with weights")
    return ran[-1]
