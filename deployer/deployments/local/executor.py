"""Run a Plan step by step on this machine; the record on disk is right after every step."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

from deployer.bundle import archive
from deployer.deployments.local import planner
from deployer.deployments.local import server as servers
from deployer.deployments.local.balanced import rollout
from deployer.deployments.local.balanced.record import LOCK_S
from deployer.deployments.plan import Plan, Step
from deployer.deployments.state import Deployment, Server, Store
from deployer.errors import DeployerError, Interrupted, PartialFailure
from deployer.progress import Say, silent


def apply(plan: Plan[None], *, store: Store | None = None, say: Say = silent) -> Deployment:
    """Run a plan and return the new record. Running the same one twice changes nothing.

    A new version first has to start on a spare port: one that cannot never stops the old one. Raises
    InputError for a stale plan, DeployerError when a server does not start (then nothing new is left),
    PartialFailure when only some could be changed, Interrupted on Ctrl-C with the state saved.
    """
    store = store or Store()
    if planner.local_target(plan.spec).balancer:
        with store.lock(plan.spec.name, LOCK_S):
            planner.refuse_stale(plan, store)
            return rollout.deploy(plan, store, say)
    with store.lock(plan.spec.name):
        planner.refuse_stale(plan, store)
        return _Executor(plan, store, say).run()


class _Executor:
    """Runs the steps of one plan; the record on disk is right after every step."""

    def __init__(self, plan: Plan[None], store: Store, say: Say) -> None:
        self._plan, self._store, self._say = plan, store, say
        spec = plan.spec
        folder = store.folder(spec.name) / "bundles"
        self._model_dir = folder / plan.bundle_digest[:12]
        before = store.find(spec.name)
        self._first = before is None
        self._record = Deployment(
            name=spec.name,
            target=spec.target.kind,
            bundle=str(Path(spec.bundle).resolve()),
            bundle_digest=plan.bundle_digest,
            instances=len(planner.wanted_ports(planner.local_target(spec))),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            servers=before.servers if before else (),
        )
        if before and not plan.changes:
            self._record = replace(self._record, date=before.date)

    def run(self) -> Deployment:
        try:
            self._unpack()
            self._trial()
            for number, step in enumerate(self._plan.changes, 1):
                word = step.to_json()["action"]
                self._say(f"[{number}/{len(self._plan.changes)}] {word} port {step.name}")
                self._do(step)
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped while deploying {self._record.name!r}; the state is saved",
                hint=f"`deployer deploy` goes on, `deployer destroy {self._record.name}` cleans up",
            ) from None
        self._store.save(self._record)
        self._drop_old_bundles()
        return self._record

    def _unpack(self) -> None:
        if self._model_dir.exists():
            return
        self._say(f"unpack bundle {self._plan.bundle_digest[:12]}")
        archive.unpack(Path(self._plan.spec.bundle), self._model_dir)

    def _trial(self) -> None:
        """Start the new version once on a spare port before any server of the old one is stopped."""
        if not any(step.action == "update" for step in self._plan.steps):
            return
        self._say("try the new version on a spare port")
        log = self._store.log(self._record.name, 0)
        server = servers.start(
            self._model_dir, servers.free_port(), log=log, digest=self._plan.bundle_digest
        )
        try:
            servers.wait_ready(server, log, say=self._say)
        except DeployerError as error:
            raise DeployerError(
                f"the new version does not start, so the old one was kept: {error.message}",
                hint=error.hint,
            ) from error
        finally:
            servers.stop(server, servers.GRACE_S)

    def _do(self, step: Step) -> None:
        port = int(step.name)
        match step.action:
            case "create":
                self._forget(port)
                self._start(port)
            case "update":
                self._stop(port)
                self._start(port)
            case "delete":
                self._stop(port)
            case "keep":
                pass
            case _:
                assert_never(step.action)

    def _start(self, port: int) -> None:
        log = self._store.log(self._record.name, port)
        server = servers.start(self._model_dir, port, log=log, digest=self._plan.bundle_digest)
        self._put((*self._record.servers, server))
        try:
            seconds = servers.wait_ready(server, log, say=self._say)
        except DeployerError as error:
            self._give_up(server, error)
        self._say(f"port {port} answers after {seconds:.1f} s")

    def _give_up(self, server: Server, error: DeployerError) -> None:
        """Remove a server that did not start; say what is left, if anything is."""
        servers.stop(server, 0)
        self._forget(server.port)
        left = [f"server on port {s.port} (process {s.pid})" for s in self._record.servers]
        if left:
            raise PartialFailure(error.message, remaining=left, hint=error.hint) from error
        words = "\n".join(servers.tail(self._store.log(self._record.name, server.port), 5))
        self._store.remove(self._record.name)
        self._say(words)
        raise DeployerError(f"{error.message}; nothing is left", hint=error.hint) from error

    def _stop(self, port: int) -> None:
        for server in self._record.servers:
            if server.port == port and not servers.stop(server, servers.GRACE_S):
                self._say(f"port {port} did not drain within {servers.GRACE_S:g} s and was killed")
        self._forget(port)

    def _forget(self, port: int) -> None:
        self._put(tuple(server for server in self._record.servers if server.port != port))

    def _put(self, found: Sequence[Server]) -> None:
        ordered = tuple(sorted(found, key=lambda server: server.port))
        self._record = replace(self._record, servers=ordered)
        self._store.save(self._record)

    def _drop_old_bundles(self) -> None:
        for folder in self._model_dir.parent.iterdir():
            if folder != self._model_dir:
                shutil.rmtree(folder)
