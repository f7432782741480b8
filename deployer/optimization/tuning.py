"""Quantization-aware training as a piece of a climb: where it runs, what it leaves, why it cannot be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from deployer.optimization import answers, context, data, sources
from deployer.optimization.isolation import Lost
from deployer.optimization.judge import Judge
from deployer.optimization.report import RungResult
from deployer.optimization.resume import Finished
from deployer.optimization.session import Array, Arrays
from deployer.optimization.tuned import NAME, rung
from deployer.optimization.tuner import ROWS, tuned
from deployer.progress import Say


@dataclass(frozen=True)
class Tuning:
    """What a model is tuned from: as ``optimize`` was given it, and rows with ``label`` or ``target`` where known."""

    model: sources.Model
    training: Arrays


def tune(judge: Judge, tuning: Tuning, reduce_range: bool, say: Say) -> RungResult:
    """Return the rung of the tuned model, through the accuracy gate against the model that was given.

    A model that can be named is tuned in a process of its own, a module in this one.
    """
    blank = RungResult(NAME, "int8", "failed", "")
    if (reason := _not_open(tuning.model)) is not None:
        return replace(blank, reason=reason)
    known = {name: tuning.training[name] for name in judge.evaluation if name in tuning.training}
    say(f"{NAME}: tune the module while it is rounded, on {len(_first(known))} rows")
    if shared := data.shared_rows(known, judge.evaluation):
        say(f"  warning: {shared} evaluation rows are training rows too, which flatters the score")
    answer = _tuned(judge, tuning, say)
    if "failed" in answer:
        return replace(blank, reason=f"could not be tuned: {answer['failed']}")
    # It depends on rows that the key of a stopped climb does not know.
    alone = replace(judge, finished=Finished(judge.folder / "none"))
    return alone.score(rung(judge.folder, reduce_range=reduce_range), NAME)


def _tuned(judge: Judge, tuning: Tuning, say: Say) -> Mapping[str, Any]:
    held = context.load(judge.folder)
    names = (*held.calibration, *data.LABELS)
    training = {name: tuning.training[name] for name in names if name in tuning.training}
    if isinstance(tuning.model, torch.nn.Module):
        return tuned(
            tuning.model,
            training,
            held,
            judge.folder,
            seed=judge.seed,
            seconds=judge.isolation.seconds,
            progress=say,
        )
    answers.save(training, judge.folder / ROWS)
    try:
        answer: dict[str, Any] = judge.isolation.run(
            "tune",
            model=str(tuning.model),
            is_folder=isinstance(tuning.model, Path),
            seed=judge.seed,
            seconds=judge.isolation.seconds,
        )
    except Lost as lost:
        return {"failed": lost.told("while it was tuned")}
    return answer


def _not_open(model: sources.Model) -> str | None:
    """Return why there is nothing to train, None where there may be."""
    if isinstance(model, Path) and not model.is_dir():
        return f"QAT needs the torch module: {model.name} holds a fixed graph; name the module as module:function"
    return None


def _first(arrays: Arrays) -> Array:
    return next(iter(arrays.values()))
