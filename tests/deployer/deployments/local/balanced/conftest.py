"""Traffic for a fleet: POSTs on kept connections, none ever repeated."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

CLIENTS = 12
PAUSE_S = 0.02


@pytest.fixture
def traffic() -> Callable[[int], AbstractContextManager[dict[str, Any]]]:
    """``with traffic(port) as counts``: post until the block ends; ``counts`` tells what was answered."""

    @contextmanager
    def run(port: int) -> Iterator[dict[str, Any]]:
        counts: dict[str, Any] = {"ok": 0, "failed": []}
        stop = threading.Event()
        threads = [
            threading.Thread(target=_post, args=(port, stop, counts)) for _ in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield counts
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)

    return run


def _post(port: int, stop: threading.Event, counts: dict[str, Any]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    while not stop.wait(PAUSE_S):
        try:
            connection.request("POST", "/invocations", b'"hello"')
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            counts["failed"].append(repr(error))
            connection.close()
            continue
        if answer.status == 200:
            counts["ok"] += 1
        else:
            counts["failed"].append((answer.status, body))
    connection.close()
