"""The output folder: filled aside, then moved into place, so that a failed climb leaves nothing half-written."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deployer.errors import EnvironmentProblem, InputError
from deployer.optimization.report import LadderReport
from deployer.optimization.variant import Variant

REPORT = "ladder.json"
BEST = "best.onnx"
LATENCIES = "latencies.json"
RUNGS = "rungs"
_CLAIM = ".claimed"


@contextmanager
def workspace(out: Path) -> Iterator[Path]:
    """Give a folder beside ``out``, removed at the end. Raises EnvironmentProblem when none can be made.

    What a killed climb to the same ``out`` left behind is removed as well.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{str(out)!r} is a file; the ladder writes a folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sweep(out)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write beside {str(out)!r}: {error.strerror}",
            hint="choose another folder with -o",
        ) from error
    with (folder / ".claim").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Only under its final name can a claim be taken for an abandoned one, and then it is held.
        (folder / ".claim").rename(folder / _CLAIM)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(out: Path) -> None:
    """Remove the folders whose owner is gone: a lock ends with its process, however that ended."""
    for claim in out.parent.glob(f".{glob.escape(out.name)}-*/{_CLAIM}"):
        with claim.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # in use
            shutil.rmtree(claim.parent, ignore_errors=True)


def publish(report: LadderReport, latencies: str, folder: Path, out: Path) -> LadderReport:
    """Move every variant's file under ``out`` and write the report last; return the report with its new paths.

    Rungs of the climb before, by its report, are removed where this one has no file of that name.
    """
    kept = out / RUNGS
    kept.mkdir(parents=True, exist_ok=True)
    before = _rungs_before(out / REPORT)
    placed = {}
    for rung in report.rungs:
        if rung.variant is not None:
            placed[rung.name] = _move(rung.variant, kept)
    moved = replace(
        report,
        fp32=placed[report.fp32.name],
        best=_copy(placed[report.best.name], out / BEST),
        best_quantized=placed[report.best_quantized.name] if report.best_quantized else None,
        rungs=tuple(replace(rung, variant=placed.get(rung.name)) for rung in report.rungs),
    )
    for name, text in ((LATENCIES, latencies), (REPORT, moved.dumps())):
        draft = folder / name
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, out / name)
    now = {part.name for variant in placed.values() for part in variant.files()}
    for name in before:
        for stale in {name, f"{name}.data"} - now:
            (kept / stale).unlink(missing_ok=True)
    return moved


def _rungs_before(report: Path) -> list[str]:
    """Return the files that an earlier report names; none where there is no report that can be read."""
    try:
        rungs = json.loads(report.read_text(encoding="utf-8"))["rungs"]
        found = [Path(rung["variant"]["file"]).name for rung in rungs if rung["variant"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in found if name.endswith(".onnx")]


def _move(variant: Variant, folder: Path) -> Variant:
    for part in variant.files():
        os.replace(part, folder / part.name)
    return variant.moved(folder / variant.path.name)


def _copy(variant: Variant, target: Path) -> Variant:
    """Copy under the file's own name first: external data is found by the name written in the model."""
    for part in variant.files()[1:]:
        _replace_copy(part, target.with_name(part.name))
    _replace_copy(variant.path, target)
    return variant.moved(target)


def _replace_copy(source: Path, target: Path) -> None:
    draft = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, draft)
    os.replace(draft, target)
