"""Teach a small student the answers of a larger teacher, on the rows that you give."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from deployer.errors import InputError
from deployer.optimization.data import LABELS, labels
from deployer.optimization.session import Array, Arrays
from deployer.progress import Say

TEMPERATURE = 4.0
TEACHER_WEIGHT = 0.7
"""Share of the teacher's answers in the loss of a classifier; the labels have the rest."""


def distill(
    student: torch.nn.Module,
    teacher: torch.nn.Module,
    training: Arrays,
    *,
    epochs: int = 20,
    batch: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    progress: Say | None = None,
) -> torch.nn.Module:
    """Return a trained copy of ``student``; neither it nor the teacher is changed.

    ``training`` holds the inputs in the order in which both models take them, and ``label`` (whole numbers) for a
    classifier. With labels the loss follows the teacher's softened answers and the labels (Hinton et al. 2015),
    else it is the squared distance to the teacher's answers. Raises InputError when the two do not answer alike.
    """
    if epochs < 1 or batch < 1 or not learning_rate > 0:
        raise InputError("distill: epochs, batch and learning_rate must be positive")
    inputs = [torch.from_numpy(v) for name, v in training.items() if name not in LABELS]
    if not inputs or len(inputs[0]) == 0:
        raise InputError("distill: the training set has no rows")
    right = classes(labels(training, "training"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        target = _answers(teacher, inputs, batch)
        learner = copy.deepcopy(student).train()
        _check_alike(learner, inputs, target)
        optimizer = torch.optim.AdamW(learner.parameters(), lr=learning_rate)
        steps = epochs * -(-len(inputs[0]) // batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for epoch in range(1, epochs + 1):
            total = 0.0
            for rows in _shuffled(len(inputs[0]), batch):
                given = learner(*(value[rows] for value in inputs))
                lost = loss(given, target[rows], None if right is None else right[rows])
                optimizer.zero_grad()
                lost.backward()
                optimizer.step()
                schedule.step()
                total += lost.item() * len(rows)
            if progress:
                progress(f"epoch {epoch} of {epochs}: loss {total / len(inputs[0]):.4g}")
    return learner.eval()


def _answers(teacher: torch.nn.Module, inputs: list[Any], batch: int) -> Any:
    was_training = teacher.training
    teacher.eval()
    try:
        with torch.no_grad():
            chunks = zip(*(value.split(batch) for value in inputs), strict=True)
            return torch.cat([teacher(*chunk) for chunk in chunks])
    finally:
        teacher.train(was_training)


def _check_alike(student: torch.nn.Module, inputs: list[Any], target: Any) -> None:
    student.eval()
    with torch.no_grad():
        given = student(*(value[:2] for value in inputs))
    student.train()
    if given.shape[1:] != target.shape[1:]:
        raise InputError(
            f"the student answers with {tuple(given.shape[1:])} per row, the teacher with {tuple(target.shape[1:])}"
        )


def _shuffled(count: int, batch: int) -> Iterator[Any]:
    yield from torch.randperm(count).split(batch)


def loss(given: Any, target: Any, right: Any | None) -> Any:
    """Return the loss of a learner: by the teacher's softened answers and the labels, or without labels by squares."""
    if right is None:
        return functional.mse_loss(given, target)
    soft = functional.kl_div(
        functional.log_softmax(given / TEMPERATURE, dim=1),
        functional.log_softmax(target / TEMPERATURE, dim=1),
        log_target=True,
        reduction="batchmean",
    )
    hard = functional.cross_entropy(given, right)
    # The gradient of the softened part shrinks with the square of the temperature.
    return TEACHER_WEIGHT * TEMPERATURE**2 * soft + (1 - TEACHER_WEIGHT) * hard


def classes(right: Array | None) -> Any | None:
    """Return whole numbers as a tensor of classes, None for anything else."""
    if right is None or right.dtype.kind not in "iu":
        return None
    return torch.from_numpy(right.astype(np.int64))
