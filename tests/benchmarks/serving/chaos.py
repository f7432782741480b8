"""Chaos under load: one fault at a time against a real server that is answering real requests.

    python tests/benchmarks/serving/chaos.py                    # every fault, about four minutes
    python tests/benchmarks/serving/chaos.py --only kill,stop

Beside each fault an open-loop load runs whose every answer is compared with the in-process one, and a health
checker asks /ping on connections of its own. Bars: no wrong answer, nothing hangs; other requests unharmed (no
error at all, unless the only worker is gone); /ping never says 200 for more than 2 s while nothing is
answered, nor 503 for more than 2 s while all is well; afterwards every request is answered. Two controls must
be caught: a health check that does not ask the model, and answers that are another request's.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import faults
import uvloop
from client import Load, Outcome, percentile_ms, tally
from health import Ping, Watch, false_alarm_s, lie_s
from judge import Judge, golden
from record import Record
from subject import Body, Server, load_apart, moody, more_files

TRUTH_BAR_S = 2.0
COLUMNS = ("fault", "offered", "right", "wrong", "refused", "late", "failed", "lost", "hung", "p99_ms",
           "ping_lie_s", "ping_alarm_s", "ping_p99_ms")  # fmt: skip


def main() -> int:
    """Run the faults; return 0 when every bar is met and both controls are caught."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="names of faults, divided by commas")
    parser.add_argument(
        "--rate", type=float, default=80.0, help="requests per second beside a fault"
    )
    parser.add_argument("--server-core", type=int, default=0, metavar="N", help="-1: any")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    chosen = [name for name in options.only.split(",") if name] or list(faults.ALL)
    more_files()
    with tempfile.TemporaryDirectory(prefix="deployer-chaos-") as name:
        model_dir, bodies = moody(Path(name))
        right = golden(model_dir, bodies)
        record = Record("chaos", "small-cnn", options.results)
        load_apart(options.server_core)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            for fault in (faults.ALL[name] for name in chosen):
                row = runner.run(_case(fault, model_dir, bodies, Judge(right), options))
                record.add(row, _missed(row, fault))
            if not options.only:
                _controls(runner, record, model_dir, bodies, right, options)
    return record.finish(COLUMNS)


def _controls(
    runner: asyncio.Runner, record: Record, model_dir: Path, bodies: list[Body],
    right: list[bytes], options: argparse.Namespace,
) -> None:  # fmt: skip
    stop = faults.ALL["stop"]
    row = runner.run(_case(stop, model_dir, bodies, Judge(right), options, liar=True))
    row["fault"] = "a /ping that asks no model"
    record.add(row, [m for m in _missed(row, stop) if "/ping" in m], control=True)
    calm = faults.ALL["none"]
    others = Judge([*right[1:], right[0]])
    row = runner.run(_case(calm, model_dir, bodies, others, options))
    row["fault"] = "answers of other requests"
    record.add(row, [m for m in _missed(row, calm) if m == "wrong"], control=True)


async def _case(
    fault: faults.Fault,
    model_dir: Path,
    bodies: list[Body],
    judge: Judge,
    options: argparse.Namespace,
    liar: bool = False,
) -> dict[str, Any]:
    """Run one fault beside the load on a fresh server; return what became of everyone."""
    with faults.log_for(fault) as log:
        server = Server(
            model_dir, *fault.arguments, core=options.server_core, files=fault.files, log=log
        )
        try:
            await asyncio.to_thread(server.wait_until_ready, 60.0, fault.workers)
            return await _under_load(fault, server, bodies, judge, options.rate, liar)
        finally:
            server.stop()


async def _under_load(
    fault: faults.Fault, server: Server, bodies: list[Body], judge: Judge, rate: float, liar: bool
) -> dict[str, Any]:
    load = Load(server.port, bodies, judge, timeout_s=20.0)
    lie = await asyncio.start_server(_always_fine, "127.0.0.1", 0) if liar else None
    watch = Watch(lie.sockets[0].getsockname()[1] if lie else server.port)
    count = round(rate * (fault.seconds + 2.0))
    driving = asyncio.create_task(load.open_loop([at / rate for at in range(count)]))
    watching = asyncio.create_task(watch.run())
    await asyncio.sleep(1.0)
    memory_mb = await asyncio.to_thread(server.memory_mb)
    begun = time.monotonic()
    facts = await faults.inject(fault, server, bodies, judge)
    await driving
    watching.cancel()
    last = Load(server.port, bodies, judge, timeout_s=10.0)
    await asyncio.sleep(1.0)
    await last.open_loop([at / 50 for at in range(100)])
    if lie:
        lie.close()
    return _row(fault, load.outcomes, last.outcomes, watch.pings, facts) | {
        "fault_s": round(time.monotonic() - begun, 1),
        "memory_growth_mb": round(await asyncio.to_thread(server.memory_mb) - memory_mb, 1),
    }


def _row(
    fault: faults.Fault,
    outcomes: list[Outcome],
    after: list[Outcome],
    pings: list[Ping],
    facts: dict[str, Any],
) -> dict[str, Any]:
    good_s = sorted(o.done_s for o in outcomes if o.status == 200)
    # While requests are under way: after the last was sent, silence is no sign of anything.
    begin_s, end_s = outcomes[0].done_s, max(o.due_s for o in outcomes)
    pings = [ping for ping in pings if begin_s <= ping.at_s <= end_s]
    answered = sorted(ping.took_s for ping in pings if ping.status)
    return {
        "fault": fault.name,
        **tally(outcomes),
        "p99_ms": percentile_ms(outcomes, 99),
        "ping_lie_s": round(lie_s(pings, good_s), 3),
        "ping_alarm_s": round(false_alarm_s(pings, good_s), 3),
        "ping_p99_ms": round(1000 * answered[int(0.99 * len(answered))], 1) if answered else None,
        "ping_unanswered": sum(not ping.status for ping in pings),
        "after": tally(after),
        "facts": facts,
    }


def _missed(row: dict[str, Any], fault: faults.Fault) -> list[str]:
    harmed = sum(row[key] for key in ("refused", "late", "failed", "lost"))
    slow = row["ping_p99_ms"] is None or row["ping_p99_ms"] > 1000 * TRUTH_BAR_S
    bars = {
        "wrong": row["wrong"] == 0,
        "hung": row["hung"] == 0,
        "others harmed": harmed <= fault.harms,
        "/ping lies": row["ping_lie_s"] <= TRUTH_BAR_S,
        "/ping cries wolf": row["ping_alarm_s"] <= TRUTH_BAR_S,
        "/ping is slow": not slow,
        "not well afterwards": row["after"]["right"] == row["after"]["offered"],
        **{name: bool(met) for name, met in row["facts"].items() if isinstance(met, bool)},
    }
    return [name for name, met in bars.items() if not met]


async def _always_fine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The health check of many a sidecar: it answers for itself."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    writer.close()


if __name__ == "__main__":
    sys.exit(main())
