"""The pieces of a climb that touch a model: each runs in a process of its own, which ``isolation`` starts.

A piece takes and returns what JSON holds; arrays go through files in the climb's folder.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from deployer.errors import DeployerError
from deployer.optimization import (
    answers,
    context,
    device,
    hints,
    normalise,
    ortfile,
    output,
    probe,
    quantize,
    sensitivity,
    synthetic,
)
from deployer.optimization.choice import GIVEN, known
from deployer.optimization.graph import Unfit
from deployer.optimization.openvino import OpenVinoSession
from deployer.optimization.records import record
from deployer.optimization.session import Array, Arrays, Session
from deployer.optimization.timing import clock_for, compare, on_the_wall
from deployer.optimization.variant import adopt
from inference_code.contract import OPENVINO

FP32 = "fp32.onnx"
PREPARED = "prepared.onnx"
OUTPUTS = "outputs.npz"

MADE = "made.npz"

MAKING, OPENING, ANSWERING = 0, 1, 2
"""Marks of ``score``: what it was about when it ended."""


class Mark:
    """One byte in a file that outlives this process: what it is about, without the cost of a write."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as stream:
            self._byte = mmap.mmap(stream.fileno(), 1)

    @property
    def value(self) -> int:
        """What was set last."""
        return self._byte[0]

    def set(self, value: int) -> None:
        """Note that ``value`` (0 to 255) is what comes next."""
        self._byte[0] = value


def run(task: Mapping[str, Any]) -> None:
    """Run the task and leave its answer, or the error of ours that it raised, in the task's folder.

    Raises OSError where there is no room: that is no one rung's fault, and the answer might not find room either.
    """
    at, folder = Path(task["at"]), Path(task["folder"])
    try:
        value = CALLS[task["call"]](folder, Mark(at / "mark"), **task["arguments"])
        answer = {"value": value}
    except DeployerError as error:
        answer = _error(type(error).__name__, error.message, error.hint)
    except OSError as error:
        if error.errno in output.FULL:
            raise
        answer = _error("OSError", _line(error), None)
    except Exception as error:
        answer = _error(type(error).__name__, _line(error), None)
    draft = at / "answer.part"
    draft.write_text(json.dumps(answer), encoding="utf-8")
    os.replace(draft, at / "answer.json")


def open_model(folder: Path, mark: Mark, model: str) -> dict[str, Any]:
    """Return the inputs of a model file and the one batch size that it takes, if there is but one."""
    session = Session(Path(model))
    return {"inputs": [asdict(spec) for spec in session.inputs], "fixed": session.fixed_batch}


def synthesize(
    folder: Path, mark: Mark, model: str, shapes: Mapping[str, list[int]], seed: int
) -> dict[str, Any]:
    """Write rows that are made for a model, to calibrate and to judge; return their file and what was assumed."""
    session, graph = _read(model)
    form, count = synthetic.rows(session, graph, shapes, seed)
    made = [form.drawn(synthetic.CALIBRATION_ROWS, seed + 1), form.drawn(count, seed)]
    device.stored(folder / MADE, made)
    return {"file": MADE, "told": list(form.told(session.inputs))}


def requests(
    folder: Path, mark: Mark, model: str, shapes: Mapping[str, list[int]], seed: int
) -> dict[str, Any]:
    """Write requests that are made for a model, one row each; return their file and what was assumed."""
    session, graph = _read(model)
    form = synthetic.found(session, graph, shapes, seed, first=None)
    made = [form.drawn(1, seed + number) for number in range(synthetic.REQUESTS)]
    device.stored(folder / MADE, made)
    return {"file": MADE, "told": list(form.told(session.inputs))}


def to_ort(folder: Path, mark: Mark, source: str, target: str) -> dict[str, Any]:
    """Write a model in ONNX Runtime's format; return what of it the check of its answers depends on."""
    path = Path(source)
    ortfile.check(path, Session(path).outputs)
    ortfile.convert(path, folder, target)
    return {**ortfile.facts(path), "target": target, "operators": ortfile.operators(folder)}


def begin(
    folder: Path, mark: Mark, model: str, batch: int, *, change: bool = True
) -> dict[str, Any]:
    """Write the FP32 baseline and what the rungs start from; return what was changed for it.

    The baseline's answers to the evaluation rows lie in ``outputs.npz``.
    """
    held = context.load(folder)
    known = hints.read(Path(model))
    for where, rows in (("calibration", held.calibration), ("evaluation", held.evaluation)):
        hints.check(known, rows, where)
    if change:
        found = normalise.normalise(Path(model), folder / FP32, held.calibration)
    else:
        adopt(Path(model), folder / FP32)
        found = normalise.Normalised()
    if found.changes:
        adopt(Path(model), folder / GIVEN)
    baseline = folder / FP32 if found.changes else Path(model)
    session = Session(baseline)
    normalise.check_first(session, held.calibration)
    outputs, alone = answers.asked(session, held.evaluation, batch)
    answers.save(outputs, folder / OUTPUTS)
    quantize.prepare(folder / FP32, folder / PREPARED)
    names = [spec.name for spec in session.outputs]
    return {**found.to_json(), "outputs": names, "alone": alone}


