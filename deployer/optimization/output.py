"""The output folder: filled aside, then moved into place, so that a failed climb leaves nothing half-written."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from deployer.errors import EnvironmentProblem, InputError
from deployer.optimization.report import LadderReport
from deployer.optimization.variant import Variant

REPORT = "ladder.json"
BEST = "best.onnx"
LATENCIES = "latencies.json"
RUNGS = "rungs"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where there is no room for a file."""

NO_ROOM = os.EX_CANTCREAT
"""The exit code of a piece that could not write for want of room."""

_CLAIMING, _CLAIM = ".claim", ".claimed"


@contextmanager
def workspace(out: Path) -> Iterator[Path]:
    """Give a folder beside ``out``, removed at the end. Raises EnvironmentProblem when none can be made.

    What a killed climb to the same ``out`` left behind is removed as well. A climb that is still at work there is left
    alone, and this one refused; the same thread may have several.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{str(out)!r} is a file; the ladder writes a folder")
    with _told(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        folder, lock = _claimed(out)
    with lock:
        _own().append(folder)
        try:
            with _told(out, full_only=True):
                yield folder
        finally:
            _own().remove(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _claimed(out: Path) -> tuple[Path, IO[str]]:
    """Return a new folder beside ``out`` and the lock on it. Raises EnvironmentProblem where another climb has one."""
    with _alone(out.parent):
        busy = [folder for folder in sweep(out, _CLAIMING, _CLAIM) if folder not in _own()]
        if busy:
            raise EnvironmentProblem(
                f"another climb writes to {str(out)!r} at this moment (it works in {busy[0].name!r})",
                hint="wait until it ends, or choose another folder with -o",
            )
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
        lock = (folder / _CLAIMING).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Only under its final name can others than us take a claim for an abandoned one, and then it is held.
        (folder / _CLAIMING).rename(folder / _CLAIM)
        return folder, lock


_THREAD = threading.local()


def _own() -> list[Path]:
    """Return the folders that this thread has claimed."""
    if not hasattr(_THREAD, "folders"):
        _THREAD.folders = []
    folders: list[Path] = _THREAD.folders
    return folders


@contextmanager
def _told(out: Path, *, full_only: bool = False) -> Iterator[None]:
    """Turn an OSError into the sentence that it cannot be written there; ``full_only``: that of a full disk alone."""
    try:
        yield
    except OSError as error:
        if full_only and error.errno not in FULL:
            raise
        raise EnvironmentProblem(
            f"cannot write beside {str(out)!r}: {error.strerror}",
            hint=f"{'make room there, or ' if error.errno in FULL else ''}choose another folder with -o",
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let no other climb look for claims in ``folder`` or make one meanwhile, where folders can be locked."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sweep(out: Path, *claims: str) -> list[Path]:
    """Remove the folders whose owner is gone: a lock ends with its process, however that ended. Return the others.

    ``claims`` are the names that a claim may have, by default the final one.
    """
    used = []
    for name in claims or (_CLAIM,):
        for claim in out.parent.glob(f".{glob.escape(out.name)}-*/{name}"):
            try:
                with claim.open() as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(claim.parent, ignore_errors=True)
            except FileNotFoundError:
                continue  # gone meanwhile
            except OSError:
                used.append(claim.parent)
    return used


def publish(report: LadderReport, latencies: str, folder: Path, out: Path) -> LadderReport:
    """Move every variant's file under ``out`` and write the report last; return the report with its new paths.

    What takes room is written in ``folder`` before anything is moved: a full disk leaves ``out`` as it was. Rungs of
    the climb before, by its report, are removed where this one has no file of that name.
    """
    kept = out / RUNGS
    variants = {rung.name: rung.variant for rung in report.rungs if rung.variant is not None}
    placed = {name: v.moved(kept / v.path.name) for name, v in variants.items()}
    moved = replace(
        report,
        fp32=placed[report.fp32.name],
        best=placed[report.best.name].moved(out / BEST),
        best_quantized=placed[report.best_quantized.name] if report.best_quantized else None,
        rungs=tuple(replace(rung, variant=placed.get(rung.name)) for rung in report.rungs),
    )
    drafts = _drafts(variants[report.best.name], folder)
    for name, text in ((LATENCIES, latencies), (REPORT, moved.dumps())):
        drafts[name] = folder / name
        drafts[name].write_text(text, encoding="utf-8")
    before = _rungs_before(out / REPORT)
    kept.mkdir(parents=True, exist_ok=True)
    now = set()
    for variant in variants.values():
        for part in variant.files():
            os.replace(part, kept / part.name)
            now.add(part.name)
    for name, draft in drafts.items():
        os.replace(draft, out / name)
    for name in before:
        for stale in {name, f"{name}.data"} - now:
            (kept / stale).unlink(missing_ok=True)
    return moved


def _drafts(best: Variant, folder: Path) -> dict[str, Path]:
    """Copy the best one's files; return the copies by their names in the output folder, the model after its data.

    External data keeps its name, which the model's file has.
    """
    copies = folder / "best"
    copies.mkdir()
    model, *data = best.files()
    drafts = {part.name: copies / part.name for part in data}
    drafts[BEST] = copies / BEST
    for part, copy in zip((*data, model), drafts.values(), strict=True):
        shutil.copyfile(part, copy)
    return drafts


def _rungs_before(report: Path) -> list[str]:
    """Return the files that an earlier report names; none where there is no report that can be read."""
    try:
        rungs = json.loads(report.read_text(encoding="utf-8"))["rungs"]
        found = [Path(rung["variant"]["file"]).name for rung in rungs if rung["variant"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in found if name.endswith(".onnx")]
