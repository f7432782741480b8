"""Large bodies go through shared memory; none may leak, and none may be mixed up."""

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from inference_code.codecs import npy
from inference_code.engine.arena import LARGE_BYTES, SLOTS, Arena

pytestmark = pytest.mark.serve


@pytest.fixture
def server(start, model_dir):
    return start(model_dir("summer"), "--queue-limit", "500").wait_until_ready()


def body(first, count=150_000):
    array = np.ones(count, np.float32)
    array[0] = first
    return npy.write(array)


def ask(server, first, **headers):
    return server.ask(
        "POST", "/invocations", body(first), Content_Type="application/x-npy", **headers
    )


def shared(server):
    return server.metric("inference_shared_bodies")


def test_concurrent_large_bodies_get_their_own_answers_and_leave_nothing(server):
    with ThreadPoolExecutor(16) as threads:
        replies = list(threads.map(lambda n: ask(server, n).json(), range(1, 150)))
    assert replies == [149_999.0 + n for n in range(1, 150)]
    assert shared(server) == 0


def test_one_connection_carries_large_and_small_bodies_in_turn(server):
    small = body(5, 10)
    large = body(7)
    head = (
        b"POST /invocations HTTP/1.1\r\ncontent-type: application/x-npy\r\ncontent-length: %d\r\n"
    )
    data = head % len(large) + b"\r\n" + large + head % len(small) + b"\r\n" + small
    data += head % len(large) + b"connection: close\r\n\r\n" + large
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(data)
        got = b""
        while chunk := sock.recv(65536):
            got += chunk
    answers = [part.split(b"HTTP")[0] for part in got.split(b"\r\n\r\n")[1:]]
    assert [float(answer) for answer in answers] == [150_006.0, 14.0, 150_006.0]


def test_an_upload_that_breaks_off_gives_its_memory_back(server):
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(
            b"POST /invocations HTTP/1.1\r\ncontent-length: 600000\r\n\r\n" + b"x" * 300_000
        )
        while shared(server) != 1:
            pass
    while shared(server) != 0:
        pass


def test_a_large_body_survives_the_crash_of_a_batchmate(server):
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(lambda n: ask(server, n), [1, -1, 2, 3]))
    assert [reply.status for reply in replies] == [200, 500, 200, 200]
    assert [replies[i].json() for i in (0, 2, 3)] == [150_000.0, 150_001.0, 150_002.0]
    assert shared(server) == 0


def test_a_wrong_large_body_is_refused_and_gives_its_memory_back(server):
    assert ask(server, 1, Content_Encoding="gzip").status == 415
    assert server.invoke(b"[" * 100_000).status == 400
    assert shared(server) == 0


def test_the_arena_hands_out_the_lowest_slot_and_takes_each_back_once():
    arena = Arena(LARGE_BYTES)
    slots = [arena.acquire(10) for _ in range(SLOTS)]
    assert arena.acquire(10) is None
    slots[3].release()
    slots[3].release()
    assert arena.acquire(10).index == 3
    assert arena.acquire(10) is None
    assert arena.in_use == SLOTS
