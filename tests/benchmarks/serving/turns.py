"""Servers side by side in turns of seconds: all stay up, one works while the others wait. See README.md.

    python tests/benchmarks/serving/turns.py --servers ours,granian --connections 1
    python tests/benchmarks/serving/turns.py --servers ours,granian --rate 60 --model-dir DIR --bodies DIR
    python tests/benchmarks/serving/turns.py --servers ours,ours@/path/to/another/checkout

A round is one turn of each, in random order (a host's own rhythm must not meet the same server each time); in an
open loop all get the same arrivals. Answers are compared with the in-process ones first. A round counts as quiet when
the host took no more than ``--quiet-percent`` of the server's core in any of its turns; both tables are printed, of
all rounds and of the quiet ones. ``rps x`` and ``p99 x`` are the ratios to the first server, medians over the rounds
with their 95% intervals; ``p50`` and ``p99`` hold all answers of all turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import uvloop
from generator import OPEN_CONNECTIONS, Client, Load, OpenLoad, requests
from run import (
    HERE,
    NEEDS,
    ROOT,
    command,
    compare,
    installed,
    interval,
    numbers,
    output,
    pinned,
    pythons,
    stolen_percent,
    stop,
    tiny,
    wait_until_ready,
)

WARM_S = 0.4
#: An open loop's turn ends when its answers are there, or after so many seconds more.
DRAIN_S = 20.0


class Turn(NamedTuple):
    """One server's seconds of work; ``cpu_us`` is processor time of all its processes per answer."""

    rps: float
    latencies_s: list[float]
    cpu_us: float
    stolen: float
    failed: int


def main() -> None:
    """Measure in turns; print each as JSON to stderr, then the tables."""
    options = _options()
    names = [n for n in options.servers.split(",") if installed(n.partition("@")[0], options)]
    rounds: list[dict[str, Turn]] = []
    shuffle = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        if options.model_dir is None:
            options.model_dir, options.bodies = tiny(Path(folder))
        script = [sys.executable, str(HERE / "peers.py"), "answers"]
        places = [str(options.model_dir), str(options.bodies)]
        options.answers = [numbers(a) for a in output([*script, *places], options.cores[0])]
        with running(names, options) as servers:
            os.sched_setaffinity(0, {options.cores[1]})
            for number in range(-1, options.rounds):
                order = shuffle.sample(names, len(names))
                turns = {name: turn(*servers[name], number, options) for name in order}
                if number >= 0:  # the first round warms up
                    rounds.append({name: turns[name] for name in names})
                    _tell(number, turns)
    quiet = [r for r in rounds if max(t.stolen for t in r.values()) <= options.quiet_percent]
    print(f"all {len(rounds)} rounds of {options.seconds:g} s\n{table(rounds)}")
    if quiet:
        print(f"the {len(quiet)} quiet rounds\n{table(quiet)}")


@contextmanager
def running(
    names: list[str], options: argparse.Namespace
) -> Iterator[dict[str, tuple[int, psutil.Process]]]:
    """Start the servers; yield port and process of each, warm and found to answer right."""
    servers: dict[str, tuple[int, psutil.Process]] = {}
    processes: list[subprocess.Popen[bytes]] = []
    body = min(options.bodies.iterdir())
    try:
        for name in names:
            kind, _, checkout = name.partition("@")
            environment = {**os.environ, "PYTHONPATH": checkout or str(ROOT), "OMP_NUM_THREADS": "1",
                           "CONTENT_TYPE": options.content_type}  # fmt: skip
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            processes.append(
                subprocess.Popen(
                    pinned(command(kind, port, options), options.cores[0]),
                    env=environment,
                    cwd=checkout or None,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            servers[name] = port, psutil.Process(processes[-1].pid)
            wait_until_ready(port, body, options.content_type)
            likeness = compare(port, options)
            if likeness < options.least_cosine:
                raise SystemExit(
                    f"{name} answers otherwise than the model in process: cosine {likeness:.4f}"
                )
        yield servers
    finally:
        for process in processes:
            stop(process)


def turn(port: int, process: psutil.Process, number: int, options: argparse.Namespace) -> Turn:
    """Let one server work; ``number`` chooses the arrivals of an open loop."""
    found = requests(options.bodies, options.content_type)
    family = [process, *process.children(recursive=True)]
    stolen_percent(options.cores[0])
    before = _processor_s(family)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load = runner.run(_work(port, found, number, options))
    used_s = _processor_s(family) - before
    return Turn(
        len(load.latencies) / options.seconds,
        load.latencies,
        1e6 * used_s / max(1, load.answered),
        stolen_percent(options.cores[0]),
        load.lost + sum(count for status, count in load.statuses.items() if status != 200),
    )


async def _work(port: int, found: list[bytes], number: int, options: argparse.Namespace) -> Load:
    """Return the load of one turn, all of it answered."""
    load: Load
    if options.rate is None:
        load, count = Load(found, WARM_S, options.seconds), options.connections
    else:
        load = OpenLoad(found, WARM_S, options.seconds, options.rate, seed=2 + number)
        count = OPEN_CONNECTIONS
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: Client(load), "127.0.0.1", port))[1]
        for _ in range(count)
    ]
    await load.run()
    end = time.perf_counter() + DRAIN_S
    while load.in_flight and time.perf_counter() < end:
        await asyncio.sleep(0.005)
    load.over = True
    for client in clients:
        client.close()
    return load


