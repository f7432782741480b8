"""SageMaker's multi-model contract: models come and go while the server runs.

On when ``SAGEMAKER_MULTI_MODEL`` is ``true``. Each model gets an engine and worker processes of its own, so
one that crashes harms no other, and unloading returns all of its memory. SageMaker chooses what to unload
(the least recently used) when a load is answered 507.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from inference_code.codecs import jsontext
from inference_code.contract import JSON_TYPE, MODELS_ROOT_ENV
from inference_code.engine.engine import Engine
from inference_code.engine.log import log
from inference_code.engine.settings import Settings, read_settings
from inference_code.errors import (
    BadRequest,
    Conflict,
    HandlerFailed,
    InsufficientMemory,
    MethodNotAllowed,
    NotFound,
    RequestError,
    StartupError,
)
from inference_code.metrics import prometheus, prometheus_by
from inference_code.server.app import Application
from inference_code.server.exchange import Exchange

#: Where SageMaker unpacks models, unless MODELS_ROOT_ENV names another folder; a load from elsewhere is refused.
DEFAULT_ROOT = "/opt/ml/models"
#: A model in memory takes about this many times its files, plus a Python process.
_GROWTH = 2
_PROCESS_BYTES = 100 * 2**20
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC}
_PAGE = 100
_JSON = JSON_TYPE.encode()


class MultiModelApplication(Application):
    """Serves ``/models`` beside ``/ping`` and ``/metrics``; its own engine is never started."""

    def __init__(self, engine: Engine, access_log: bool = False, client_limit: int = 0) -> None:
        super().__init__(engine, access_log, client_limit)
        self._root = Path(os.environ.get(MODELS_ROOT_ENV, DEFAULT_ROOT)).resolve()
        self._engines: dict[str, Engine] = {}
        self._urls: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop every model."""
        await asyncio.gather(*(engine.close() for engine in self._engines.values()))

    def route(self, exchange: Exchange, path: str) -> None:
        """Answer the routes of the contract, and leave the rest to the single-model server."""
        parts = path.strip("/").split("/")
        if parts[0] != "models":
            super().route(exchange, path)
            return
        name = unquote(parts[1]) if len(parts) > 1 else ""
        match exchange.head.method, parts[2:]:
            case b"POST", [] if not name:
                self._run(exchange, self._load(exchange))
            case b"GET", [] if not name:
                self._list(exchange)
            case b"GET", []:
                self._answer(exchange, self._describe(name))
            case b"DELETE", []:
                self._run(exchange, self._unload(exchange, name))
            case b"POST", ["invoke"]:
                self.invoke(exchange, self._engine(name))
            case _, [] | ["invoke"]:
                raise MethodNotAllowed(f"{path} does not take {exchange.head.method.decode()}")
            case _:
                raise NotFound("no such route below /models")

    def unhealthy(self) -> str:
        """Return "": a server without models is ready to be given some."""
        return ""

    def metrics_text(self) -> str:
        """Return the server's own metrics, and each model's under the label ``model``."""
        groups = {name: engine.metrics.all() for name, engine in self._engines.items()}
        return prometheus((self.requests, self.latency, self.open)) + prometheus_by("model", groups)

    async def _load(self, exchange: Exchange) -> None:
        name, url = _load_request(exchange)
        if name in self._engines:
            raise Conflict(f"model {name!r} is already loaded")
        settings = self._settings(url)
        _check_memory(settings.model_dir)
        engine = self._engines[name] = Engine(settings)
        self._urls[name] = url
        await engine.start()
        while engine.unhealthy() and not engine.failed.done() and self._has(name, engine):
            await asyncio.sleep(0.01)
        if not self._has(name, engine):
            raise HandlerFailed(f"model {name!r} was unloaded before it was ready")
        if engine.failed.done():
            del self._engines[name], self._urls[name]
            await engine.close()
            raise HandlerFailed(f"model {name!r} cannot be served: {engine.failed.result()}")
        self._answer(exchange, {"status": f"model {name!r} loaded"})

    def _has(self, name: str, engine: Engine) -> bool:
        return self._engines.get(name) is engine

    async def _unload(self, exchange: Exchange, name: str) -> None:
        engine = self._engine(name)
        del self._engines[name], self._urls[name]
        while engine.unanswered:
            await asyncio.sleep(0.01)
        await engine.close()
        self._answer(exchange, {"status": f"model {name!r} unloaded"})

    def _list(self, exchange: Exchange) -> None:
        _, _, query = exchange.head.target.partition(b"next_page_token=")
        start = int(query) if query.isdigit() else 0
        names = list(self._engines)
        page = {"models": [self._describe(name) for name in names[start : start + _PAGE]]}
        more = {"nextPageToken": str(start + _PAGE)} if start + _PAGE < len(names) else {}
        self._answer(exchange, {**page, **more})

    def _describe(self, name: str) -> dict[str, Any]:
        self._engine(name)
        return {"modelName": name, "modelUrl": self._urls[name]}

    def _engine(self, name: str) -> Engine:
        if name not in self._engines:
            raise NotFound(f"model {name!r} is not loaded")
        return self._engines[name]

    def _settings(self, url: str) -> Settings:
        path = Path(url).resolve()
        if not path.is_relative_to(self._root):
            raise BadRequest(f"url must lie below {self._root}")
        try:
            return read_settings(path, vars(self.engine.settings.serving))
        except StartupError as error:
            raise BadRequest(str(error)) from error

    def _answer(self, exchange: Exchange, content: dict[str, Any]) -> None:
        self.requests.add(1, 200)
        exchange.answer(200, _JSON, jsontext.write(content))

    def _run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except RequestError as error:
                self.fail(exchange, error)
            except Exception as error:  # whatever it is, the client must not wait for ever
                log("load or unload failed", error=repr(error))
                if isinstance(error, OSError) and error.errno in _EXHAUSTED:
                    reason = f"no room for one more model ({error.strerror}); unload another first"
                    self.fail(exchange, InsufficientMemory(reason))
                else:
                    self.fail(exchange, HandlerFailed("the server failed; its log says why"))

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _load_request(exchange: Exchange) -> tuple[str, str]:
    body = exchange.body
    value = jsontext.read(body) if isinstance(body, bytes) else None
    name, url = (value.get("model_name"), value.get("url")) if isinstance(value, dict) else (0, 0)
    if not isinstance(name, str) or not isinstance(url, str) or not name or not url:
        raise BadRequest('json: expected {"model_name": "...", "url": "..."}')
    return name, url


def _check_memory(model_dir: Path) -> None:
    files = sum(path.stat().st_size for path in model_dir.rglob("*") if path.is_file())
    if files * _GROWTH + _PROCESS_BYTES > _available_bytes():
        raise InsufficientMemory("not enough memory for this model; unload another first")


def _available_bytes() -> int:
    """Return what the machine, or this container's memory limit, still has."""
    with open("/proc/meminfo", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    available = int(lines["MemAvailable"].split()[0]) * 1024
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except OSError:
        return available
    return available if limit == "max" else min(available, int(limit) - used)
