"""Overload: many times more requests than the server can answer, and what becomes of the others.

    python tests/benchmarks/serving/overload.py                       # 3x and 10x, 60 s each, a small CNN
    python tests/benchmarks/serving/overload.py --bundle dist/sentence-encoder-*.tar.gz --bodies DIR

Bars: goodput (right answers within the objective) above 0.9 of the capacity, the mean of those measured just before
and just after; p99 of the admitted under the objective, nothing hangs or is lost, memory grows by less than 64 MB,
and from 1 s after the overload on every request is answered within the objective. The control is the same server
without limits (a queue of a million, no deadline): it must miss.

``stolen`` is what the host took of the server's core meanwhile, in percent. A case of which it took more than
``--quiet-percent`` is kept in the results and measured again, ``--tries`` times at most; the last one counts.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import numpy as np
import uvloop
from client import Load, Outcome, lag_ms, percentile_ms, tally
from judge import Judge, golden
from record import Record
from run import stolen_percent
from subject import Server, Subject, add_options, load_apart, more_files, subject

MEMORY_BAR_MB = 64.0
AFTER_S = 6.0
COLUMNS = ("case", "stolen", "capacity_rps", "offered_rps", "goodput", "p50_ms", "p99_ms", "refused", "late",
           "hung", "lost", "wrong", "memory_growth_mb", "recovery_s", "client_lag_p99_ms")  # fmt: skip


def main() -> int:
    """Measure; return 0 when every bar is met and the control is caught."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--times", default="3,10", help="multiples of capacity")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each overload")
    parser.add_argument("--objective-ms", type=int, default=1000)
    parser.add_argument("--capacity-seconds", type=float, default=8.0)
    parser.add_argument("--quiet-percent", type=float, default=2.0)
    parser.add_argument("--tries", type=int, default=3)
    options = parser.parse_args()
    more_files()
    with subject(options) as what, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        judge = Judge(golden(what.model_dir, what.bodies), options.limit)
        record = Record("overload", what.name, options.results)
        load_apart(options.server_core)
        for times in (float(text) for text in options.times.split(",")):
            for attempt in range(1, options.tries + 1):
                row = runner.run(_case(what, judge, times, options, options.seconds))
                if float(row["stolen"]) <= options.quiet_percent or attempt == options.tries:
                    break
                record.note({**row, "case": f"{times:g}x, disturbed"})
            record.add(row, _missed(row, options.objective_ms))
        row = runner.run(_case(what, judge, 3.0, options, min(15.0, options.seconds), control=True))
        record.add(row, _missed(row, options.objective_ms), control=True)
    return record.finish(COLUMNS)


async def _case(
    what: Subject,
    judge: Judge,
    times: float,
    options: argparse.Namespace,
    seconds: float,
    control: bool = False,
) -> dict[str, object]:
    """Measure the capacity, overload, and watch the recovery, on one fresh server."""
    limits = ["--queue-limit", "1000000"] if control else []
    # The caller's own time on the way, a fiftieth, is not the server's to spend.
    deadline = b"" if control else b"x-deadline-ms: %d\r\n" % (options.objective_ms * 49 // 50)
    server = Server(what.model_dir, *limits, core=options.server_core)
    with server:
        before = Load(server.port, what.bodies, judge, timeout_s=70.0)
        capacity = await before.closed_loop(64, options.capacity_seconds)
        watch = asyncio.create_task(_watch_memory(server))
        stolen_percent(options.server_core)
        load = Load(server.port, what.bodies, judge, deadline, timeout_s=70.0)
        rng = np.random.default_rng(1)
        offsets = _poisson(rng, times * capacity, seconds)
        offsets += [seconds + offset for offset in _poisson(rng, 0.5 * capacity, AFTER_S)]
        start = time.monotonic()
        await load.open_loop(offsets)
        stolen = stolen_percent(options.server_core)
        watch.cancel()
        memory = (await asyncio.gather(watch, return_exceptions=True))[0]
        again = Load(server.port, what.bodies, judge, timeout_s=70.0)
        capacities = capacity, await again.closed_loop(64, options.capacity_seconds)
    end = start + 0.05 + seconds
    during = [o for o in load.outcomes if o.due_s < end]
    after = [o for o in load.outcomes if o.due_s >= end]
    objective_s = options.objective_ms / 1000
    good = [o for o in during if o.status == 200 and o.right and o.latency_s <= objective_s]
    in_time = [o for o in good if o.done_s <= end]
    return {
        "case": "no limits, 3x" if control else f"{times:g}x",
        "seconds": seconds,
        "objective_ms": options.objective_ms,
        "stolen": stolen,
        "capacity_rps": round(sum(capacities) / 2, 1),
        "capacities_rps": [round(each, 1) for each in capacities],
        "offered_rps": round(len(during) / seconds, 1),
        "goodput_rps": round(len(in_time) / seconds, 1),
        "goodput": round(2 * len(in_time) / seconds / sum(capacities), 4),
        "p50_ms": percentile_ms(during, 50),
        "p99_ms": percentile_ms(during, 99),
        **tally(load.outcomes),
        "refusal_p99_ms": _refusal_ms(during),
        "client_lag_p99_ms": lag_ms(load.outcomes),
        "memory_mb": memory[0],
        "memory_growth_mb": memory[1],
        "recovery_s": _recovery_s(after, end, objective_s),
        "after": tally(after),
        "worst_distance": judge.worst,
    }


async def _watch_memory(server: Server) -> tuple[float, float]:
    """Return memory at the start and the most it grew, in MB, until cancelled."""
    first = most = await asyncio.to_thread(server.memory_mb)
    try:
        while True:
            await asyncio.sleep(1.0)
            most = max(most, await asyncio.to_thread(server.memory_mb))
    except asyncio.CancelledError:
        return round(first, 1), round(most - first, 1)


def _poisson(rng: np.random.Generator, rate: float, seconds: float) -> list[float]:
    gaps = rng.exponential(1 / rate, round(rate * seconds * 1.1) + 10)
    times = np.cumsum(gaps)
    return [float(t) for t in times[times < seconds]]


def _recovery_s(after: list[Outcome], end: float, objective_s: float) -> float:
    """Return when, after the overload, the last request came that was not answered within the objective."""
    bad = [o.due_s for o in after if o.status != 200 or not o.right or o.latency_s > objective_s]
    return round(max(bad) - end, 3) if bad else 0.0


def _refusal_ms(outcomes: list[Outcome]) -> float | None:
    found = [o.latency_s for o in outcomes if o.status == 503]
    return round(1000 * float(np.percentile(found, 99)), 2) if found else None


def _missed(row: dict[str, object], objective_ms: int) -> list[str]:
    bars = {
        "goodput": float(row["goodput"]) > 0.9,
        "p99 over the objective": float(row["p99_ms"]) <= objective_ms,
        "hung": row["hung"] == 0,
        "lost": row["lost"] == 0,
        "failed": row["failed"] == 0,
        "wrong": row["wrong"] == 0,
        "memory": float(row["memory_growth_mb"]) < MEMORY_BAR_MB,
        "recovery": float(row["recovery_s"]) <= 1.0,
        "the client was too slow to tell": float(row["client_lag_p99_ms"]) < objective_ms / 10,
    }
    return [name for name, met in bars.items() if not met]


if __name__ == "__main__":
    sys.exit(main())
