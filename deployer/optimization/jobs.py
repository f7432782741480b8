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

import numpy as np

from deployer.errors import DeployerError
from deployer.optimization import context, hints, normalise, output, quantize, sensitivity
from deployer.optimization.choice import GIVEN, known
from deployer.optimization.graph import Unfit
from deployer.optimization.openvino import OpenVinoSession
from deployer.optimization.records import record
from deployer.optimization.session import Array, Arrays, Session
from deployer.optimization.timing import clock_for, compare
from deployer.optimization.variant import adopt
from inference_code.contract import OPENVINO

FP32 = "fp32.onnx"
PREPARED = "prepared.onnx"
OUTPUTS = "outputs.npz"

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
    _write(session.every_output_for(held.evaluation, batch), folder)
    quantize.prepare(folder / FP32, folder / PREPARED)
    return {**found.to_json(), "outputs": [spec.name for spec in session.outputs]}


def score(
    folder: Path, mark: Mark, rung: str, name: str, exclude: list[str], batch: int
) -> dict[str, Any]:
    """Build a rung and let it answer the evaluation rows into ``outputs.npz``; or say why it ``failed``."""
    held = context.load(folder)
    chosen = known(held.reduce_range, held.alternatives, folder)[rung]
    path = folder / f"{name}.onnx"
    try:
        chosen.build(folder / PREPARED, held.calibration, path, frozenset(exclude))
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
        outputs = session.every_output_for(held.evaluation, batch)
    except DeployerError as error:
        return {"failed": error.message}
    _write(outputs, folder)
    return {"outputs": [spec.name for spec in session.outputs]}


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


CALLS: Mapping[str, Callable[..., Any]] = {
    "open": open_model,
    "begin": begin,
    "score": score,
    "time": time,
    "rank": rank,
}


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


def _write(outputs: Arrays, folder: Path) -> None:
    (folder / OUTPUTS).unlink(missing_ok=True)  # what an earlier piece left may be kept by a link
    parts = {f"output{place}": value for place, value in enumerate(outputs.values())}
    names = np.array(list(outputs), dtype=np.str_)
    np.savez(folder / OUTPUTS, names=names, **parts)  # type: ignore[arg-type]


def _error(kind: str, message: str, hint: str | None) -> dict[str, Any]:
    return {"error": kind, "message": message, "hint": hint}


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
