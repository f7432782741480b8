"""Quantization-aware training: a copy of a module learns weights that keep their meaning when they are rounded.

While it learns, weights are rounded by output channel and the inputs of layers by one range each, as the int8 kernels
will have it; gradients pass the rounding as if it were not there. Source: Jacob et al. 2018, "Quantization and Training
of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 3. torch.ao.quantization, which did
this, is to be removed from torch.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils import parametrize

from deployer.errors import InputError
from deployer.optimization import distill, program
from deployer.optimization.data import LABELS
from deployer.optimization.session import Arrays
from deployer.progress import Say

EPOCHS = 20
BATCH = 32
LEARNING_RATE = 1e-3

SMALL = 2**20
"""Weights, below which one thread trains."""

_LEVELS = 255
_LAYERS = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)


class TooSlow(Exception):
    """The time was over before the training was."""


def tune(
    module: torch.nn.Module,
    training: Arrays,
    calibration: Arrays,
    *,
    reduce_range: bool,
    seconds: float,
    epochs: int = EPOCHS,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
    progress: Say | None = None,
) -> torch.nn.Module:
    """Return a tuned copy of ``module``, in float; the module itself is not changed.

    ``training`` holds the inputs, and ``label`` (whole numbers: the labels and the module's own softened answers are
    learnt) or ``target`` (learnt by squared distance); without either the module's own answers are. The activations'
    ranges are taken anew from ``calibration`` before each epoch. Raises InputError for a module without layers to
    round, and TooSlow after ``seconds``.
    """
    end = time.monotonic() + seconds
    names = program.ordered(module, {k: v for k, v in training.items() if k not in LABELS})
    inputs, known = (
        [torch.from_numpy(x[name].copy()) for name in names] for x in (training, calibration)
    )
    with torch.random.fork_rng(devices=[]), _plain_attention(), _threads_for(module):
        torch.manual_seed(seed)
        learner = copy.deepcopy(module).eval()  # no dropout, and the statistics of batches stay
        rounding = _Rounding(learner, 63 if reduce_range else 127)
        loss = _Loss(module, inputs, training)
        optimizer = torch.optim.Adam(learner.parameters(), lr=learning_rate)
        steps = epochs * -(-len(inputs[0]) // BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for epoch in range(1, epochs + 1):
            rounding.observe(learner, known)
            total = 0.0
            for rows in torch.randperm(len(inputs[0])).split(BATCH):
                if time.monotonic() > end:
                    raise TooSlow(f"stopped after {seconds:.4g} s, in epoch {epoch} of {epochs}")
                value = loss(first(learner(*(x[rows] for x in inputs))), rows)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()
                total += value.item() * len(rows)
            if progress:
                progress(f"  epoch {epoch} of {epochs}: loss {total / len(inputs[0]):.4g}")
        rounding.remove()
    return learner.requires_grad_(False)


def first(answer: Any) -> Any:
    """Return the first tensor of what a module answers, which is the one that is taught."""
    leaves = [leaf for leaf in torch.utils._pytree.tree_leaves(answer) if torch.is_tensor(leaf)]
    if not leaves:
        raise InputError("the module answers without a tensor")
    return leaves[0]


class _Loss:
    """What the learner is taught: labels and the module's answers, targets, or the answers alone."""

    def __init__(self, module: torch.nn.Module, inputs: Sequence[Any], training: Arrays) -> None:
        self._right = distill.classes(training.get("label"))
        numbers = training.get("target", training.get("label"))
        self._target = _answers(module, inputs)
        if self._right is not None:
            _check_classes(int(self._right.max()), self._target)
        elif numbers is not None:
            if numbers.size != self._target.numel():
                wanted, given = tuple(self._target.shape), numbers.shape
                raise InputError(
                    f"training: the module answers with {wanted}, the targets are {given}"
                )
            self._target = torch.from_numpy(numbers.astype(np.float32))

    def __call__(self, given: Any, rows: Any) -> Any:
        target = self._target[rows]
        if self._right is None:
            return functional.mse_loss(given, target.reshape(given.shape))
        return distill.loss(given, target, self._right[rows])


def _check_classes(largest: int, answers: Any) -> None:
    if answers.ndim < 2 or largest >= answers.shape[1]:
        count = answers.shape[1] if answers.ndim > 1 else 1
        raise InputError(f"training: label {largest} is none of the module's {count} classes")


def _answers(module: torch.nn.Module, inputs: Sequence[Any]) -> Any:
    """Return the first output of a module for all rows."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            chunks = zip(*(value.split(BATCH) for value in inputs), strict=True)
            return torch.cat([first(module(*chunk)) for chunk in chunks])
    finally:
        module.train(was_training)


class _Rounding:
    """The rounding of a module's layers, which can be off while ranges are taken, and goes without a trace."""

    def __init__(self, module: torch.nn.Module, steps: int) -> None:
        self.on = True
        self._layers = [item for item in module.modules() if isinstance(item, _LAYERS)]
        if not self._layers:
            raise InputError("the module has no Linear or Conv layer to round")
        self._ranges = {id(layer): [0.0, 0.0] for layer in self._layers}
        self._hooks = [layer.register_forward_pre_hook(self._input) for layer in self._layers]
        for layer in self._layers:
            parametrize.register_parametrization(layer, "weight", _Weight(self, steps), unsafe=True)

    def observe(self, module: torch.nn.Module, inputs: Sequence[Any]) -> None:
        """Take the ranges of the layers' inputs, in float."""
        self._ranges = {id(layer): [0.0, 0.0] for layer in self._layers}
        self.on = False
        with torch.no_grad():
            for chunk in zip(*(value.split(BATCH) for value in inputs), strict=True):
                module(*chunk)
        self.on = True

    def remove(self) -> None:
        """Leave the module as it was, with the weights that it has learnt."""
        for hook in self._hooks:
            hook.remove()
        for layer in self._layers:
            chain = layer.parametrizations["weight"]
            if len(chain) == 1:
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
            else:  # it had one of its own before ours
                del chain[-1]

    def _input(self, layer: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not torch.is_floating_point(given[0]):
            return None
        ends = self._ranges[id(layer)]
        if not self.on:
            ends[0] = min(ends[0], float(given[0].min()))
            ends[1] = max(ends[1], float(given[0].max()))
            return None
        step = (ends[1] - ends[0]) / _LEVELS
        if step <= 0:
            return None
        zero = round(-ends[0] / step)
        rounded = torch.fake_quantize_per_tensor_affine(given[0], step, zero, 0, _LEVELS)
        return (rounded, *given[1:])


class _Weight(torch.nn.Module):  # type: ignore[misc]
    """Rounds a weight by its output channels."""

    def __init__(self, rounding: _Rounding, steps: int) -> None:
        super().__init__()
        self._rounding, self._steps = rounding, steps

    def forward(self, weight: Any) -> Any:
        """Return it rounded, or as it is while ranges are taken."""
        if not self._rounding.on:
            return weight
        largest = weight.detach().flatten(1).abs().amax(dim=1)
        scale = (largest / self._steps).clamp_min(torch.finfo(torch.float32).tiny)
        zeros = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(
            weight, scale, zeros, 0, -self._steps, self._steps
        )


@contextmanager
def _threads_for(module: torch.nn.Module) -> Iterator[None]:
    """Small modules lose more to threads that wait for one another than they gain."""
    before = torch.get_num_threads()
    if sum(value.numel() for value in module.parameters()) < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention's fast path passes by the hooks."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
