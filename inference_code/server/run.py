"""Bind, serve, drain, exit."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from dataclasses import dataclass

import uvloop

from inference_code.engine.engine import Engine
from inference_code.engine.log import log
from inference_code.engine.settings import Settings, serves_many
from inference_code.errors import StartupError
from inference_code.server.app import Application
from inference_code.server.models import MultiModelApplication
from inference_code.server.reporting import report

#: For how long a draining server still takes connections, unless told: a load balancer must notice. At most a
#: quarter of the countdown.
LAME_DUCK_S = 5.0
_BACKLOG = 2048
_SWEEP_S = 0.5


@dataclass(frozen=True)
class Sight:
    """What the server tells of itself: every request as a log line, CloudWatch records per ``emf_s``."""

    access_log: bool = False
    emf_s: float = 0.0


def serve(
    settings: Settings,
    host: str,
    port: int,
    sight: Sight | None = None,
    client_limit: int = 0,
    lame_duck_s: float | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code. Raises StartupError when it cannot start.

    ``client_limit`` is the most requests one client may have in flight, 0 for no limit. ``lame_duck_s``: how long
    connections are still taken after SIGTERM, part of the countdown; by default LAME_DUCK_S.
    """
    drain_s = settings.serving.drain_s
    if lame_duck_s is None:
        lame_duck_s = min(LAME_DUCK_S, drain_s / 4)
    elif not 0 <= lame_duck_s <= drain_s:
        raise StartupError(
            f"--lame-duck-s must lie between 0 and the {drain_s:g} s of --drain-s, not {lame_duck_s:g}"
        )
    sock = bind(host, port)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, sock, sight or Sight(), client_limit, lame_duck_s))


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise StartupError naming the port when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        sock.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StartupError(
            f"cannot listen on {host}:{port}: {reason}; choose another --port"
        ) from error
    return sock


async def _serve(
    settings: Settings, sock: socket.socket, sight: Sight, client_limit: int, lame_duck_s: float
) -> int:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[signal.Signals] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _once, stop, number)
    engine = Engine(settings)
    many = serves_many()
    app = (MultiModelApplication if many else Application)(engine, sight.access_log, client_limit)
    server = await loop.create_server(app.connection, sock=sock, backlog=_BACKLOG)
    host, port = sock.getsockname()[:2]
    log("listening", model=settings.name, url=f"http://{host}:{port}")
    tasks = [loop.create_task(_sweep(app))]
    if sight.emf_s:
        tasks.append(loop.create_task(report(app, sight.emf_s)))
    try:
        if not many:
            await engine.start()
        await asyncio.wait((stop, engine.failed), return_when=asyncio.FIRST_COMPLETED)
        if engine.failed.done():
            raise StartupError(engine.failed.result())
        # Ctrl-C comes from a person, not from a load balancer that must first see /ping fail.
        await _drain(app, server, lame_duck_s if stop.result() == signal.SIGTERM else 0.0)
        return 0 if stop.result() == signal.SIGTERM else 130
    finally:
        for task in tasks:
            task.cancel()
        server.close()
        await app.close()
        await engine.close()


async def _drain(app: Application, server: asyncio.Server, lame_duck_s: float) -> None:
    """Fail health, keep accepting, mark answers as the last, stop accepting, finish: one countdown."""
    drain_s = app.engine.settings.serving.drain_s
    end = time.monotonic() + drain_s
    app.draining = True
    await asyncio.sleep(lame_duck_s)
    server.close()
    for connection in list(app.connections):
        connection.close_when_idle()
    while app.connections and time.monotonic() < end:
        await asyncio.sleep(0.01)
    for connection in list(app.connections):
        connection.abort()


async def _sweep(app: Application) -> None:
    while True:
        await asyncio.sleep(_SWEEP_S)
        now = time.monotonic()
        for connection in [c for c in app.connections if c.deadline_s < now]:
            connection.expire()


def _once(stop: asyncio.Future[signal.Signals], number: signal.Signals) -> None:
    if not stop.done():
        stop.set_result(number)
