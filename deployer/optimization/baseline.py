"""The start of a climb: the data checked, the model opened, normalised and asked, each in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deployer.errors import InputError
from deployer.optimization import alternatives as others
from deployer.optimization import answers, blind, context, data, jobs, metrics, resume
from deployer.optimization.answers import Answer, Answers
from deployer.optimization.choice import Tried
from deployer.optimization.isolation import Isolation, Lost
from deployer.optimization.judge import Judge, timing_cases
from deployer.optimization.onnxfile import external_files
from deployer.optimization.resume import Finished
from deployer.optimization.session import Arrays
from deployer.optimization.variant import describe
from inference_code.contract import TensorSpec

_AXIS = "the first axis must be the rows, as that of the inputs is"
_WHOLE = "--metric fidelity and those for boxes and sequences take what is not one row for each row"


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
    ignore_outputs: Sequence[str] = (),
    **limits: Any,
) -> Judge:
    """Check the data against the model, write the baseline and what rungs start from, and return who judges them.

    ``limits`` are the judge's own. Raises InputError for wrong data, a model that cannot be opened or does not answer,
    an output that nothing can judge and ``ignore_outputs`` does not name, and a blind metric.
    """
    inputs, fixed = _opened(isolation, model)
    feeds = data.check(evaluation, inputs, "evaluation")
    labels = _labels(evaluation, metric)
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
    outputs, alone = normalised.pop("outputs"), normalised.pop("alone")
    named = _judged(answers.load(isolation.folder / jobs.OUTPUTS), outputs, ignore_outputs)
    reference = named if metric.whole else _first(named, alone, model.name)
    blind.check(metric, reference, labels, max_drop=limits["max_drop"], seed=limits["seed"])
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
        labels=labels,
        metric=metric,
        batch=batch,
        cases=cases,
        fp32=fp32.scored(metric.score(reference, reference, labels)),
        named=named,
        alone=list(alone),
        ignored=list(ignore_outputs),
        outputs=outputs,
        **limits,
    )


def _labels(evaluation: Arrays, metric: metrics.Metric) -> metrics.Labels:
    found = data.truth(evaluation, "evaluation")
    if metric.needs_labels and found is None:
        raise data.no_labels("evaluation", metric.name)
    return found


def _named_cases(
    timing_inputs: Mapping[str, Arrays], inputs: Sequence[TensorSpec]
) -> dict[str, Arrays]:
    return {
        name: data.check(arrays, inputs, f"timing_inputs {name!r}")
        for name, arrays in timing_inputs.items()
    }


def _judged(found: Answers, outputs: Sequence[str], ignored: Sequence[str]) -> dict[str, Answer]:
    """Return the answers to judge, in the model's order.

    Raises InputError for an unknown name, for no output left, and for one that nothing can judge.
    """
    for name in ignored:
        if name not in outputs:
            raise InputError(
                f"no output {name!r} to ignore", hint=f"the model's outputs: {', '.join(outputs)}"
            )
    left = [name for name in outputs if name not in ignored]
    if not left:
        raise InputError("every output is ignored; the gate needs one to judge by")
    for name in left:
        why = "holds neither numbers nor text" if name not in found else _broken(found[name])
        if why is not None:
            raise InputError(
                f"nothing can judge output {name!r}: {why}",
                hint=f"--ignore-output {name} leaves it out",
            )
    _check_first(left[0], found[left[0]])
    return {name: found[name] for name in left}


def _broken(answer: Answer) -> str | None:
    """Return why there is nothing to compare; None where there is."""
    parts = [part for part in answer if np.size(part)]
    if not parts:
        return "it is empty for every row"
    if all(part.dtype.kind == "f" and np.isnan(part).all() for part in parts):
        return "the model answers with NaN alone"
    return None


def _check_first(name: str, answer: Answer) -> None:
    for row, part in enumerate(answer):
        if part.dtype.kind == "f" and np.isnan(part).any():
            raise InputError(f"the model itself answers with NaN, first to evaluation row {row}")


def _first(named: Answers, alone: Mapping[str, str], model: str) -> Answer:
    """Return the output that the metric judges. Raises InputError where it holds no numbers, row by row."""
    name, answer = next(iter(named.items()))
    if isinstance(answer, np.ndarray) and answer.dtype.kind in answers.STRINGS:
        raise InputError(f"{model}: its first output holds no numbers", hint=_WHOLE)
    if name in alone:
        raise InputError(f"{model}: its first output {alone[name]}", hint=f"{_AXIS}; {_WHOLE}")
    return answer


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
