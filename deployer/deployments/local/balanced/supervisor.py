"""The process that looks after a fleet: replaces what died, scales by the policy, says what it does.

It changes servers only while it holds the deployment's lock: while a command rolls a new version out it only
waits. When it dies the fleet serves on as it is; the next `deployer deploy` starts another.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from deployer.autoscaler import CALM, Observation
from deployer.clients.http import HttpInvoker
from deployer.deployments.local import server as servers
from deployer.deployments.local.balanced import control, record
from deployer.deployments.local.balanced.control import Period
from deployer.deployments.local.balanced.haproxy import FULL_WEIGHT, Balancer
from deployer.deployments.state import Busy, Deployment, Server, Store
from deployer.errors import DeployerError, EnvironmentProblem
from deployer.spec.deployment import DeploymentSpec
from inference_code.contract import STATS_ROUTE

TICK_S = 0.5
SILENT_S = 10.0
"""A server that answered once and then not for so long is replaced."""
_LOOK_S = 1.0
_MAX_WAIT_S = 60.0


@dataclass
class Watch:
    """What is known of one server: its answers so far, when it was last well, since when it drains."""

    answers: int = 0
    in_flight: int = 0
    well_s: float | None = None
    well: bool = False
    drains_s: float | None = None


class Supervisor:
    """Looks after the fleet ``name``; ``tick`` is one look."""

    def __init__(self, name: str, store: Store, now_s: float) -> None:
        self._name, self._store = name, store
        self._balancer = Balancer(store, name)
        self._watches: dict[str, Watch] = {}
        self._period = Period(now_s)
        self._state = CALM
        self._false_starts = 0
        self._next_start_s = 0.0

    def tick(self, now_s: float) -> bool:
        """Look once and act; return whether there is still something to look after."""
        try:
            with self._store.lock(self._name):
                found = self._store.find(self._name)
                if found is None:
                    return False
                spec = record.load_spec(self._store, self._name)
                after = self._act(spec, self._gone(found, now_s), now_s)
                if after != found:
                    self._store.save(after)
        except Busy:
            self._period, self._state = Period(now_s), CALM
        return True

    def _gone(self, found: Deployment, now_s: float) -> Deployment:
        """Look at every server, and forget those that have ended."""
        left = []
        for server in found.servers:
            watch = self._watches.setdefault(server.token, Watch())
            if servers.runs(server):
                self._look(server, watch, now_s)
                left.append(server)
                continue
            del self._watches[server.token]
            _say(f"port {server.port} has ended" + (", drained" if watch.drains_s else ""))
            if watch.drains_s is None and watch.well_s is None:
                self._false_starts += 1
                wait_s = min(_MAX_WAIT_S, 2.0**self._false_starts)
                self._next_start_s = now_s + wait_s
                _say(f"it never answered; the next one starts in {wait_s:g} s")
        return replace(found, servers=tuple(left))

    def _look(self, server: Server, watch: Watch, now_s: float) -> None:
        client = HttpInvoker(f"http://{servers.HOST}:{server.port}/", timeout_s=_LOOK_S)
        watch.well = False
        try:
            stats = json.loads(client.request("GET", STATS_ROUTE).content)
        except (EnvironmentProblem, ValueError):
            watch.in_flight = 0
        else:
            total = sum(stats["answers"].values())
            self._period.answers += int(total) - watch.answers
            watch.answers, watch.in_flight = int(total), int(stats["unanswered"])
            watch.well = stats["unhealthy"] is None
            if stats["draining"] and watch.drains_s is None:
                _say(f"port {server.port} drains, asked by somebody else")
                watch.drains_s = now_s
        if watch.well:
            watch.well_s = now_s
            self._false_starts = 0
        if watch.drains_s is not None and now_s - watch.drains_s > servers.GRACE_S:
            servers.stop(server, 0)
        elif watch.well_s is not None and now_s - watch.well_s > SILENT_S:
            _say(f"port {server.port} has not answered for {SILENT_S:g} s: killed")
            servers.stop(server, 0)

    def _act(self, spec: DeploymentSpec, found: Deployment, now_s: float) -> Deployment:
        kept = [s for s in found.servers if self._watches[s.token].drains_s is None]
        active = sum(self._watches[s.token].well for s in kept)
        in_flight = sum(self._watches[s.token].in_flight for s in found.servers)
        self._period.add(0, in_flight, active)
        wanted = found.instances
        if now_s - self._period.start_s >= control.period_s(spec):
            wanted = self._decide(spec, wanted, active, now_s)
        if wanted != found.instances:
            found = replace(found, instances=wanted)
        for server in kept[wanted:]:
            _say(f"port {server.port} is asked to drain")
            self._watches[server.token].drains_s = now_s
            servers.ask_to_end(server, signal.SIGTERM)
        if len(kept) < wanted and now_s >= self._next_start_s:
            return self._start(spec, found, wanted - len(kept))
        return found

    def _decide(self, spec: DeploymentSpec, capacity: int, active: int, now_s: float) -> int:
        metric, served = self._period.metric(control.metric_of(spec.scaling), now_s)
        seen = Observation(metric, served, active, capacity)
        self._period = Period(now_s)
        wanted, self._state = control.decide(spec, now_s, seen, self._state)
        if wanted != capacity:
            name = control.metric_of(spec.scaling)
            _say(f"{name} is {metric:.4g} per server: {capacity} -> {wanted} servers")
        return wanted

    def _start(self, spec: DeploymentSpec, found: Deployment, count: int) -> Deployment:
        for port in record.free_slots(spec, found)[:count]:
            _say(f"start port {port}")
            server = record.start_server(self._store, found, found.bundle_digest, port)
            found = replace(found, servers=(*found.servers, server))
            self._balancer.set_weight(port, FULL_WEIGHT)
        return found


def main(arguments: Sequence[str]) -> int:
    """Look after the fleet that the one argument names until SIGTERM, or until it is destroyed."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    supervisor = Supervisor(arguments[0], Store(), time.time())
    _say(f"look after {arguments[0]}")
    while not stop.wait(TICK_S):
        try:
            if not supervisor.tick(time.time()):
                break
        except DeployerError as error:
            _say(f"error: {error.message}")  # a look that failed; the next one may not
    return 0


def _say(line: str) -> None:
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    sys.stderr.write(f"{stamp} {line}\n")
