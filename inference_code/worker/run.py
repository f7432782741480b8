"""Receive, ask, keep the answer, delete; extend while working; drain on SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop

from inference_code.engine.engine import Engine
from inference_code.engine.log import log
from inference_code.engine.settings import Settings
from inference_code.errors import RequestError, StartupError
from inference_code.worker import message as messages
from inference_code.worker.message import Message, Poison
from inference_code.worker.queue import BATCH, AwsErrors, Queue
from inference_code.worker.results import Result, Results

_T = TypeVar("_T")

THREADS = 16
"""Calls to AWS at a time."""
_TICK_S = 0.05
_TELL_S = 60.0
_MAX_WAIT_S = 30.0
#: Kept of the countdown, to show unfinished messages to other workers again.
_RELEASE_S = 2.0


@dataclass
class Held:
    """A message that this worker has taken; hidden from others until ``hidden_until_s`` at least."""

    message: Message
    hidden_until_s: float


class Worker:
    """Joins a queue, an engine and a place for results. All but the calls to AWS runs on one event loop."""

    def __init__(self, engine: Engine, queue: Queue, results: Results) -> None:
        serving = engine.settings.serving
        self._engine, self._queue, self._results = engine, queue, results
        # Enough for all workers' batches and as much again to take over; never what the engine would refuse.
        self._limit = max(1, min(2 * serving.workers * serving.max_batch, serving.queue_limit))
        # Each call to SQS is paid for: none is made for a message or two while half of that is still to do.
        self._worthwhile = min(BATCH, (self._limit + 1) // 2)
        self._drain_s = serving.drain_s
        self._threads = ThreadPoolExecutor(THREADS)
        self._held: dict[str, Held] = {}
        self._done: list[Message] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.counts: Counter[str] = Counter()

    async def run(self, stop: asyncio.Future[signal.Signals]) -> None:
        """Work until ``stop``, then drain: take no more, finish, show the rest to others again."""
        loop = asyncio.get_running_loop()
        receiver = loop.create_task(self._receive())
        keeper = loop.create_task(self._keep())
        try:
            await asyncio.wait(
                (stop, receiver, keeper, self._engine.failed), return_when=asyncio.FIRST_COMPLETED
            )
            if self._engine.failed.done():
                raise StartupError(self._engine.failed.result())
            await self._drain(receiver)
            for task in (receiver, keeper):
                if task.done():
                    task.result()  # a fault of ours must not look like a drain
        finally:
            keeper.cancel()
            receiver.cancel()
            self._threads.shutdown(wait=False, cancel_futures=True)
            log("worker ended", **self.counts, unfinished=len(self._held))

    async def _drain(self, receiver: asyncio.Task[None]) -> None:
        end = time.monotonic() + self._drain_s
        self._stopping = True
        log("draining", held=len(self._held))
        while (self._held or not receiver.done()) and time.monotonic() < end - _RELEASE_S:
            await asyncio.sleep(_TICK_S)
        await self._flush()
        left = [held.message for held in self._held.values()]
        if left:
            self.counts["released"] += len(left)
            await self._quietly("release", lambda: self._queue.hide(left, 0))

    async def _call(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _quietly(self, what: str, work: Callable[[], Any]) -> bool:
        """Call AWS; what fails is logged, and mended by the message's next delivery."""
        try:
            await self._call(work)
        except AwsErrors as error:
            self.counts["aws errors"] += 1
            log("aws error", doing=what, message=str(error))
            return False
        return True

    async def _receive(self) -> None:
        """Take messages while there is room for them; after an error wait, longer each time."""
        failures = 0
        while not self._stopping:
            room = self._limit - len(self._held)
            if room < self._worthwhile or not self._engine.ready_workers:
                await asyncio.sleep(_TICK_S / 5)
                continue
            asked_s = time.monotonic()
            try:
                found = await self._call(lambda room=room: self._queue.receive(room))  # type: ignore[misc]
                failures = 0
            except AwsErrors as error:
                failures += 1
                self.counts["aws errors"] += 1
                log("aws error", doing="receive", message=str(error))
                await asyncio.sleep(min(_MAX_WAIT_S, 0.5 * 2**failures))
                continue
            if self._stopping and found:  # they came while we were asked to stop
                self.counts["released"] += len(found)
                await self._quietly("release", lambda rows=found: self._queue.hide(rows, 0))
                return
            for message in found:
                self._held[message.receipt] = Held(message, asked_s + self._queue.visibility_s)
                task = asyncio.get_running_loop().create_task(self._handle(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _keep(self) -> None:
        """Delete what is done, keep hidden what is not, tell the counts."""
        told_s = flushed_s = time.monotonic()
        third = self._queue.visibility_s / 3
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            # Deleted ten at a time, as calls are paid for; what is answered stays hidden two thirds at least.
            if len(self._done) >= BATCH or now - flushed_s >= min(1.0, third / 2):
                await self._flush()
                flushed_s = now = time.monotonic()
            late = [held for held in self._held.values() if held.hidden_until_s - now < 2 * third]
            if late:
                rows = [held.message for held in late]
                if await self._quietly("extend", lambda rows=rows: self._extend(rows)):  # type: ignore[misc]
                    for held in late:
                        held.hidden_until_s = now + self._queue.visibility_s
                else:
                    await asyncio.sleep(min(1.0, third / 4))
            if now - told_s > _TELL_S:
                told_s = now
                log("worker", held=len(self._held), **self.counts)

    def _extend(self, rows: list[Message]) -> None:
        refused = self._queue.hide(rows, self._queue.visibility_s)
        if refused:
            # Shown again already: another may compute it too, and only one answer is kept.
            self.counts["extended too late"] += refused

    async def _flush(self) -> None:
        while self._done:
            rows, self._done = self._done[:BATCH], self._done[BATCH:]
            await self._quietly("delete", lambda rows=rows: self._queue.delete(rows))  # type: ignore[misc]

    async def _handle(self, message: Message) -> None:
        """Bring one message to its end; whatever fails, it comes again."""
        try:
            await self._settle(message)
        except Poison as poison:
            await self._give_up(message, 400, str(poison))
        except AwsErrors as error:
            self.counts["aws errors"] += 1
            log("aws error", doing="results", message=str(error), message_id=message.id)
            await self._later(message)
        except RequestError as error:  # we are draining and there is no room
            self.counts["released"] += 1
            log("released", message_id=message.id, message=error.message)
            await self._quietly("release", lambda: self._queue.hide([message], 0))
        finally:
            self._held.pop(message.receipt, None)

    async def _settle(self, message: Message) -> None:
        headers, body, _ = message.headers, message.body, message.key
        if message.receives > 1 and await self._call(lambda: self._results.known(message)):
            self.counts["known"] += 1
            self._done.append(message)
            return
        status, content_type, answer = await self._ask(body, headers)
        match messages.fate(status, message.receives, self._queue.tries):
            case "answer":
                result = Result(content_type.partition(b"\r\n")[0].decode("latin-1"), answer)
                await self._call(lambda: self._results.put(message, result))
                self.counts["answered"] += 1
                self._done.append(message)
            case "retry" | "wait":
                log("retry", message_id=message.id, reason=messages.reason(status, answer))
                await self._later(message)
            case "give up":
                await self._give_up(message, status, messages.reason(status, answer))

    async def _ask(self, body: bytes, headers: bytes) -> tuple[int, bytes, bytes]:
        """Return the engine's answer; wait while it has no room. Raises RequestError when we are draining."""
        loop = asyncio.get_running_loop()
        while True:
            future: asyncio.Future[tuple[int, bytes, bytes]] = loop.create_future()

            def done(status: int, content_type: bytes, answer: bytes, to: Any = future) -> None:
                if not to.done():
                    to.set_result((status, content_type, answer))

            try:
                self._engine.submit(body, headers, None, done)
            except RequestError as error:
                if error.status != 503 or self._stopping:
                    raise
                await asyncio.sleep(min(error.retry_after_s or 1.0, 1.0))
                continue
            status, content_type, answer = await future
            if status != 503 or self._stopping:
                return status, content_type, answer

    async def _later(self, message: Message) -> None:
        self.counts["retried"] += 1
        delay_s = messages.retry_delay_s(message.receives)
        await self._quietly("retry", lambda: self._queue.hide([message], delay_s))

    async def _give_up(self, message: Message, status: int, reason: str) -> None:
        log("given up", message_id=message.id, status=status, reason=reason)
        if await self._quietly("give up", lambda: self._queue.give_up(message, status, reason)):
            self.counts["given up"] += 1
            self._done.append(message)


def work(settings: Settings, queue: Queue, results: Results) -> int:
    """Work until SIGTERM (returns 0) or SIGINT (130). Raises StartupError when the model cannot be served."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work(settings, queue, results))


async def _work(settings: Settings, queue: Queue, results: Results) -> int:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[signal.Signals] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _once, stop, number)
    engine = Engine(settings)
    log("working", model=settings.name, queue=queue.url)
    try:
        await engine.start()
        worker = Worker(engine, queue, results)
        await worker.run(stop)
    finally:
        await engine.close()
    return 0 if stop.done() and stop.result() == signal.SIGTERM else 130


def _once(stop: asyncio.Future[signal.Signals], number: signal.Signals) -> None:
    if not stop.done():
        stop.set_result(number)
