"""One server process of this machine: start it, know it again, see whether it answers, stop it.

A process number is used anew after its process ends. A server is therefore known by number *and* identity:
the boot of the machine and the tick at which the process started. Its workers carry its token in their
environment, so that none can outlive it unseen.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deployer import processes
from deployer.clients.http import HttpInvoker
from deployer.deployments.state import Server
from deployer.errors import DeployerError, EnvironmentProblem
from deployer.progress import Say, silent
from inference_code.contract import PING_ROUTE, PORT_ENV

HOST = "127.0.0.1"
PORTS = range(10_000, 32_768)
"""Below those that Linux gives to outgoing connections (ip_local_port_range): nobody gets one in between."""

GRACE_S = 30.0
"""From SIGTERM to SIGKILL: SageMaker's own time to drain."""
STARTUP_S = 480.0
"""SageMaker's own limit: a container must answer /ping within 8 minutes."""

_PING_S = 2.0
_POLL_S = 0.05
_MARK_ENV = "DEPLOYER_SERVER"
_children: dict[int, subprocess.Popen[bytes]] = {}  # ours to reap: a zombie still has its number


def start(
    model_dir: Path,
    port: int,
    *,
    log: Path,
    digest: str,
    host: str = HOST,
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Server:
    """Start a server in a session of its own, which outlives this process; its output goes to ``log``.

    An interruption while it starts leaves nothing running.
    """
    arguments = ["--host", host, *options]
    if PORT_ENV not in (env or {}):
        arguments += ["--port", str(port)]
    return launch(
        processes.command(model_dir, "serve", arguments),
        port,
        log=log,
        digest=digest,
        env=processes.environment(model_dir, env),
        cwd=processes.working_dir(model_dir),
    )


def launch(
    command: Sequence[str],
    port: int,
    *,
    log: Path,
    digest: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
) -> Server:
    """Start any command that serves on ``port``, as ``start`` does; ``env`` is its whole environment."""
    log.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**env, _MARK_ENV: token},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        _children[process.pid] = process
        return Server(port, process.pid, identity(process.pid) or "ended at once", token, digest)
    except KeyboardInterrupt:
        _kill_late_comer(token)
        raise


def _kill_late_comer(token: str) -> None:
    """Kill a process that was being started, which may yet be about to carry its token."""
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        _kill(_marked(token))
        time.sleep(_POLL_S)


def identity(pid: int) -> str | None:
    """Return what tells the process ``pid`` from its successors; None when none such runs."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        if not Path("/proc/self/stat").exists():
            raise EnvironmentProblem("local deployments need Linux's /proc") from None
        return None
    except ProcessLookupError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def runs(server: Server) -> bool:
    """Return whether this very process still runs."""
    exit_status(server)
    return identity(server.pid) == server.identity


def exit_status(server: Server) -> int | None:
    """Return how a server that this process started ended; None while it runs, or if another started it."""
    child = _children.get(server.pid)
    return child.poll() if child is not None else None


def ping_ms(port: int, host: str = HOST) -> float | None:
    """Return how long /ping took to answer 200, in milliseconds; None when it does not."""
    begun = time.monotonic()
    try:
        answer = HttpInvoker(f"http://{host}:{port}/", timeout_s=_PING_S).request("GET", PING_ROUTE)
    except EnvironmentProblem:
        return None
    return (time.monotonic() - begun) * 1000 if answer.status == 200 else None


def wait_ready(
    server: Server,
    log: Path,
    *,
    host: str = HOST,
    limit_s: float = STARTUP_S,
    say: Say = silent,
) -> float:
    """Wait until the server answers /ping and return the seconds it took.

    Raises DeployerError with the last words of its log when it ends instead, EnvironmentProblem when the
    limit passes.
    """
    begun = told = time.monotonic()
    while ping_ms(server.port, host) is None:
        now = time.monotonic()
        if not runs(server):
            raise DeployerError(
                f"the server on port {server.port} ended before it answered: {last_line(log)}",
                hint="`deployer check BUNDLE` plays its start and tells what is wrong",
            )
        if now - begun > limit_s:
            raise EnvironmentProblem(
                f"the server on port {server.port} did not answer /ping within {limit_s:g} s: "
                f"{last_line(log)}"
            )
        if now - told > 5:
            told = now
            say(f"port {server.port}: starting for {now - begun:.0f} s; {last_line(log)}")
        time.sleep(_POLL_S)
    return time.monotonic() - begun


def stop(server: Server, grace_s: float) -> bool:
    """Ask the server to drain, kill what is left of it after ``grace_s``; return whether it drained.

    It is asked with SIGINT: no load balancer watches here, for which SIGTERM would keep it waiting. A
    process that is not this server, or one of its workers, is left alone.
    """
    ask_to_end(server, signal.SIGINT)
    return await_end(server, grace_s)


def await_end(server: Server, grace_s: float) -> bool:
    """Wait until a server that was asked has ended, kill what is left after ``grace_s``; return as ``stop``."""
    _wait_gone(server, grace_s)
    left = members(server)
    _kill(left)
    _wait_gone(server, 5)
    return not left


def ask_to_end(server: Server, how: signal.Signals) -> None:
    """Send a server, if it runs, SIGTERM (as a platform does) or SIGINT (as a person does)."""
    if runs(server):
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, how)


def members(server: Server) -> tuple[int, ...]:
    """Return the numbers of all live processes that the server consists of: itself and its workers."""
    return _marked(server.token)


def _marked(token: str) -> tuple[int, ...]:
    return carrying(_MARK_ENV, token)


def carrying(variable: str, value: str) -> tuple[int, ...]:
    """Return the numbers of all live processes that were started with this variable of environment."""
    mark = f"{variable}={value}".encode()
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # ended meanwhile, or another user's
            if mark in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
    return tuple(sorted(found))


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wait_gone(server: Server, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and (runs(server) or members(server)):
        time.sleep(_POLL_S)


def port_free(port: int, host: str = HOST) -> bool:
    """Return whether a server could listen on ``port`` now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str = HOST) -> int:
    """Return a port that nobody has at this moment, and that no outgoing connection will be given."""
    found = next(
        (port for port in random.SystemRandom().sample(PORTS, 200) if port_free(port, host)), None
    )
    if found is None:
        raise EnvironmentProblem(
            f"no free port on {host} among 200 between {PORTS.start} and {PORTS.stop - 1}",
            hint="stop what listens there",
        )
    return found


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    return processes.last_words("\n".join(tail(log, 20)))


def tail(log: Path, lines: int) -> tuple[str, ...]:
    """Return the last lines of a log; none when there is no such file."""
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            return tuple(line.rstrip("\n") for line in deque(file, maxlen=lines))
    except FileNotFoundError:
        return ()
