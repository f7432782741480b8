"""A worker process: receive, decode, batch, predict, encode, answer; started by ``pool``.

It ends when the front's end of the socket closes, so it cannot outlive the server.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference_code.batcher import Batcher, Objective, ServiceTimes, Waiting
from inference_code.engine import frames
from inference_code.engine.arena import ArenaView
from inference_code.engine.manners import Manners
from inference_code.engine.served import Reply, ServedModel, error_reply
from inference_code.engine.settings import read_settings
from inference_code.errors import DeadlineExceeded, RequestError, StartupError

_CHUNK = 1 << 20
#: An idle worker that is asked whether it lives runs a sample when its last inference is this old.
_PROOF_AGE_S = 5.0


class Channel:
    """This process's end of the socket pair."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._splitter = frames.Splitter()
        self._buffer = bytearray(_CHUNK)
        self._view = memoryview(self._buffer)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self.closed = False

    def receive(self, wait_s: float | None) -> list[frames.Request]:
        """Return what has come; wait for it at most ``wait_s`` seconds (None: as long as it takes)."""
        flags = 0
        if wait_s is not None:
            flags = socket.MSG_DONTWAIT
            if wait_s > 0 and not self._poll.poll(wait_s * 1000):
                return []
        try:
            count = self._socket.recv_into(self._view, 0, flags)
        except BlockingIOError:
            return []
        self.closed = count == 0
        return self._splitter.requests(bytes(self._view[:count]))

    def send(self, *parts: bytes) -> None:
        """Send frames in one go."""
        self._socket.sendall(b"".join(parts))


class Worker:
    """The loop of a worker process."""

    def __init__(
        self, channel: Channel, page: frames.StatusPage, arena: ArenaView, model: ServedModel
    ) -> None:
        self._arena = arena
        self._channel = channel
        self._page = page
        self._model = model
        self._proof_s = time.monotonic()
        self._decode_s = 0.0
        self._manners = Manners()
        self._headers: dict[bytes, tuple[str, str, Mapping[str, str]]] = {}
        self._knows_length = model.overhead is not None
        serving = model.settings.serving
        self._times = ServiceTimes(model.alone_s, model.full_s, model.max_batch)
        objective_s = serving.objective_ms / 1000.0
        objective = Objective(objective_s, self._times) if objective_s else None
        self._queue: Batcher[tuple[frames.Request, Any]] = Batcher(
            model.max_batch, serving.max_wait_ms / 1000.0, model.overhead, objective
        )

    def run(self) -> None:
        """Serve until the front hangs up."""
        while True:
            queue = self._queue
            wait_s = queue.wait_s(time.monotonic()) if queue else None
            requests = self._channel.receive(wait_s)
            if requests:
                self._accept(requests)
            if self._channel.closed:
                return
            batch = queue.take(time.monotonic())
            if batch:
                self._answer(batch)

    def _accept(self, requests: list[frames.Request]) -> None:
        start = time.monotonic()
        self._page.begin([request.id for request in requests if request.id], start)
        for request in requests:
            if request.kind == frames.PROBE:
                self._prove()
            else:
                self._decode(request)
        now = time.monotonic()
        self._page.end(now)
        self._decode_s += now - start

    def _decode(self, request: frames.Request) -> None:
        body: bytes | memoryview = request.body
        if request.kind == frames.INVOKE_SHARED:
            view = self._arena.body(*frames.read_place(request.body))
            body = view if self._model.handler.takes_views else bytes(view)
        try:
            item = self._model.decode(body, *self._header(request.headers))
            length = self._model.length(item) if self._knows_length else 0
        except RequestError as error:
            self._reply(request, error_reply(error))
        else:
            self._queue.add(
                Waiting((request, item), request.arrived_s, length, request.alone, request.urgency)
            )

    def _answer(self, batch: list[Waiting[tuple[frames.Request, Any]]]) -> None:
        start = time.monotonic()
        end = start + self._times.of(len(batch))
        late = [w for w in batch if w.item[0].deadline_s < end]
        if late:
            for waiting in late:
                error = DeadlineExceeded("the deadline passes before the answer would be ready")
                self._reply(waiting.item[0], error_reply(error))
            batch = [w for w in batch if w.item[0].deadline_s >= end]
            if not batch:
                self._times.doubt()
                return
        requests = [waiting.item[0] for waiting in batch]
        self._page.begin([request.id for request in requests], start)
        outputs = self._model.predict([waiting.item[1] for waiting in batch])
        predicted = time.monotonic()
        answers = [
            frames.pack_answer(
                request.id, *self._model.encode(output, self._header(request.headers)[1])
            )
            for request, output in zip(requests, outputs, strict=True)
        ]
        encoded = self._proof_s = time.monotonic()
        self._page.end(encoded)
        self._times.learn(len(batch), encoded - start)
        report = frames.Report(
            len(batch),
            sum([waiting.length for waiting in batch]) if self._knows_length else 0,
            start,
            self._decode_s,
            predicted - start,
            encoded - predicted,
        )
        self._decode_s = 0.0
        self._manners.saw(len(batch))
        self._channel.send(frames.pack_report(report), *answers)

    def _reply(self, request: frames.Request, reply: Reply) -> None:
        self._channel.send(frames.pack_answer(request.id, *reply))

    def _prove(self) -> None:
        """Show that an inference still runs: the status page moves only when this returns."""
        now = time.monotonic()
        if self._model.samples and now - self._proof_s > _PROOF_AGE_S:
            self._page.begin([], now)
            sample = self._model.samples[0]
            self._model.answer(sample.body, sample.content_type)
            self._proof_s = now
        self._page.end(time.monotonic())

    def _header(self, headers: bytes) -> tuple[str, str, Mapping[str, str]]:
        known = self._headers.get(headers)
        if known is None:
            kind, accept, *others = headers.decode("latin-1").split("\0")
            known = kind, accept, dict(zip(others[::2], others[1::2], strict=True))
            if len(self._headers) < 256 and not others:
                self._headers[headers] = known
        return known


def main(arguments: dict[str, Any]) -> None:
    """Load the model, tell the front, serve."""
    # The terminal's and the container's signals are for the front, which then hangs up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=arguments["socket"]))
    try:
        settings = read_settings(Path(arguments["model_dir"]), arguments["serving"])
        page = frames.StatusPage(arguments["page"], arguments["page_ids"])
        model = ServedModel(settings)
        model.warm_up()
        interface = model.interface()
    except StartupError as error:
        channel.send(frames.pack_answer(0, frames.FAILED, b"", str(error).encode()))
        sys.exit(2)
    hello = {
        "max_batch": model.max_batch,
        "steps": model.steps,
        "slowest_s": model.slowest_s,
        "batch_effect": model.batch_effect,
        "unbatched": model.unbatched,
        "pid": os.getpid(),
        "wants_headers": model.handler.wants_headers,
        "interface": interface,
    }
    # What lives now lives for good: the collector need not walk it in the middle of a request.
    gc.collect()
    gc.freeze()
    channel.send(frames.pack_answer(0, frames.READY, b"", json.dumps(hello).encode()))
    Worker(channel, page, ArenaView(arguments["arena"]), model).run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
