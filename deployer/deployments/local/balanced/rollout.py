"""Make a fleet run a specification: the first start, a change of size, a new bundle that may have to go again."""

from __future__ import annotations

import shutil
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from deployer.bundle import archive
from deployer.deployments.local import server as servers
from deployer.deployments.local.balanced import canary, control, record
from deployer.deployments.local.balanced.haproxy import FULL_WEIGHT, Balancer
from deployer.deployments.plan import Plan
from deployer.deployments.state import Deployment, Server, Store
from deployer.errors import ConditionFailed, DeployerError, Interrupted
from deployer.progress import Say
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rollout import AllAtOnce, Canary, Rolling, Rollout

_LOOK_S = 0.5


def batches(rollout: Rollout, old: int, wanted: int) -> tuple[int, ...]:
    """Return how many new servers start at a time until ``wanted`` run in place of ``old``.

    >>> batches(Canary(percent=10), old=4, wanted=4)
    (1, 3)
    """
    if not old or wanted < 2:
        return (wanted,)
    match rollout:
        case Canary():
            first = max(1, round(wanted * rollout.percent / 100))
            return (first, wanted - first)
        case Rolling():
            size = max(1, wanted * rollout.batch_percent // 100)
            return (
                *(size for _ in range(wanted // size)),
                *([wanted % size] * (wanted % size > 0)),
            )
        case _:
            return (wanted,)


def canary_weight(percent: int, old: int, new: int) -> int:
    """Return the weight of each of ``new`` servers so that all of them get ``percent`` of the traffic."""
    return max(1, round(FULL_WEIGHT * old * percent / (100 - percent) / new))


def deploy(plan: Plan[None], store: Store, say: Say) -> Deployment:
    """Run a plan for a fleet, the lock held, and return the new record.

    Raises ConditionFailed when the new version was rolled back, DeployerError when it does not start (the old one
    then serves on, or nothing is left of a first one), Interrupted on Ctrl-C with the state saved.
    """
    spec = plan.spec
    before = store.find(spec.name)
    found = before or _new(plan)
    (store.folder(spec.name) / "fleet").mkdir(parents=True, exist_ok=True)
    folder = record.model_dir(store, spec.name, plan.bundle_digest)
    if not folder.exists():
        say(f"unpack bundle {plan.bundle_digest[:12]}")
        archive.unpack(Path(spec.bundle), folder)
    roll = _Roll(spec, plan.bundle_digest, store, say, found)
    try:
        roll.run(first=before is None)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped while deploying {spec.name!r}; the state is saved",
            hint=f"`deployer deploy` goes on, `deployer destroy {spec.name}` cleans up",
        ) from None
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other)
    return roll.record


def _new(plan: Plan[None]) -> Deployment:
    spec = plan.spec
    path = str(Path(spec.bundle).resolve())
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return Deployment(spec.name, spec.target.kind, path, plan.bundle_digest, 0, date)


class _Roll:
    """One rollout; the record on disk is right after every step."""

    def __init__(
        self, spec: DeploymentSpec, digest: str, store: Store, say: Say, found: Deployment
    ) -> None:
        self._spec, self._digest, self._store, self._say = spec, digest, store, say
        self._balancer = Balancer(store, spec.name)
        self.record = found

    def run(self, *, first: bool) -> None:
        spec = self._spec
        self._put(*(server for server in self.record.servers if servers.runs(server)))
        # One that somebody has asked to end already is none to keep.
        staying = [server for server in self.record.servers if not record.drains(server)]
        current = None if first else self.record.instances
        wanted = control.at_start(spec, current, time.time())
        new = [s for s in staying if s.bundle_digest == self._digest]
        old = [s for s in staying if s.bundle_digest != self._digest]
        port = record.slots(spec)[0] - 1
        try:
            self.record = replace(
                self.record,
                balancer=self._balancer.ensure(self.record.balancer, port, self._ports()),
            )
            self._store.save(self.record)
            self._replace(old, new, wanted)
        except DeployerError as error:
            if first:
                self._remove_all()
                raise DeployerError(f"{error.message}; nothing is left", hint=error.hint) from error
            raise
        self._drain(tuple(new[wanted:]))
        self._balancer.set_ports(self._ports())
        record.save_spec(self._store, spec)
        path = str(Path(spec.bundle).resolve())
        supervisor = record.ensure_supervisor(self._store, spec.name, self.record.supervisor)
        self.record = replace(
            self.record,
            bundle=path,
            bundle_digest=self._digest,
            instances=wanted,
            supervisor=supervisor,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._store.save(self.record)

    def _ports(self) -> tuple[int, ...]:
        """Where servers may come up, and where some run that an earlier, larger size has left."""
        return tuple(
            sorted({*record.slots(self._spec), *(server.port for server in self.record.servers)})
        )

    def _replace(self, old: list[Server], new: list[Server], wanted: int) -> None:
        """Start what is missing in batches, watch each, and drain as many old servers after it."""
        missing = max(0, wanted - len(new))
        sizes = batches(self._spec.rollout, len(old), missing) if missing else ()
        brought = list(new)
        for number, size in enumerate(sizes):
            self._say(f"[{number + 1}/{len(sizes)}] start {size} servers of {self._digest[:12]}")
            percent = self._canary_percent(old, number)
            try:
                added = self._start(size, old, percent)
                brought += added
                if old:
                    self._bake(tuple(added))
            except (DeployerError, KeyboardInterrupt) as error:
                self._back(brought, old)
                if isinstance(error, DeployerError) and old:
                    raise type(error)(
                        f"{error.message}; {self._spec.name} runs the old version", hint=error.hint
                    ) from error
                raise
            if percent:
                for server in added:
                    self._balancer.set_weight(server.port, FULL_WEIGHT)
            last = number == len(sizes) - 1
            leaving = old if last else old[:size]
            self._drain(tuple(leaving))
            old = old[len(leaving) :]
        self._drain(tuple(old))

    def _canary_percent(self, old: list[Server], number: int) -> int:
        rollout = self._spec.rollout
        return rollout.percent if isinstance(rollout, Canary) and old and not number else 0

    def _start(self, size: int, old: list[Server], percent: int) -> list[Server]:
        """Start servers, wait until they answer, and let the balancer send them their share."""
        weight = canary_weight(percent, len(old), size) if percent else FULL_WEIGHT
        ports = record.free_slots(self._spec, self.record)[:size]
        if len(ports) < size:
            raise DeployerError(
                f"{size} servers need free ports from {record.slots(self._spec)[0]} up, "
                f"{len(ports)} are free",
                hint="set target.port to the first of a free range",
            )
        added = []
        for port in ports:
            self._balancer.set_weight(port, weight)
            server = record.start_server(self._store, self.record, self._digest, port)
            added.append(server)
            self._put(*self.record.servers, server)
        try:
            for server in added:
                log = self._store.log(self._spec.name, server.port)
                servers.wait_ready(server, log, say=self._say)
            self._balancer.wait_up(ports)
        except BaseException:
            self._end(tuple(added), grace_s=0)
            raise
        return added

    def _bake(self, added: tuple[Server, ...]) -> None:
        """Watch new servers for ``bake_s``. Raises ConditionFailed when they may not stay."""
        rollout, slo = self._spec.rollout, self._spec.slo
        bake_s = rollout.bake_s if isinstance(rollout, AllAtOnce | Rolling | Canary) else 0.0
        if not bake_s:
            return
        self._say(f"watch {len(added)} new servers for {bake_s:g} s")
        end = time.monotonic() + bake_s
        sight = canary.NOTHING
        while time.monotonic() < end:
            time.sleep(min(_LOOK_S, max(0.0, end - time.monotonic())))
            sight = canary.look(added)
            if words := canary.complaint(sight, rollout, slo):
                raise ConditionFailed(f"the new version was rolled back: {words}")
        if rollout.generated_alarms and sight.answers < canary.MIN_REQUESTS:
            raise ConditionFailed(
                f"the new version was rolled back: it had only {sight.answers} requests in {bake_s:g} s, "
                f"and fewer than {canary.MIN_REQUESTS} show nothing",
                hint="send more traffic, bake for longer, or set rollout.generated_alarms = false",
            )

    def _back(self, brought: list[Server], old: list[Server]) -> None:
        """Drain what was new; where old servers have left already, start as many again."""
        new = tuple(s for s in brought if s in self.record.servers)
        if not old:
            return
        gone = self.record.instances - len(old)
        if gone > 0:
            digest, self._digest = self._digest, self.record.bundle_digest
            self._start(gone, [], 0)
            self._digest = digest
        self._say(f"drain {len(new)} new servers")
        self._drain(new)

    def _drain(self, leaving: tuple[Server, ...]) -> None:
        """SIGTERM: each fails its health check, serves on until the balancer has seen it, finishes and exits."""
        if leaving:
            self._say(f"drain ports {', '.join(str(server.port) for server in leaving)}")
            for server in leaving:
                servers.ask_to_end(server, signal.SIGTERM)
            self._end(leaving, servers.GRACE_S)

    def _end(self, leaving: tuple[Server, ...], grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        for server in leaving:
            servers.await_end(server, max(0.0, deadline - time.monotonic()))
        self._put(*(server for server in self.record.servers if server not in leaving))

    def _remove_all(self) -> None:
        self._end(self.record.servers, grace_s=0)
        if self.record.balancer is not None:
            servers.stop(self.record.balancer, 0)
        self._store.remove(self._spec.name)

    def _put(self, *found: Server) -> None:
        self.record = replace(self.record, servers=tuple(found))
        self._store.save(self.record)
