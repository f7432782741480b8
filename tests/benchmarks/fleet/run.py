"""Must show: nothing drops on a local fleet while it scales, rolls out, rolls back and is told to end.

``python tests/benchmarks/fleet/run.py`` starts real servers behind a real HAProxy that sends nothing twice, and posts
in an open loop, on kept connections, at 70% of what one server can do; meanwhile, round after round, it scales from 4
to 1 and back, rolls a new bundle out, starts a canary that is too slow, and sends SIGTERM to a server. Then, apart,
it kills one with SIGKILL and counts what was lost. ``--without-drain`` is the control: the same with servers that end
at once.

The handler sleeps 20 ms for a batch of at most four, so that a machine of few cores can hold four servers: one does
200 requests/s at most, and 140 are sent. Prints JSON; exit 1 when a request failed that must not, or when the control
lost nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from deployer import api, machine
from deployer.clients.base import Body
from deployer.deployments.local import server as servers
from deployer.deployments.local import verbs as local
from deployer.deployments.local.balanced.haproxy import Balancer
from deployer.deployments.state import Store
from deployer.errors import ConditionFailed
from deployer.load import loadtest
from deployer.runs import Run
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.rollout import Canary, Rolling
from deployer.spec.target import Local
from deployer.traffic import arrivals
from inference_code.contract import ServingConfig

NAME = "zero-drop"
SLEEP_S, MAX_BATCH = 0.02, 4
CAPACITY_RPS = MAX_BATCH / SLEEP_S
LOAD = 0.7
ROUND_S = 75.0
"""More than one round takes: none begins with less of the load left."""
_FAILURE = re.compile(r" fleet/(\S+) \S+ (\d+) \d+ \S+ \S+ (\S{2})")
HANDLER = """
import time

from inference_code.handler import Handler as Base


class Handler(Base):
    batches = True

    def load(self, context):
        self.version = context.model.read_text()

    def predict(self, items):
        time.sleep({sleep_s})
        return [{{"version": self.version}} for _ in items]
