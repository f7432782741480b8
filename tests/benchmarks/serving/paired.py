"""Our server (or a peer) and the bare loop in turns of seconds, for a machine whose speed drifts. See README.md.

    python tests/benchmarks/serving/paired.py --model-dir DIR --bodies DIR --connections 64 --max-batch 8

Both stay up and warm; while one works the other sleeps. Each turn's answers per second are held against the loop's
just before and just after; a round is a few such turns and gives one ratio, so that a jolt of the host does not make
it. The loop's batches are sorted by length, always all of them, of the size that was faster at the start. The
server's first and last answers of a turn, while its queue fills and drains, do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import uvloop
from generator import Client, Load, requests
from peers import Bare, served
from run import NEEDS, ROOT, command, interval, pinned, stop, wait_until_ready

EDGE_S = 0.4


class Turns(Load):
    """A closed loop that can pause: connections then wait until all go on at once."""

    def __init__(self, found: list[bytes]) -> None:
        super().__init__(found, 0.0, 1e9)
        self._idle: list[Client] = []
        self._on = False
        self.done_s: list[float] = []
        self.errors = 0

    def free(self, client: Client) -> None:
        """A connection can take a request."""
        if self._on:
            super().free(client)
        else:
            self._idle.append(client)

    def record(self, status: int, latency_s: float, now: float) -> None:
        """Keep when each answer came."""
        self.done_s.append(now)
        self.errors += status != 200

    async def turn(self, seconds: float, connections: int) -> float:
        """Load for ``seconds``; return the answers per second between the edges."""
        self._on, start = True, time.perf_counter()
        self.done_s.clear()
        idle, self._idle = self._idle, []
        for client in idle:
            super().free(client)
        await asyncio.sleep(seconds)
        self._on = False
        while len(self._idle) < connections:
            await asyncio.sleep(0.005)
        begin, end = start + EDGE_S, start + seconds
        return sum(begin < at < end for at in self.done_s) / (seconds - EDGE_S)


def bare(model_dir: str, max_batch: int, bodies: str, seconds: float) -> None:
    """Measure at each line of stdin; choose the batch size first."""
    model = served(model_dir, max_batch)
    loops = {size: Bare(model, bodies, size) for size in sorted({1, model.max_batch})}
    tried: dict[int, list[float]] = {size: [] for size in loops}
    for _ in range(4):
        for size, loop in loops.items():
            tried[size].append(loop.rate(0.5)[0])
    best = max(loops, key=lambda size: statistics.median(tried[size]))
    print(json.dumps({"batch": best}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(loops[best].rate(seconds)), flush=True)


def ask(loop: subprocess.Popen[str]) -> float:
    """Let the bare loop have its turn; return its answers per second."""
    assert loop.stdin is not None
    loop.stdin.write("\n")
    loop.stdin.flush()
    return float(answer(loop.stdout)[0])


def answer(out: IO[str] | None) -> Any:
    """Return the next line of the bare loop."""
    assert out is not None
    return json.loads(out.readline())


async def play(
    port: int, loop: subprocess.Popen[str], options: argparse.Namespace
) -> list[tuple[float, ...]]:
    """Take turns; return each round's two rates, the means of its turns."""
    load = Turns(requests(options.bodies, options.content_type))
    for _ in range(options.connections):
        await asyncio.get_running_loop().create_connection(lambda: Client(load), "127.0.0.1", port)
    await load.turn(2.0, options.connections)
    found, before = [], ask(loop)
    for _ in range(options.rounds):
        pairs = []
        for _ in range(options.turns):
            rps = await load.turn(options.seconds, options.connections)
            after = ask(loop)
            pairs.append((rps, (before + after) / 2))
            before = after
        found.append(tuple(statistics.mean(side) for side in zip(*pairs, strict=True)))
    if load.errors or load.lost:
        raise SystemExit(f"{load.errors} answers were not 200, {load.lost} connections lost")
    return found


def main() -> None:
    """Measure; print the medians and every ratio as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="ours", choices=list(NEEDS))
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--bodies", type=Path, required=True)
    parser.add_argument("--content-type", default="application/json")
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--turns", type=int, default=3, help="of each, in one round")
    parser.add_argument("--cores", type=lambda s: [int(n) for n in s.split(",")], default=[0, 1])
    options = parser.parse_args()
    options.python = {}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
                   "CONTENT_TYPE": options.content_type}  # fmt: skip
    script = [sys.executable, __file__, "bare", str(options.model_dir), str(options.max_batch),
              str(options.bodies), str(options.seconds)]  # fmt: skip
    loop = subprocess.Popen(
        pinned(script, options.cores[0]), env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    batch = answer(loop.stdout)["batch"]
    server = subprocess.Popen(
        pinned(command(options.server, port, options), options.cores[0]),
        env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        os.sched_setaffinity(0, {options.cores[1]})
        wait_until_ready(port, next(iter(sorted(options.bodies.iterdir()))), options.content_type)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(play(port, loop, options))
    finally:
        stop(server)
        loop.kill()
        loop.wait()
    ratios = [rps / rate for rps, rate in found]
    low, high = interval(ratios)
    print(json.dumps({
        "server": options.server,
        "connections": options.connections,
        "rps": round(statistics.median(rps for rps, _ in found), 1),
        "bare_rps": round(statistics.median(rate for _, rate in found), 1),
        "bare_batch": batch,
        "ratio": round(statistics.median(ratios), 4),
        "95%": [round(low, 4), round(high, 4)],
        "ratios": [round(ratio, 3) for ratio in ratios],
    }))  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        bare(sys.argv[2], int(sys.argv[3]), sys.argv[4], float(sys.argv[5]))
    else:
        main()
