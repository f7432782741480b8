"""HAProxy before a fleet: its configuration, its process, its runtime socket.

Servers are added and removed by the runtime socket, never by a reload: a process that is replaced closes connections
that clients keep, and a client that sends on one just then loses its request.

Nothing is sent twice (``retries 0``): what a client would lose behind an Application Load Balancer it loses here.
Connections to servers are kept and used by all clients (``http-reuse always``), the hardest case for a drain. The
log holds a line for each request that failed, with its server and how it ended, and none for the others.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import socket
import time
from collections.abc import Sequence

from deployer.deployments.local import server as servers
from deployer.deployments.state import Server, Store, write_whole
from deployer.errors import DeployerError, EnvironmentProblem

CHECK_S = 0.5
"""How often each server is asked /ping; two failures in a row take it out, one success brings it in."""
NOTICE_S = 6 * CHECK_S
"""How long a server that ends still takes requests: thrice what the balancer needs to notice, for a busy machine."""
FULL_WEIGHT = 100
UP = "UP"
PLACES = ("/usr/sbin", "/usr/local/sbin")
"""Where system programs lie, which PATH leaves out for users."""

_CONFIG = "haproxy.cfg"
_SOCKET = "haproxy.sock"
_READY_S = 10.0
_POLL_S = 0.05
_ANSWER_S = 1.0
_TEXT = """\
global
    log stderr format raw daemon notice
    stats socket unix@{socket} mode 600 level admin
    stats timeout 10s

defaults
    mode http
    log global
    option httplog
    option dontlog-normal
    option log-separate-errors
    retries 0
    no option redispatch
    option http-keep-alive
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 65s
    timeout http-keep-alive 60s
    timeout queue 5s
    timeout check 2s

frontend front
    bind {host}:{port}
    default_backend fleet

backend fleet
    balance random(2)
    option httpchk GET /ping
    http-check expect status 200
"""
_ADD = (
    "add server fleet/{name} {host}:{port} weight 0 check fall 2 rise 1"
    " inter {check_ms}ms fastinter {check_ms}ms downinter {check_ms}ms",
    "enable health fleet/{name}",
    "enable server fleet/{name}",
    # HAProxy takes a new server to be well until a check says otherwise; this one is not, until a check says so.
    "set server fleet/{name} health down",
    "set weight fleet/{name} {weight}",
)
_ADDED = "New server registered."


def find() -> str:
    """Return the path of haproxy. Raises EnvironmentProblem telling how to get it."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *PLACES))
    found = shutil.which("haproxy", path=path)
    if found is None:
        raise EnvironmentProblem(
            "haproxy is not installed, and target.balancer asks for it",
            hint="`apt-get install haproxy` (Debian, Ubuntu), or leave out target.balancer",
        )
    return found


def config(port: int) -> str:
    """Return the configuration of a balancer on ``port``, before no server as yet."""
    return _TEXT.format(socket=_SOCKET, host=servers.HOST, port=port)


def notice_s(drain_s: float) -> float:
    """Return how much of a drain belongs to the balancer: at most three quarters, the rest is for the answers."""
    return min(NOTICE_S, 0.75 * drain_s)


class Balancer:
    """The balancer of one deployment; its files lie in the deployment's folder."""

    def __init__(self, store: Store, name: str) -> None:
        self._folder = store.folder(name) / "fleet"
        self.log = store.folder(name) / "logs" / "balancer.log"

    def ensure(self, running: Server | None, port: int, ports: Sequence[int]) -> Server:
        """Return a balancer on ``port`` before servers that may come up on ``ports``: the running one, or a new one.

        Raises DeployerError with haproxy's own words when it does not start.
        """
        wanted, path = config(port), self._folder / _CONFIG
        same = path.exists() and path.read_text(encoding="utf-8") == wanted
        if running is None or not same or not servers.runs(running):
            if running is not None:
                servers.stop(running, 1)
            write_whole(path, wanted)
            running = self._start(port)
        self.set_ports(ports)
        return running

    def set_ports(self, ports: Sequence[int]) -> None:
        """Know the servers that may come up on ``ports``, and forget others that have ended.

        One that still has connections stays known until the next time. Raises EnvironmentProblem when this haproxy
        adds no servers while it runs.
        """
        known = self.states()
        for port in sorted(set(ports) - set(known)):
            values = {"host": servers.HOST, "port": port, "weight": FULL_WEIGHT}
            text = "; ".join(_ADD).format(
                name=_name(port), check_ms=round(CHECK_S * 1000), **values
            )
            answer = self.ask(text)
            if _ADDED not in answer:
                raise EnvironmentProblem(
                    f"haproxy adds no server while it runs: {answer.strip()}",
                    hint="2.6 or newer does (Debian 12, Ubuntu 24.04)",
                )
        for port in sorted(set(known) - set(ports)):
            if known[port].partition(" ")[0] != UP:
                name = _name(port)
                self.ask(f"set server fleet/{name} state maint; del server fleet/{name}")

    def _start(self, port: int) -> Server:
        server = servers.launch(
            [find(), "-db", "-f", _CONFIG],
            port,
            log=self.log,
            digest="",
            env=os.environ,
            cwd=self._folder,
        )
        self._wait(server)
        return server

    def _wait(self, server: Server) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if not servers.runs(server):
                break
            try:
                self.states()
            except DeployerError:
                time.sleep(_POLL_S)
                continue
            return
        servers.stop(server, 0)
        words = servers.last_line(self.log)
        raise DeployerError(f"haproxy does not start: {words}", hint=f"its log is {self.log}")

    def states(self) -> dict[int, str]:
        """Return how the balancer finds each port: "UP", "DOWN", or words of its own between them."""
        text = self.ask("show stat").removeprefix("# ")
        rows = csv.DictReader(io.StringIO(text))
        found = ((row["svname"], row["status"]) for row in rows if row["pxname"] == "fleet")
        return {int(name[1:]): status for name, status in found if name[:1] == "s"}

    def set_weight(self, port: int, weight: int) -> None:
        """Send ``weight`` parts of the traffic to a port, where a server usually has FULL_WEIGHT."""
        self.ask(f"set weight fleet/{_name(port)} {max(1, min(256, weight))}")

    def wait_up(self, ports: Sequence[int], limit_s: float = _READY_S) -> None:
        """Wait until requests go to every one of ``ports``. Raises EnvironmentProblem past the limit."""
        deadline = time.monotonic() + limit_s
        while True:
            states = self.states()
            missing = [port for port in ports if states.get(port, "").partition(" ")[0] != UP]
            if not missing:
                return
            if time.monotonic() > deadline:
                words = ", ".join(f"{port} is {states.get(port, 'unknown')!r}" for port in missing)
                raise EnvironmentProblem(f"the balancer sends nothing to new servers: {words}")
            time.sleep(_POLL_S)

    def ask(self, command: str) -> str:
        """Send one command to the runtime socket and return the answer. Raises EnvironmentProblem."""
        deadline = time.monotonic() + _ANSWER_S
        while True:
            try:
                return self._ask(command)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise EnvironmentProblem(
                        f"haproxy does not answer: {error}", hint=f"its log is {self.log}"
                    ) from error
                time.sleep(_POLL_S)

    def _ask(self, command: str) -> str:
        # The name of a socket may have 107 bytes; the folder's own descriptor is a short way to it.
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(5)
                line.connect(f"/proc/self/fd/{folder}/{_SOCKET}")
                line.sendall(command.encode() + b"\n")
                return b"".join(iter(lambda: line.recv(65536), b"")).decode()
        finally:
            os.close(folder)


def _name(port: int) -> str:
    return f"s{port}"