def table(rounds: list[dict[str, Turn]]) -> str:
    """Return what the rounds say of each server, the first as the measure of the others."""
    first = next(iter(rounds[0]))
    lines = [
        f"{'server':24} {'rps':>9} {'p50 ms':>9} {'p99 ms':>9} {'cpu us':>9} {'failed':>6}  rps x and p99 x of {first}"
    ]
    for name in rounds[0]:
        turns = [found[name] for found in rounds]
        pairs = [(found[name], found[first]) for found in rounds]
        every = sorted(second for each in turns for second in each.latencies_s)
        cells = [
            f"{statistics.median(t.rps for t in turns):9.1f}",
            f"{1000 * _at(every, 0.5):9.3f}",
            f"{1000 * _at(every, 0.99):9.3f}",
            f"{statistics.median(t.cpu_us for t in turns):9.1f}",
            f"{sum(t.failed for t in turns):6}",
        ]
        if name != first:
            rates = [one.rps / other.rps for one, other in pairs]
            tails = [
                _at(sorted(one.latencies_s), 0.99) / _at(sorted(other.latencies_s), 0.99)
                for one, other in pairs
            ]
            cells.append(f" {_ratio(rates)}  {_ratio(tails)}")
        lines.append(f"{name:24} " + " ".join(cells))
    return "\n".join(lines)


def _ratio(values: list[float]) -> str:
    low, high = interval(values)
    return f"{statistics.median(values):.3f} ({low:.3f} to {high:.3f})"


def _at(ordered: list[float], share: float) -> float:
    return ordered[int(len(ordered) * share)]


def _processor_s(family: list[psutil.Process]) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in family))


def _tell(number: int, turns: dict[str, Turn]) -> None:
    for name, each in turns.items():
        p99_ms = round(1000 * _at(sorted(each.latencies_s), 0.99), 3)
        found = {"round": number, "server": name, "rps": round(each.rps, 1), "p99_ms": p99_ms,
                 "cpu_us": round(each.cpu_us, 1), "stolen": each.stolen}  # fmt: skip
        print(json.dumps(found), file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", default="ours,granian", help=f"of {', '.join(NEEDS)}")
    parser.add_argument("--model-dir", type=Path, help="the tiny network when not given")
    parser.add_argument("--bodies", type=Path, help="a folder with one request body per file")
    parser.add_argument("--content-type", default="application/json")
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--connections", type=int, default=64, help="of the closed loop")
    parser.add_argument("--rate", type=float, help="open loop at this rate, in place of the closed")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the order")
    parser.add_argument("--quiet-percent", type=float, default=2.0)
    parser.add_argument("--least-cosine", type=float, default=0.95)
    parser.add_argument("--cores", type=lambda s: [int(n) for n in s.split(",")], default=[0, 1])
    parser.add_argument(
        "--python", type=pythons, default={}, metavar="NAME=PATH,...",
        help="the Python of a peer whose packages do not go with ours",
    )  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    main()
