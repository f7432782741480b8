"""Sockets, the batcher and the model in one plain loop, and nothing else: what TCP alone takes from the bare loop.

No health, limits, metrics, timeouts or chunked bodies, one wedged inference stops all: not a server to use. What
ours stays behind it is the price of its manners.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Any

from inference_code.batcher import Batcher, Waiting
from inference_code.engine.served import ServedModel

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_LARGEST = 1 << 20


class Client:
    """One connection; it holds one request at a time."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self.memory = memoryview(bytearray(_LARGEST))
        self.count = self.body = self.end = 0
        self.kind = ""

    def receive(self) -> bool:
        """Read what is there; return whether the request is complete. Raises ConnectionError at the end."""
        count = self.socket.recv_into(self.memory[self.count :])
        if not count:
            raise ConnectionResetError
        self.count += count
        if not self.end:
            head, found, _ = bytes(self.memory[: min(self.count, 4096)]).partition(b"\r\n\r\n")
            if not found:
                return False
            lines = (line.partition(b": ") for line in head.lower().split(b"\r\n")[1:])
            headers = {name: value for name, _, value in lines}
            self.body = len(head) + 4
            self.end = self.body + int(headers.get(b"content-length", b"0"))
            self.kind = headers.get(b"content-type", b"").decode()
        return self.count >= self.end

    def answer(self, body: bytes) -> None:
        """Send one answer, and be ready for the next request."""
        self.socket.send(_ANSWER % (len(body), body))
        self.count = self.end = 0


def serve(port: int, model: ServedModel) -> None:
    """Serve for good."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    clients: dict[int, Client] = {}
    queue: Batcher[tuple[Client, Any]] = Batcher(model.max_batch, overhead=model.overhead)
    while True:
        for number, _ in poll.poll(0 if queue else None):
            if number == listener.fileno():
                sock, _ = listener.accept()
                clients[sock.fileno()] = Client(sock)
                poll.register(sock, select.EPOLLIN)
                continue
            client = clients[number]
            try:
                complete = client.receive()
            except ConnectionError:
                poll.unregister(number)
                clients.pop(number).socket.close()
                continue
            if complete:
                body = client.memory[client.body : client.end]
                item = model.decode(body, client.kind, "")
                queue.add(Waiting((client, item), time.monotonic(), model.length(item)))
        batch = queue.take(time.monotonic())
        if batch:
            outputs = model.predict([waiting.item[1] for waiting in batch])
            for waiting, output in zip(batch, outputs, strict=True):
                waiting.item[0].answer(model.encode(output, "")[2])
