"""Server processes on this machine: look after what a plan started, and remove it.

Without ``target.balancer`` each server has a port of its own: ``invoke`` asks them in turn, other clients choose a
port. While a server is replaced its port is silent; with two or more, the others answer. With one, HAProxy stands
before them: see ``fleet``.
"""

from __future__ import annotations

import signal

from deployer.clients.base import Answer, Body
from deployer.clients.http import HttpInvoker
from deployer.deployments.local import server as servers
from deployer.deployments.local.balanced.haproxy import Balancer
from deployer.deployments.local.balanced.record import LOCK_S
from deployer.deployments.local.executor import apply
from deployer.deployments.local.foreground import running, serve
from deployer.deployments.local.nouns import Health, LocalStatus, ServerStatus
from deployer.deployments.state import Server, ServerLog, Store
from deployer.errors import PartialFailure, Unreachable
from deployer.progress import Say, silent

__all__ = ["LocalStatus", "apply", "destroy", "invoke", "logs", "running", "serve", "status"]


def status(name: str, *, store: Store | None = None) -> LocalStatus:
    """Ask each server of a deployment how it is. Raises InputError when there is no such deployment."""
    record = (store or Store()).get(name)
    parts = (("balancer", record.balancer), ("supervisor", record.supervisor))
    front = tuple((word, servers.runs(part)) for word, part in parts if part is not None)
    return LocalStatus(record, tuple(_ask(server) for server in record.servers), front)


def _ask(server: Server) -> ServerStatus:
    alive = servers.runs(server)
    ping = servers.ping_ms(server.port) if alive else None
    health: Health = "dead" if not alive else "not answering" if ping is None else "serving"
    return ServerStatus(server.port, server.pid, server.url, health, ping, server.bundle_digest)


def invoke(
    name: str,
    body: Body,
    *,
    accept: str | None = None,
    timeout_s: float = 60.0,
    store: Store | None = None,
) -> Answer:
    """Send one request to the balancer, or the server whose turn it is; to the next one only if nothing was sent.

    Raises Unreachable when no server takes it.
    """
    store = store or Store()
    record = store.get(name)
    if record.balancer is not None:
        return HttpInvoker(record.balancer.url, timeout_s=timeout_s).invoke(body, accept=accept)
    turn = store.turn(name)
    count = len(record.servers)
    for offset in range(count):
        server = record.servers[(turn + offset) % count]
        try:
            return HttpInvoker(server.url, timeout_s=timeout_s).invoke(body, accept=accept)
        except Unreachable:
            continue
    raise Unreachable(
        f"none of the {count} servers of {name!r} takes a connection",
        hint=f"`deployer status {name}`, then `deployer logs {name}`",
    )


def destroy(name: str, *, store: Store | None = None, say: Say = silent) -> tuple[str, ...]:
    """Drain and stop every server, remove the record, bundles and logs; return what was removed.

    Raises PartialFailure listing what could not be removed; the record then stays.
    """
    store = store or Store()
    with store.lock(name, LOCK_S if store.get(name).balancer else 0.0):
        record = store.get(name)
        removed = []
        if record.supervisor is not None:
            servers.stop(record.supervisor, servers.GRACE_S)  # or it would start servers anew
        for server in record.servers:
            say(f"stop port {server.port} (process {server.pid})")
            servers.ask_to_end(server, signal.SIGINT)  # all drain at once
        for server in record.servers:
            servers.stop(server, servers.GRACE_S)
            removed.append(f"server on port {server.port}")
        if record.balancer is not None:
            servers.stop(record.balancer, 1)
            removed.append(f"balancer on port {record.balancer.port}")
        parts = [*record.servers, *filter(None, (record.balancer, record.supervisor))]
        left = [f"process {pid}" for part in parts for pid in servers.members(part)]
        if left:
            raise PartialFailure(
                f"{name!r} is not wholly removed", remaining=left, hint="try again, or kill them"
            )
        store.remove(name)
        return (*removed, f"state, bundle and logs in {store.folder(name)}")


def logs(name: str, *, lines: int = 100, store: Store | None = None) -> tuple[ServerLog, ...]:
    """Return the last lines of each server's log."""
    store = store or Store()
    record = store.get(name)
    paths = [(server.port, store.log(name, server.port)) for server in record.servers]
    if record.balancer is not None:
        paths.append((record.balancer.port, Balancer(store, name).log))
        paths.append((0, store.folder(name) / "logs" / "supervisor.log"))
    return tuple(ServerLog(port, str(path), servers.tail(path, lines)) for port, path in paths)
