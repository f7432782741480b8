"""What ``optimize`` is given, as the ONNX files that the ladder climbs from: the model and its smaller versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from deployer.errors import InputError
from deployer.optimization import data
from deployer.optimization.distill import distill
from deployer.optimization.estimators import is_estimator
from deployer.optimization.export import export, load
from deployer.optimization.imported import imported
from deployer.optimization.prune import prune
from deployer.optimization.session import Arrays, Session
from deployer.progress import Say

EXAMPLE_ROWS = 5
Model: TypeAlias = "torch.nn.Module | Path | str"
"""A module, a model file or Hugging Face folder, or ``module:function`` that returns a module."""


def is_onnx(model: Model) -> bool:
    """Whether a model is an ONNX file, which needs no export."""
    return isinstance(model, Path) and model.suffix.lower() == ".onnx"


def as_onnx(model: Model, calibration: Arrays, folder: Path, *, seed: int, say: Say) -> Path:
    """Return the ONNX file of ``model``: its own, or one exported into ``folder`` and checked on the first rows.

    Raises InputError for what cannot be read or exported, ConditionFailed when the export answers otherwise.
    """
    if isinstance(model, Path) and is_onnx(model):
        return model
    say("export to ONNX, checked against the source on calibration rows")
    return _export(resolve(model, "model", seed), calibration, folder / "exported.onnx")


def smaller(
    model: Model,
    fp32: Path,
    training: Arrays,
    folder: Path,
    *,
    remove: float | None,
    student: Model | None,
    seed: int,
    say: Say,
) -> dict[str, Path]:
    """Return ONNX files of the pruned model and of the taught student, whichever is asked for, by rung name.

    ``remove`` is the share of channels to take out; ``student`` an untrained or small module that learns the answers of
    ``fp32`` on the training rows (with ``label`` for a classifier). Raises InputError for a model that is no module.
    """
    known = Session(fp32).inputs
    rows = data.check(training, known, "training")
    right = {name: training[name] for name in data.LABELS if name in training}
    taught: dict[str, Path] = {}
    if remove is not None:
        say(f"prune {remove:.0%} of the channels, then tune")
        whole = trainable(resolve(model, "model", seed), "model")
        small = prune(whole, rows, remove=remove, training={**rows, **right}, seed=seed)
        taught["pruned"] = _export(small, rows, folder / "pruned.onnx")
    if student is not None:
        say("distil the student from the model's answers")
        learner = trainable(resolve(student, "student", seed), "student")
        made = distill(learner, _Teacher(fp32), {**rows, **right}, seed=seed, progress=say)
        taught["student"] = _export(made, rows, folder / "student.onnx")
    return taught


def resolve(model: Model, what: str, seed: int) -> Any:
    """Return the module or file that ``model`` names. Raises InputError when ``module:function`` gives no module."""
    if not isinstance(model, str):
        return model
    made = imported(model, what)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # a student begins at random
            made = made if isinstance(made, torch.nn.Module) or is_estimator(made) else made()
    except Exception as error:  # the user's own code
        raise InputError(f"{what} {model!r} raised {type(error).__name__}: {error}") from error
    if not isinstance(made, torch.nn.Module) and not (what == "model" and is_estimator(made)):
        raise InputError(f"{what} {model!r} gives a {type(made).__name__}, not a torch.nn.Module")
    return made


def trainable(model: Any, what: str) -> torch.nn.Module:
    """Return the module of what ``resolve`` gave. Raises InputError for a fixed graph."""
    found = load(model) if isinstance(model, Path) else model
    if isinstance(found, torch.nn.Module) and not isinstance(found, torch.jit.ScriptModule):
        return found
    raise InputError(
        f"the {what} must be open to training: {str(model)!r} holds a fixed graph",
        hint="name it as module:function, or give its Hugging Face folder",
    )


def _export(model: Any, rows: Arrays, path: Path) -> Path:
    example = {
        name: value[:EXAMPLE_ROWS] for name, value in rows.items() if name not in data.LABELS
    }
    return export(model, example, path).path


class _Teacher(torch.nn.Module):  # type: ignore[misc]
    """The FP32 model by its ONNX file: whatever it was written in, it can teach."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._session = Session(path)
        self._names = [spec.name for spec in self._session.inputs]

    def forward(self, *inputs: Any) -> Any:
        feeds = {n: np.asarray(v) for n, v in zip(self._names, inputs, strict=True)}
        return torch.from_numpy(self._session.outputs_for(feeds, len(inputs[0])))
