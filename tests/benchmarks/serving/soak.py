"""Soak: hours in minutes' clothing. A steady load for long, and whether anything drifts.

    python tests/benchmarks/serving/soak.py --minutes 30            # what the README states
    python tests/benchmarks/serving/soak.py --minutes 3             # a glance

The load is open loop at 70% of the capacity measured first: the same Poisson arrivals and bodies again in
every window, so that windows differ by server and host alone. Then a fresh server starts beside the old one, and the
same window goes to the two in turns, in random order: what differs now is the server's age. Turns of which the host
took more than ``--quiet-percent`` of the core do not count, while there are three quiet ones. Bars: the old one's p99
is within 5% of the fresh one's (median over the turns), memory grows by less than 1%, every answer is right, no
descriptor is leaked. Two figures are told beside them: ``cpu_drift``, the same of the processor time per answer, which
other guests of the host disturb less, and ``p99_change`` from the first third of the windows to the last, which holds
the host's own drift. The control is a handler that leaks 16 KiB per request: it must be caught within a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uvloop
from client import Load, Outcome, lag_ms, percentile_ms, tally
from judge import Judge, golden
from record import Record
from run import interval, stolen_percent
from subject import (
    Server,
    Subject,
    add_options,
    load_apart,
    moody,
    more_files,
    subject,
    with_fault,
)

DRIFT_BAR, GROWTH_BAR = 0.05, 0.01
LEAST_QUIET = 3
COLUMNS = ("case", "minutes", "rate_rps", "offered", "right", "wrong", "refused", "late", "failed",
           "p50_ms", "p99_ms", "p99_change", "p99_drift", "cpu_drift", "memory_mb", "memory_growth")  # fmt: skip


class Part(NamedTuple):
    """What one server did in a turn; ``cpu_us`` is its processor time per request."""

    outcomes: list[Outcome]
    cpu_us: float


class Turn(NamedTuple):
    """One turn of the old and the fresh server, and what the host took of the core meanwhile, in percent."""

    old: Part
    fresh: Part
    stolen: float


def main() -> int:
    """Soak, then the control; return 0 when every bar is met and the leak is caught."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--load", type=float, default=0.7, help="share of capacity")
    parser.add_argument("--window-s", type=float, default=30.0)
    parser.add_argument("--turns", type=int, default=30, help="of the old and a fresh server")
    parser.add_argument("--turn-s", type=float, default=10.0)
    parser.add_argument("--quiet-percent", type=float, default=2.0)
    parser.add_argument("--control-minutes", type=float, default=1.0)
    options = parser.parse_args()
    more_files()
    with subject(options) as what, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        record = Record("soak", what.name, options.results)
        judge = Judge(golden(what.model_dir, what.bodies), options.limit)
        load_apart(options.server_core)
        row = runner.run(
            _soak(what, judge, options, options.minutes, options.window_s, options.turns)
        )
        record.add(row, _missed(row))
    if options.control_minutes:
        with tempfile.TemporaryDirectory(prefix="deployer-soak-") as name:
            row = _control(Path(name), options)
        record.add(row, [m for m in _missed(row) if m == "memory grew"], control=True)
    return record.finish(COLUMNS)


