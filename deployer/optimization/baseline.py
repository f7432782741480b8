"""The start of a climb: the data checked, the model opened, normalised and asked, each in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deployer.errors import InputError
from deployer.optimization import alternatives as others
from deployer.optimization import context, data, jobs, metrics, resume
from deployer.optimization.choice import Tried
from deployer.optimization.isolation import Isolation, Lost
from deployer.optimization.judge import Judge, timing_cases
from deployer.optimization.onnxfile import external_files
from deployer.optimization.resume import Finished, load_outputs
from deployer.optimization.session import Array, Arrays
from deployer.optimization.variant import describe
from inference_code.contract import TensorSpec


def begun(
    model: Path,
    isolation: Isolation,
    finished: Finished,
    chosen: Tried,
    alternatives: Mapping[str, Path],
    *,
    calibration: Arrays,
    evaluation: Arrays,
    metric: metrics.Metric,
    batch_sizes: Sequence[int],
    timing_inputs: Mapping[str, Arrays] | None,
    **limits: Any,
) -> Judge:
    """Check the data against the model, write the baseline and what rungs start from, and return who judges them.

    ``limits`` are the judge's own. Raises InputError for wrong data, and for a model that cannot be opened or does
    not answer.
    """
    inputs, fixed = _opened(isolation, model)
    feeds = data.check(evaluation, inputs, "evaluation")
    answers = data.labels(evaluation, "evaluation", metric.name if metric.needs_labels else None)
    samples = data.check(calibration, inputs, "calibration")
    cases: Mapping[str, Arrays] = timing_cases(feeds, batch_sizes, fixed)
    if timing_inputs:
        cases = _named_cases(timing_inputs, inputs)
    for name, path in alternatives.items():
        others.check(name, _opened(isolation, path)[0], inputs)
    held = context.Context(samples, feeds, cases, chosen.reduce_range, alternatives)
    context.save(held, isolation.folder)
    batch = max(batch_sizes)
    normalised = _begun(isolation, model, batch)
    named = _named_outputs(isolation.folder / jobs.OUTPUTS)
    reference, *_ = named.values()
    outputs = normalised.pop("outputs")
    fp32 = describe(isolation.folder / jobs.FP32, "fp32", "fp32")
    settings = {"batch": batch, "machine": dict(chosen.machine), "normalised": normalised}
    finished.begin(
        resume.key(_files(fp32.path, *alternatives.values()), (samples, feeds), settings)
    )
    return Judge(
        isolation=isolation,
        finished=finished,
        normalised=normalised,
        folder=isolation.folder,
        calibration=samples,
        evaluation=feeds,
        labels=answers,
        metric=metric,
        batch=batch,
        cases=cases,
        fp32=fp32.scored(metric.score(reference, reference, answers)),
        reference=reference,
        named=named,
        outputs=outputs,
        **limits,
    )


def _named_cases(
    timing_inputs: Mapping[str, Arrays], inputs: Sequence[TensorSpec]
) -> dict[str, Arrays]:
    return {
        name: data.check(arrays, inputs, f"timing_inputs {name!r}")
        for name, arrays in timing_inputs.items()
    }


def _named_outputs(path: Path) -> dict[str, Array]:
    """Return what the baseline answered, but for further outputs with NaN. Raises InputError for NaN in the first."""
    named = load_outputs(path)
    reference, *_ = named.values()
    if (broken := np.isnan(reference)).any():
        row = int(np.argwhere(broken)[0][0])
        raise InputError(f"the model itself answers with NaN, first to evaluation row {row}")
    return {name: value for name, value in named.items() if not np.isnan(value).any()}


def _files(*models: Path) -> list[Path]:
    return [part for path in models for part in (path, *external_files(path))]


def _opened(isolation: Isolation, model: Path) -> tuple[list[TensorSpec], int | None]:
    """Return the inputs of a model file and its fixed batch size, if it has one."""
    try:
        found = isolation.run("open", model=str(model))
    except Lost as lost:
        why = lost.told("while it was opened")
        raise InputError(f"ONNX Runtime cannot open {str(model)!r}: {why}") from lost
    specs = [TensorSpec(x["name"], x["dtype"], tuple(x["shape"])) for x in found["inputs"]]
    return specs, found["fixed"]


def _begun(isolation: Isolation, model: Path, batch: int) -> dict[str, Any]:
    """Write the baseline and what rungs start from; return what was changed. A change that crashes is not made."""
    try:
        found: dict[str, Any] = isolation.run("begin", model=str(model), batch=batch)
        return found
    except Lost as lost:
        why = lost.told("while it was normalised")
    try:
        found = isolation.run("begin", model=str(model), batch=batch, change=False)
    except Lost as lost:
        told = lost.told("while it answered the evaluation rows")
        raise InputError(f"{model.name}: the model itself cannot be run: {told}") from lost
    return {**found, "not_changed": [why]}