"""


def bundle(folder: Path, version: str, sleep_s: float, drain_s: float) -> Path:
    """Package a handler that sleeps."""
    place = folder / version
    (place / "samples").mkdir(parents=True)
    (place / "samples" / "one.json").write_text('{"x": 1}')
    (place / "weights.txt").write_text(version)
    (place / "handler.py").write_text(HANDLER.format(sleep_s=sleep_s))
    serving = ServingConfig(max_batch=MAX_BATCH, drain_s=drain_s)
    return api.package(
        place / "weights.txt",
        place / "dist",
        name=NAME,
        handler=place / "handler.py",
        samples=place / "samples",
        serving=serving,
    ).path


def post(url: str, rate: float, duration_s: float, seed: int, path: str) -> None:
    """Send an open loop of POSTs; runs in a process of its own, so that deploying cannot slow it."""
    trace = arrivals.poisson(rate, duration_s, seed)
    run = loadtest(url, trace, [Body(b'{"x": 1}')], timeout_s=30.0)
    np.savez(path, intended=run.intended_s, done=run.done_s, status=run.status)
    Path(path + ".json").write_text(json.dumps({"lag_s": run.max_lag_s, **_latency(run)}))


def _latency(run: Run) -> dict[str, Any]:
    found = run.latency()
    return {"p50_ms": found.p50, "p99_ms": found.p99, "warnings": run.details["warnings"]}


class Load:
    """A load under way; ``end`` waits for it and tells what failed, by the event during which it was due."""

    def __init__(self, url: str, rate: float, duration_s: float, seed: int, folder: Path) -> None:
        self._path = str(folder / f"load-{seed}.npz")
        context = multiprocessing.get_context("spawn")
        arguments = (url, rate, duration_s, seed, self._path)
        self._process = context.Process(target=post, args=arguments, daemon=True)
        self._process.start()
        self.marks: list[tuple[float, str]] = [(time.time(), "steady")]
        self._end_s = time.time() + duration_s

    def mark(self, event: str) -> None:
        self.marks.append((time.time(), event))
        print(f"{datetime.now(UTC):%H:%M:%S} {event}", file=sys.stderr, flush=True)

    @property
    def left_s(self) -> float:
        return self._end_s - time.time()

    def end(self) -> dict[str, Any]:
        self._process.join()
        assert self._process.exitcode == 0, "the load generator failed"
        with np.load(self._path) as found:
            status, intended = found["status"], found["intended"]
        failed = np.flatnonzero(status != 200)
        # The trace begins when its process has started: events are told to about a second.
        starts = np.array([at for at, _ in self.marks]) - (self._end_s - float(intended.max()))
        names = [name for _, name in self.marks]
        during: dict[str, int] = {}
        for index in failed:
            place = max(0, int(np.searchsorted(starts, intended[index])) - 1)
            during[names[place]] = during.get(names[place], 0) + 1
        codes = {int(code): int(np.count_nonzero(status == code)) for code in np.unique(status)}
        more = json.loads(Path(self._path + ".json").read_text())
        return {
            "sent": len(status),
            "failed": len(failed),
            "status": codes,
            "during": during,
            **more,
        }


def play(duration_s: float, drain_s: float, folder: Path, port: int) -> dict[str, Any]:
    """Run all of it and return what was counted."""
    good, new, slow = (
        bundle(folder, name, sleep_s, drain_s)
        for name, sleep_s in (("one", SLEEP_S), ("two", SLEEP_S), ("slow", 0.2))
    )
    rate = LOAD * CAPACITY_RPS
    wish = DeploymentSpec(NAME, str(good), Local(4, port, balancer=True))
    api.deploy(wish)
    url = f"http://127.0.0.1:{port}"
    load = Load(url, rate, duration_s, 1, folder)
    time.sleep(5)
    rolled_back = []
    while not rolled_back or load.left_s > ROUND_S:
        wish = replace(wish, bundle=str(new if wish.bundle == str(good) else good))
        rolled_back.append(_round(load, wish, slow))
    load.mark("steady again")
    print(f"{load.left_s:.0f} s of load are left", file=sys.stderr)
    rounds = {"rounds": len(rolled_back), "rolled_back": rolled_back}
    counted = {**load.end(), **rounds, "balancer_says": failures()}
    killed = Load(url, rate, 15, 2, folder)
    time.sleep(6)
    killed.mark("SIGKILL")
    _end_one(signal.SIGKILL)
    return {"planned": counted, "killed": killed.end(), "rate": rate}


def _round(load: Load, wish: DeploymentSpec, slow: Path) -> str:
    """Scale in and out, bring ``wish.bundle`` in, have a slow one rolled back, end a server; return the refusal."""
    assert isinstance(wish.target, Local)
    before = Store().get(NAME).bundle
    load.mark("scale 4 to 1")
    api.deploy(replace(wish, bundle=before, target=replace(wish.target, instances=1)))
    time.sleep(3)
    load.mark("scale 1 to 4")
    api.deploy(replace(wish, bundle=before))
    load.mark("roll out")
    api.deploy(replace(wish, rollout=Rolling(batch_percent=50)))
    load.mark("slow canary")
    refused = _canary(replace(wish, bundle=str(slow)))
    load.mark("SIGTERM")
    _end_one(signal.SIGTERM)
    _settle(4)
    load.mark("steady")
    return refused


def failures() -> dict[str, int]:
    """Return how often each server failed a request, in HAProxy's words: status and how the session ended.

    503 with -- is the server's own (it was full), 503 with SC a server that took no connection.
    """
    found: dict[str, int] = {}
    text = Balancer(Store(), NAME).log.read_text(encoding="utf-8", errors="replace")
    for server, status, ended in _FAILURE.findall(text):
        words = f"{server} {status} {ended}"
        found[words] = found.get(words, 0) + 1
    return found


def _canary(wish: DeploymentSpec) -> str:
    wish = replace(wish, rollout=Canary(percent=10, bake_s=40), slo=Slo(p99_ms=150))
    try:
        api.deploy(wish)
    except ConditionFailed as error:
        return error.message
    return ""


def _end_one(how: signal.Signals) -> None:
    victim = Store().get(NAME).servers[0]
    pids = servers.members(victim) if how == signal.SIGKILL else (victim.pid,)
    for pid in pids:
        os.kill(pid, how)
    while servers.runs(victim):
        time.sleep(0.05)


def _settle(count: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = local.status(NAME)
        if found.healthy and found.serving == count == len(found.servers):
            return
        time.sleep(0.2)
    raise AssertionError("the fleet did not recover")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--without-drain", action="store_true")
    parser.add_argument("--port", type=int, default=18600)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zero-drop-") as name:
        os.environ["DEPLOYER_STATE_DIR"] = str(Path(name) / "state")
        try:
            drain_s = 0.0 if options.without_drain else 20.0
            found = play(options.seconds, drain_s, Path(name), options.port)
        finally:
            if NAME in Store().names():
                api.destroy(NAME)
    found |= {
        "drain": not options.without_drain,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine.describe(),
    }
    print(json.dumps(found, indent=1, default=_plain))
    lost = found["planned"]["failed"] > 0
    return int(lost != options.without_drain or not all(found["planned"]["rolled_back"]))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


if __name__ == "__main__":
    sys.exit(main())