def _control(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Soak a handler that leaks; in a loop of its own."""
    model_dir, bodies = moody(folder)
    judge = Judge(golden(model_dir, bodies))
    leaking = Subject("leak", model_dir, tuple(with_fault(body, "leak") for body in bodies))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        minutes = options.control_minutes
        row = runner.run(_soak(leaking, judge, options, minutes, minutes * 10, 0))
    return {**row, "case": "a handler that leaks"}


async def _soak(
    what: Subject,
    judge: Judge,
    options: argparse.Namespace,
    minutes: float,
    window_s: float,
    turns: int,
) -> dict[str, Any]:
    """Load one server for ``minutes`` after a window to warm up, then in ``turns`` with a fresh one."""
    with Server(what.model_dir, core=options.server_core) as server:
        before = Load(server.port, what.bodies, judge)
        capacity = await before.closed_loop(32, 8.0)
        windows = max(3, round(minutes * 60 / window_s))
        offsets = _window(options.load * capacity, window_s)
        load = Load(server.port, what.bodies, judge)
        memory: list[tuple[float, float]] = []
        sampling = asyncio.create_task(_sample(server, memory))
        start = time.monotonic()
        # One more window, to warm up, that is not counted.
        await load.open_loop([n * window_s + at for n in range(windows + 1) for at in offsets])
        files = server.open_files()
        sampling.cancel()
        short = [at for at in offsets if at < options.turn_s]
        found = await _against_fresh(server, what, judge, options, short, turns)
    beside = [outcome for turn in found for part in turn[:2] for outcome in part.outcomes]
    edges = [start + 0.05 + n * window_s for n in range(1, windows + 2)]
    parts = _split(load.outcomes, edges)
    counted = [outcome for part in parts for outcome in part]
    p99s = [percentile_ms(part, 99) for part in parts]
    levels = [mb for at, mb in memory if at >= edges[0]]
    return {
        "case": f"{options.load:.0%} load",
        "minutes": round(windows * window_s / 60, 2),
        "capacity_rps": round(capacity, 1),
        "rate_rps": round(len(offsets) / window_s, 1),
        **tally(counted + beside),
        "p50_ms": percentile_ms(counted, 50),
        "p99_ms": percentile_ms(counted, 99),
        "p99_by_window_ms": p99s,
        "p99_change": _change(p99s),
        **_drift(found, options.quiet_percent),
        "memory_mb": levels[-1],
        "memory_growth": _change(levels),
        "open_files": files,
        "client_lag_p99_ms": lag_ms(counted),
    }


async def _against_fresh(
    old: Server,
    what: Subject,
    judge: Judge,
    options: argparse.Namespace,
    offsets: list[float],
    turns: int,
) -> list[Turn]:
    """Return what the old and a fresh server did with the same window, in turns."""
    if not turns:
        return []
    found: list[Turn] = []
    shuffle = random.Random(1)
    with Server(what.model_dir, core=options.server_core) as fresh:

        async def part(server: Server) -> Part:
            load, before_s = Load(server.port, what.bodies, judge), server.processor_s()
            await load.open_loop(offsets)
            used_s = server.processor_s() - before_s
            return Part(load.outcomes, 1e6 * used_s / len(offsets))

        await part(fresh)
        for _ in range(turns):
            stolen_percent(options.server_core)
            by_server = {s: await part(s) for s in shuffle.sample((old, fresh), 2)}
            stolen = stolen_percent(options.server_core)
            found.append(Turn(by_server[old], by_server[fresh], stolen))
    return found


async def _sample(server: Server, into: list[tuple[float, float]]) -> None:
    """Note time and memory in MB every two seconds, until cancelled."""
    while True:
        into.append((time.monotonic(), round(await asyncio.to_thread(server.memory_mb), 2)))
        await asyncio.sleep(2.0)


def _window(rate: float, seconds: float) -> list[float]:
    times = np.cumsum(np.random.default_rng(5).exponential(1 / rate, round(rate * seconds * 1.2)))
    return [float(t) for t in times[times < seconds]]


def _split(outcomes: list[Outcome], edges: list[float]) -> list[list[Outcome]]:
    """Return the outcomes by the window in which they were due."""
    parts: list[list[Outcome]] = [[] for _ in edges[1:]]
    for outcome in outcomes:
        at = int(np.searchsorted(edges, outcome.due_s, side="right")) - 1
        if 0 <= at < len(parts):
            parts[at].append(outcome)
    return parts


def _change(values: list[float]) -> float:
    """Return the relative change from the median of the first third to that of the last."""
    third = max(1, len(values) // 3)
    first, last = statistics.median(values[:third]), statistics.median(values[-third:])
    return round(last / first - 1, 4)


def _drift(turns: list[Turn], quiet_percent: float) -> dict[str, Any]:
    """Return by how much the old server exceeds the fresh one, in the quiet turns if there are enough."""
    if not turns:
        return {}
    quiet = [turn for turn in turns if turn.stolen <= quiet_percent]
    counted = quiet if len(quiet) >= LEAST_QUIET else turns
    p99s = [
        (percentile_ms(t.old.outcomes, 99), percentile_ms(t.fresh.outcomes, 99)) for t in counted
    ]
    p99, p99_bounds = _excess(p99s)
    cpu, cpu_bounds = _excess([(t.old.cpu_us, t.fresh.cpu_us) for t in counted])
    return {
        "quiet_turns": len(quiet),
        "p99_old_and_fresh_ms": p99s,
        "p99_drift": p99,
        "p99_drift_95%": p99_bounds,
        "cpu_drift": cpu,
        "cpu_drift_95%": cpu_bounds,
    }


def _excess(pairs: list[tuple[float, float]]) -> tuple[float, list[float]]:
    """Return by how much the first of a pair exceeds the second, and the 95% interval of this median."""
    ratios = [old / fresh for old, fresh in pairs]
    return round(statistics.median(ratios) - 1, 4), [round(b - 1, 4) for b in interval(ratios)]


def _missed(row: dict[str, Any]) -> list[str]:
    bars = {
        "p99 drifted": abs(row.get("p99_drift", np.inf)) < DRIFT_BAR,
        "memory grew": row["memory_growth"] < GROWTH_BAR,
        "not every answer is right": row["right"] == row["offered"],
        "descriptors leaked": row["open_files"] < 200,
    }
    return [name for name, met in bars.items() if not met]


if __name__ == "__main__":
    sys.exit(main())