def score(
    folder: Path,
    mark: Mark,
    rung: str,
    name: str,
    exclude: list[str],
    batch: int,
    alone: list[str],
) -> dict[str, Any]:
    """Build a rung and let it answer the evaluation rows into ``outputs.npz``; or say why it ``failed``.

    The outputs in ``alone`` are asked row by row.
    """
    held = context.load(folder)
    chosen = known(held.reduce_range, held.alternatives, folder)[rung]
    path = folder / f"{name}.onnx"
    try:
        note = chosen.build(folder / PREPARED, held.calibration, path, frozenset(exclude))
    except OSError:
        path.unlink(missing_ok=True)
        raise  # a full disk, say: not the rung's own
    except Exception as error:  # a quantizer's failure concerns its rung alone
        path.unlink(missing_ok=True)
        why = str(error) if isinstance(error, Unfit) else f"could not be built: {_line(error)}"
        return {"failed": why}
    mark.set(OPENING)
    try:
        session = opened(path, chosen.engine)
        mark.set(ANSWERING)
        outputs, _ = answers.asked(session, held.evaluation, batch, alone)
    except DeployerError as error:
        return {"failed": error.message}
    answers.save(outputs, folder / OUTPUTS)
    return {"outputs": [spec.name for spec in session.outputs], "note": note or ""}


def time(
    folder: Path,
    mark: Mark,
    able: Mapping[str, list[str]],
    brief: Mapping[str, list[str]],
    threads: int,
) -> dict[str, Any]:
    """Time variants (file and engine by name) against FP32, in turn; the mark is the place of the one that runs.

    Returns the speed-ups by name, or why one of them ``failed`` and its ``place``.
    """
    try:
        return _time(folder, mark, able, brief, threads)
    except DeployerError as error:
        return {"failed": error.message, "place": mark.value}


def _time(
    folder: Path,
    mark: Mark,
    able: Mapping[str, list[str]],
    brief: Mapping[str, list[str]],
    threads: int,
) -> dict[str, Any]:
    held = context.load(folder)
    files = {"": [str(folder / FP32), ""], **able, **brief}
    sessions: dict[str, Session] = {}
    for place, (name, (file, engine)) in enumerate(files.items()):
        mark.set(place)
        sessions[name] = _Marked(opened(Path(file), engine, threads), mark, place)
    found = compare(
        sessions[""],
        {name: sessions[name] for name in able},
        held.cases,
        clock=clock_for(threads),
        brief={name: sessions[name] for name in brief},
    )
    return {"speedups": {name: record(speedup) for name, speedup in found.items()}}


def rank(folder: Path, mark: Mark) -> list[tuple[str, float]]:
    """Return the layers and what each costs in int8, the most costly first."""
    return sensitivity.rank(folder / PREPARED, context.load(folder).calibration)


def try_recipe(folder: Path, mark: Mark, **arguments: Any) -> dict[str, Any]:
    """Build a recipe from a part of the calibration rows and return its error on the others."""
    return probe.tried(folder / PREPARED, context.load(folder), folder, **arguments)


def layers(folder: Path, mark: Mark, **arguments: Any) -> list[tuple[str, str]]:
    """Return the layers that a search may leave in FP32, the most costly first."""
    return probe.layers(folder / PREPARED, context.load(folder), folder, **arguments)


def by_threads(
    folder: Path, mark: Mark, model: str, engine: str, threads: int, budget_s: float
) -> dict[str, Any]:
    """Time a variant against FP32 where both have so many threads, by the wall clock."""
    held = context.load(folder)
    fp32, one = (opened(folder / FP32, "", threads), opened(Path(model), engine, threads))
    found = compare(fp32, {model: one}, held.cases, clock=on_the_wall, budget_s=budget_s)
    return record(found[model])


def tune(
    folder: Path, mark: Mark, model: str, is_folder: bool, seed: int, seconds: float
) -> dict[str, Any]:
    """Write a model that was tuned to stand int8 as FP32 ONNX, or say why it could not be done."""
    from deployer.optimization import tuner

    named = Path(model) if is_folder else model
    held = context.load(folder)
    return tuner.tuned(
        named, tuner.rows(folder), held, folder, seed=seed, seconds=seconds, progress=None
    )


CALLS: Mapping[str, Callable[..., Any]] = {
    "open": open_model,
    "synthesize": synthesize,
    "requests": requests,
    "to_ort": to_ort,
    "begin": begin,
    "score": score,
    "time": time,
    "rank": rank,
    "try": try_recipe,
    "layers": layers,
    "threads": by_threads,
    "tune": tune,
}


def _read(model: str) -> tuple[Session, onnx.ModelProto]:
    """Return a session of a model file, and its graph without weights that lie beside it."""
    return Session(Path(model)), onnx.load(model, load_external_data=False)


def opened(path: Path, engine: str, threads: int | None = None) -> Session:
    """Return a session of the engine that runs the file."""
    return (OpenVinoSession if engine == OPENVINO else Session)(path, threads)


class _Marked(Session):
    """A session that marks itself before each run, so that it is known who ended the process."""

    def __init__(self, session: Session, mark: Mark, place: int) -> None:
        self._inner = session
        self._mark = mark
        self._place = place

    def run(self, feeds: Arrays) -> Array:
        """Run as the session does."""
        self._mark.set(self._place)
        return self._inner.run(feeds)


def _error(kind: str, message: str, hint: str | None) -> dict[str, Any]:
    return {"error": kind, "message": message, "hint": hint}


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
