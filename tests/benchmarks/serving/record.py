"""Results as JSON lines with the machine and the date, and as a small table."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deployer import machine

Row = dict[str, Any]


class Record:
    """The results of one benchmark; ``ok`` is False once a bar was missed or a control passed."""

    def __init__(self, benchmark: str, subject: str, path: Path | None) -> None:
        """Write to ``path``, if there is one, as well as to stdout."""
        self.rows: list[Row] = []
        self._path = path
        self._common: Row = {
            "benchmark": benchmark,
            "subject": subject,
            "command": " ".join(["python", *sys.argv]),
            "machine": machine.describe(),
        }

    def add(self, row: Mapping[str, Any], missed: Sequence[str], control: bool = False) -> None:
        """Keep a result; ``missed`` are the bars it misses, which a control must."""
        good = bool(missed) if control else not missed
        whole = {**row, "control": control, "missed": list(missed), "ok": good}
        self.rows.append(whole)
        self.note(whole)

    def note(self, row: Mapping[str, Any]) -> None:
        """Print and keep a result that does not count."""
        dated = {"date": datetime.now(UTC).isoformat(timespec="seconds"), **self._common, **row}
        line = json.dumps(dated)
        print(line, flush=True)
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(line + "\n")

    @property
    def ok(self) -> bool:
        """Whether every bar was met and every control was caught."""
        return bool(self.rows) and all(row["ok"] for row in self.rows)

    def finish(self, columns: Sequence[str]) -> int:
        """Print the table; return the exit code."""
        print("\n" + table(self.rows, columns), file=sys.stderr)
        return 0 if self.ok else 1


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Return aligned text: the columns named, then the verdict."""
    cells = [[*columns, "verdict"]]
    for row in rows:
        cells.append([*(_text(row.get(column, "")) for column in columns), _verdict(row)])
    widths = [max(len(line[at]) for line in cells) for at in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) if at else cell.ljust(width)
                  for at, (cell, width) in enumerate(zip(line, widths, strict=True)))
        for line in cells
    )  # fmt: skip


def _verdict(row: Row) -> str:
    if row["control"]:
        return "caught" if row["ok"] else "NOT CAUGHT"
    return "ok" if row["ok"] else "; ".join(row["missed"])


def _text(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)[:60]
