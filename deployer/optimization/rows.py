"""The rows of a climb: those that were given, and what stands in for those that were not, under stricter rules.

Without labels nobody can say how many answers an error changes, so that a rung is judged by its fidelity to FP32 and
may lose less of it. Made rows show no range of real activations, so that none of them may fix a scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deployer.errors import InputError
from deployer.optimization import data, device, metrics
from deployer.optimization.isolation import Isolation, Lost
from deployer.optimization.metrics import Metric
from deployer.optimization.quantize import Rung
from deployer.optimization.report import RungResult
from deployer.optimization.session import Arrays
from deployer.optimization.synthetic import Shapes
from inference_code.contract import TensorSpec

GIVEN, CALIBRATION, SYNTHETIC = "given", "calibration", "synthetic"
"""What a climb judges by: an evaluation set, calibration rows that were held out, or made rows."""

FIDELITY = "fidelity"
"""The metric without labels."""

MAX_DROP: Mapping[str, float] = {GIVEN: 0.01, CALIBRATION: 0.005, SYNTHETIC: 0.002}
MAX_ERROR: Mapping[str, float] = {GIVEN: 0.2, CALIBRATION: 0.2, SYNTHETIC: 0.15}
"""What a metric may drop by unless told otherwise, and fidelity. Beside labels an output that they do not see may be
off by 0.4 of its spread (``second.LIMITS``). Alone, where nobody sees which errors change an answer, it is half of
that: noise of 4% of the variance. On made rows it stands between what was right there (int8-weights of MiniLM 0.11,
dynamic int8 of the digits CNN 0.09) and what was wrong (dynamic int8 of MiniLM 0.35)."""

MOST_TAKEN = 256
"""Evaluation rows that calibrate where no others were given, and half of all at most."""


@dataclass(frozen=True)
class Rows:
    """What a climb calibrates and judges by. ``judged_by`` says it in a sentence's words, ``told`` how it came."""

    calibration: Arrays
    evaluation: Arrays
    metric: Metric
    max_drop: float
    kind: str
    judged_by: str
    told: tuple[str, ...]

    def refused(self, rung: Rung) -> RungResult | None:
        """Return the row of a rung that these rows cannot make, None for all others."""
        fixes_scales = rung.precision.split("+")[0] == "int8" and not rung.dynamic_scales
        if self.kind != SYNTHETIC or not fixes_scales:
            return None
        why = "made rows show no range of real activations: fixed scales need --calibration"
        return RungResult(rung.name, rung.precision, "refused", why)

    @property
    def judging(self) -> dict[str, Any]:
        """What ``baseline.begun`` takes of them."""
        sets = {"calibration": self.calibration, "evaluation": self.evaluation}
        return {**sets, "metric": self.metric, "max_drop": self.max_drop}

    @property
    def caveat(self) -> str:
        """What the conclusion must say; empty where an evaluation set was given."""
        return "" if self.kind == GIVEN else f"; judged by {self.judged_by}"


@dataclass(frozen=True)
class Asked:
    """What the user asked for. None: accuracy where there is an evaluation set, else fidelity; the drop of MAX_DROP."""

    metric: str | None = None
    max_drop: float | None = None
    shapes: Shapes | None = None
    seed: int = 0


def chosen(
    isolation: Isolation,
    model: Path,
    calibration: Arrays | None,
    evaluation: Arrays | None,
    asked: Asked,
) -> Rows:
    """Return the rows of a climb over ``model``; half of one given set stands in for the other one.

    Raises InputError for wrong rows, for a metric that needs labels where there are none, and for a model
    that no row can be made for.
    """
    kind = (
        GIVEN if evaluation is not None else CALIBRATION if calibration is not None else SYNTHETIC
    )
    found = metrics.resolve(asked.metric or ("accuracy" if kind == GIVEN else FIDELITY))
    if found.needs_labels and kind != GIVEN:
        raise InputError(
            f"the metric {found.name} needs labels, and there is no evaluation set",
            hint="give one: --eval FILE.npz with `label`; or leave --metric out: fidelity to FP32 needs none",
        )
    if asked.shapes and kind != SYNTHETIC:
        raise InputError(
            "--shape is for rows that are made, and rows were given", hint="leave it out"
        )
    told: list[str] = []
    if evaluation is None and calibration is None:
        made = _made(isolation, model, asked.shapes or {}, asked.seed)
        calibration, evaluation = made.calibration, made.evaluation
        told += made.told
    elif evaluation is None:
        data.check(calibration or {}, _inputs(isolation, model), "calibration")
        calibration, evaluation = _halves(calibration or {}, asked.seed)
        told.append(f"{_count(evaluation)} of the calibration rows judge, the others calibrate")
    elif calibration is None:
        data.check(evaluation, _inputs(isolation, model), "evaluation")
        evaluation, calibration = _halves(evaluation, asked.seed, MOST_TAKEN)
        calibration = {n: v for n, v in calibration.items() if not data.is_label(n)}
        told.append(f"{_count(calibration)} of the evaluation rows calibrate, the others judge")
    by = "fidelity to FP32" if found.name == FIDELITY else found.name
    judged_by = f"{by} on {_count(evaluation)} {_KINDS[kind]} rows"
    usual = (MAX_ERROR if found.name == FIDELITY else MAX_DROP)[kind]
    drop = usual if asked.max_drop is None else asked.max_drop
    if kind != GIVEN:
        told.append(f"no labels: judged by {judged_by}, which may drop by {drop:g}")
    return Rows(calibration, evaluation, found, drop, kind, judged_by, tuple(told))


_KINDS = {GIVEN: "given", CALIBRATION: "held-out calibration", SYNTHETIC: "synthetic"}


@dataclass(frozen=True)
class _Made:
    calibration: Arrays
    evaluation: Arrays
    told: list[str]


def _made(isolation: Isolation, model: Path, shapes: Shapes, seed: int) -> _Made:
    sizes = {name: list(shape) for name, shape in shapes.items()}
    try:
        answer: dict[str, Any] = isolation.run(
            "synthesize", model=str(model), shapes=sizes, seed=seed
        )
    except Lost as lost:
        why = lost.told("while it was asked made rows")
        raise InputError(f"{model.name}: {why}", hint="give rows: --calibration FILE.npz") from lost
    calibration, evaluation = device.loaded(isolation.folder / answer["file"])
    return _Made(calibration, evaluation, answer["told"])


def _inputs(isolation: Isolation, model: Path) -> list[TensorSpec]:
    try:
        found = isolation.run("open", model=str(model))
    except Lost as lost:
        why = lost.told("while it was opened")
        raise InputError(f"ONNX Runtime cannot open {str(model)!r}: {why}") from lost
    return [TensorSpec(x["name"], x["dtype"], tuple(x["shape"])) for x in found["inputs"]]


def _halves(arrays: Arrays, seed: int, most: int | None = None) -> tuple[Arrays, Arrays]:
    """Return the rows in two sets without one in both; the second has half of them, ``most`` at most."""
    count = _count(arrays)
    order = np.random.default_rng(seed).permutation(count)
    taken = min(count // 2, most or count)
    if not taken:
        raise InputError(f"{count} row cannot both calibrate and judge", hint="give more rows")
    first, second = np.sort(order[taken:]), np.sort(order[:taken])
    return ({n: v[first] for n, v in arrays.items()}, {n: v[second] for n, v in arrays.items()})


def _count(arrays: Arrays) -> int:
    return next((len(value) for value in arrays.values() if value.ndim), 0)
