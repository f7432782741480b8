"""An edge bundle: a model in ONNX Runtime's own format, measured on one thread, with gates on what a device has.

It is made from an ONNX file, as it is or as the ladder left it, and must answer as that file does. Nothing is said of a
runtime that is built for its operators alone: the stock one is measured.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from deployer.errors import ConditionFailed, InputError
from deployer.optimization import data, device, devicefiles, hardware, normalise, ortfile, output
from deployer.optimization.edgebundle import REPORT, EdgeBundle, Measured
from deployer.optimization.gate import Verdict
from deployer.optimization.isolation import Isolation, Limits, Lost
from deployer.optimization.session import Arrays, batches
from deployer.optimization.synthetic import Shapes
from deployer.optimization.timing import median_interval
from deployer.optimization.variant import describe
from inference_code.contract import TensorSpec

MOST_REQUESTS = 32
SECONDS = 2.0
_TIMEOUT_S = 600.0
_STEP = 1 / 255
_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_FILES = (
    ortfile.MODEL,
    ortfile.OPERATORS,
    ortfile.OPERATORS_AND_TYPES,
    devicefiles.README,
    devicefiles.RUN,
    devicefiles.CHECK,
)


def build(
    model: Path,
    out: Path,
    *,
    target: str | None = None,
    samples: Arrays | None = None,
    shapes: Shapes | None = None,
    max_mb: float | None = None,
    max_memory_mb: float | None = None,
    max_latency_ms: float | None = None,
    seed: int = 0,
) -> EdgeBundle:
    """Make the edge bundle of an ONNX file in ``out``; a former one there is replaced, whatever the gates say.

    ``target`` is amd64, arm64 or native (this kind of processor alone); by default this machine's. ``samples`` are
    rows by input name, or one whole request; without them some are made. Limits are in MB (1e6 bytes) and
    milliseconds, and judged by the worse end of what was measured. Raises InputError for what cannot be converted or
    asked, ConditionFailed where the file answers otherwise than its source; then nothing in ``out`` has changed.
    """
    chosen = _target(target, max_latency_ms)
    _check_source(model)
    _check_folder(out)
    with output.workspace(out) as folder:
        isolation = Isolation(folder, out, Limits())
        asked, said = _requests(isolation, model, samples, shapes, seed)
        found = _call(isolation, "to_ort", model, source=str(model.resolve()), target=chosen)
        bundle, wanted = _asked(model, out, folder, asked, found)
        limits = {"file_mb": max_mb, "memory_mb": max_memory_mb, "latency_ms": max_latency_ms}
        bundle = replace(bundle, requests=said, gates=_gates(bundle, limits))
        devicefiles.write(
            folder,
            devicefiles.Page(model.stem, chosen, bundle.runs_on, onnxruntime.__version__),
            asked,
            wanted,
            allowed=sum(bundle.tolerance),
        )
        _publish(bundle, folder, out)
    return bundle


def _asked(
    model: Path, out: Path, folder: Path, asked: Sequence[Arrays], found: Mapping[str, Any]
) -> tuple[EdgeBundle, list[dict[str, Any]]]:
    """Return what the converted model in ``folder`` took for the requests, and the answers of its source."""
    device.stored(folder / "requests.npz", asked)
    measured, answers = _measured(folder / ortfile.MODEL, folder)
    before, wanted = _measured(model.resolve(), folder)
    tolerance = _tolerance(found)
    size, digest = _digest(folder / ortfile.MODEL)
    bundle = EdgeBundle(
        folder=out,
        target=found["target"],
        runs_on=devicefiles.runs_on(found["target"], integer=found["integer"]),
        size_bytes=size,
        sha256=digest,
        source=describe(model, model.stem, "unstated"),
        opset=found["opset"],
        operators=tuple(found["operators"]),
        measured=measured,
        source_measured=before,
        difference=_difference(wanted, answers, tolerance),
        tolerance=tolerance,
        hardware=hardware.detect(),
    )
    return bundle, wanted


def _target(target: str | None, max_latency_ms: float | None) -> str:
    """Return the target. Raises InputError for an unknown one, and for a limit that this machine cannot judge."""
    here = _MACHINES.get(platform.machine(), platform.machine())
    chosen = target or here
    if chosen not in ortfile.TARGETS:
        known = ", ".join(ortfile.TARGETS)
        raise InputError(f"no target {chosen!r}", hint=f"known: {known}")
    if max_latency_ms is not None and chosen not in (here, "native"):
        raise InputError(
            f"a latency measured on this machine ({here}) says nothing of {chosen}",
            hint=f"leave the limit out, or run the same command on a machine with {chosen}",
        )
    return chosen


def _check_source(model: Path) -> None:
    if model.suffix.lower() == ".ort":
        raise InputError(
            f"{str(model)!r} is in ONNX Runtime's format already",
            hint="give the ONNX file that it was made from",
        )
    if model.suffix.lower() != ".onnx" or not model.is_file():
        raise InputError(
            f"{str(model)!r} is no ONNX file",
            hint="`deployer optimize` and deployer.export make one; `opt/best.onnx` is the ladder's choice",
        )


def _check_folder(out: Path) -> None:
    """Raise InputError for a folder with files of another kind: a README of its own, say."""
    if out.is_dir() and any(out.iterdir()) and not (out / REPORT).is_file():
        raise InputError(
            f"{str(out)!r} holds files that are no edge bundle", hint="name a new folder with -o"
        )


def _requests(
    isolation: Isolation, model: Path, samples: Arrays | None, shapes: Shapes | None, seed: int
) -> tuple[list[Arrays], str]:
    """Return requests as one client sends them, and what they are."""
    if samples is None:
        sizes = {name: list(shape) for name, shape in (shapes or {}).items()}
        answer = _call(isolation, "requests", model, model=str(model), shapes=sizes, seed=seed)
        made: list[Arrays] = [*device.loaded(isolation.folder / answer["file"])]
        return made, "; ".join([f"{len(made)} made requests", *answer["told"]])
    if shapes:
        raise InputError("--shape is for rows that are made, and samples were given")
    found = _call(isolation, "open", model, model=str(model))
    specs = [TensorSpec(x["name"], x["dtype"], tuple(x["shape"])) for x in found["inputs"]]
    given = {name: value for name, value in samples.items() if name not in data.LABELS}
    if _is_whole(given, specs):
        return [{spec.name: given[spec.name] for spec in specs}], "the request given"
    checked = data.check(given, specs, "samples")
    size, fixed = found["fixed"] or 1, found["fixed"] is not None
    cut: list[Arrays] = list(itertools.islice(batches(checked, size, fixed=fixed), MOST_REQUESTS))
    return cut, f"{len(cut)} given requests"


def _is_whole(given: Arrays, specs: Sequence[TensorSpec]) -> bool:
    """Whether the arrays are one request as it is: no input has a free first axis, and each array fits its input."""
    return all(not spec.shape or spec.shape[0] is not None for spec in specs) and all(
        spec.name in given
        and given[spec.name].dtype.name == spec.dtype
        and given[spec.name].ndim == len(spec.shape)
        and all(
            own in (None, size)
            for own, size in zip(spec.shape, given[spec.name].shape, strict=True)
        )
        for spec in specs
    )


def _call(isolation: Isolation, call: str, file: Path, **arguments: Any) -> Any:
    doing = {"to_ort": "converted", "requests": "asked made requests", "open": "opened"}[call]
    try:
        return isolation.run(call, **arguments)
    except Lost as lost:
        raise InputError(f"{file.name}: {lost.told(f'while it was {doing}')}") from lost


def _measured(model: Path, folder: Path) -> tuple[Measured, list[dict[str, Any]]]:
    """Return what a fresh process took for the model, and its answers. Raises InputError when it ends without them."""
    answers = folder / "answers.npz"
    command = [sys.executable, "-P", "-m", "deployer.optimization.device"]
    path = os.pathsep.join(part or str(Path.cwd()) for part in sys.path)
    try:
        done = subprocess.run(
            [*command, str(model), str(folder / "requests.npz"), str(answers), str(SECONDS)],
            env={**os.environ, "PYTHONPATH": path, "ORT_DISABLE_TELEMETRY": "1"},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise InputError(f"{model.name} did not answer within {_TIMEOUT_S:g} s") from late
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["without a word"]
        code = done.returncode
        ended = f"crashed ({signal.Signals(-code).name})" if code < 0 else "failed"
        raise InputError(f"{model.name} {ended} in a process of its own: {lines[-1][:300]}")
    held = json.loads(done.stdout.strip().splitlines()[-1])
    times = np.sort(held["milliseconds"])
    low, high = median_interval(times)
    found = Measured(float(np.median(times)), low, high, held["memory_bytes"])
    return found, device.loaded(answers)


def _tolerance(found: Mapping[str, Any]) -> tuple[float, float]:
    """Return what answers may differ by: relative to a value, and to the largest one of its output.

    Where a graph rounds to 8 bits, a sum that was taken in another order may fall to the next step.
    """
    if found["half"]:
        return normalise.RTOL_HALF, normalise.ATOL_HALF
    return (2 * _STEP, 2 * _STEP) if found["integer"] else (normalise.RTOL, normalise.ATOL)


def _difference(
    wanted: Sequence[Arrays], given: Sequence[Arrays], tolerance: tuple[float, float]
) -> float:
    """Return the largest relative difference. Raises ConditionFailed for one that is not allowed."""
    worst = 0.0
    for one, other in zip(wanted, given, strict=True):
        for name, value in one.items():
            rtol, atol = tolerance if value.dtype.kind == "f" else (0.0, 0.0)
            try:
                worst = max(worst, normalise.gap(name, value, other[name], rtol=rtol, atol=atol))
            except normalise.Unequal as unequal:
                raise ConditionFailed(
                    f"{ortfile.MODEL} does not answer as its source: {unequal}",
                    hint="nothing was written; the ONNX file itself can be served",
                ) from unequal
    return worst


def _gates(bundle: EdgeBundle, limits: Mapping[str, float | None]) -> dict[str, Verdict]:
    """Return the verdict of each limit that was given."""
    mb, took = bundle.size_bytes / 1e6, bundle.measured
    memory, ends = took.memory_bytes / 1e6, (took.latency_low_ms, took.latency_high_ms)
    known = {
        "file_mb": ((mb, mb, mb), "MB of file"),
        "memory_mb": ((memory, memory, memory), "MB of memory"),
        "latency_ms": ((took.latency_ms, *ends), "ms on one thread"),
    }
    found = {}
    for name, limit in limits.items():
        (value, low, high), unit = known[name]
        if limit is not None:
            passed = high <= limit
            shown = f"{value:.4g}" if low == high else f"{value:.4g} ({low:.4g} to {high:.4g})"
            relation = "within" if passed else "more than"
            reason = f"{shown} {unit}, {relation} the {limit:g} allowed"
            found[name] = Verdict(passed, value, low, high, reason)
    return found


def _digest(path: Path) -> tuple[int, str]:
    with path.open("rb") as stream:
        return path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()


def _publish(bundle: EdgeBundle, folder: Path, out: Path) -> None:
    """Move the files into ``out``, the report last: without it a folder is no bundle."""
    text = json.dumps(bundle.to_json(), indent=1)
    (folder / REPORT).write_text(f"{text}\n", encoding="utf-8")
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT).unlink(missing_ok=True)
    for name in (*_FILES, REPORT):
        os.replace(folder / name, out / name)
