"""Write index.html, report.md, report.json and report.csv into a folder, all four or none; and ladders."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from deployer.cost.report import CostReport
from deployer.errors import EnvironmentProblem
from deployer.report import markdown, rows, webpage
from deployer.report.content import content
from deployer.report.ladder import ladder, to_markdown


def write(
    report: CostReport,
    folder: Path,
    *,
    today: date | None = None,
    budget_usd_per_thousand: Decimal | None = None,
) -> dict[str, Path]:
    """Write the report and return the path of each file by its kind: html, markdown, json, csv.

    Other files in ``folder`` stay. ``today`` lets the page say how old the prices are; without it equal
    reports give equal bytes for ever. Raises EnvironmentProblem when a package of the ``report`` extra is
    missing or the folder cannot be written; then nothing in it has changed.
    """
    page = content(report, today, budget_usd_per_thousand)
    texts = {
        "index.html": webpage.render(page),
        "report.md": markdown.render(page),
        "report.json": rows.dumps(report),
        "report.csv": rows.candidates_csv(report),
    }
    _install_or_say(texts, folder)
    return {kind: folder / name for kind, name in zip(_KINDS, texts, strict=True)}


_KINDS = ("html", "markdown", "json", "csv")


def write_ladder(document: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Write ladder.html and ladder.md of a parsed ladder.json, and return their paths by kind.

    Both or none, as ``write``. Raises EnvironmentProblem as ``write``.
    """
    page = ladder(document)
    texts = {"ladder.html": webpage.render_ladder(page), "ladder.md": to_markdown(page)}
    _install_or_say(texts, folder)
    return {"html": folder / "ladder.html", "markdown": folder / "ladder.md"}


def _install_or_say(texts: Mapping[str, str], folder: Path) -> None:
    try:
        _install(texts, folder)
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write the report to {str(folder)!r}: {error.strerror or error}",
            hint="name a folder that you may write to: -o DIR",
        ) from error


def _install(texts: Mapping[str, str], folder: Path) -> None:
    """Write everything into a staging folder first; what is moved into place is complete."""
    exists = folder.is_dir()
    if not exists:
        folder.parent.mkdir(parents=True, exist_ok=True)
    staging = (folder if exists else folder.parent) / f".report-{secrets.token_hex(6)}"
    staging.mkdir()
    try:
        for name, text in texts.items():
            (staging / name).write_text(text, encoding="utf-8", newline="\n")
        if exists:
            _swap(staging, folder, list(texts))
        else:
            staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _swap(staging: Path, folder: Path, names: list[str]) -> None:
    """Put each file in the place of the old one; a failure puts the old ones back."""
    kept = staging / "replaced"
    kept.mkdir()
    placed: list[str] = []
    try:
        for name in names:
            if (folder / name).is_dir():
                raise IsADirectoryError(errno.EISDIR, f"{name} is a folder there")
            if (folder / name).exists():
                (kept / name).hardlink_to(folder / name)
            os.replace(staging / name, folder / name)
            placed.append(name)
    except OSError:
        _put_back(kept, folder, placed)
        raise


def _put_back(kept: Path, folder: Path, names: list[str]) -> None:
    for name in names:
        if (kept / name).exists():
            os.replace(kept / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
