"""Clients that are slow, many, or gone: none may hold the server."""

import contextlib
import resource
import socket
import threading
import time

import pytest

pytestmark = pytest.mark.serve


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def drip(server, start, data, pause_s):
    """Send ``start``, then a byte at a time until the server hangs up; return what it said."""
    with connect(server) as sock:
        sock.settimeout(pause_s)
        sock.sendall(start)
        for byte in data:
            sock.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                return sock.recv(4096)
    return b""


@pytest.mark.slow
@pytest.mark.parametrize(
    "head",
    [
        b"GET /ping HTTP/1.1\r\nx-header: ",
        b"POST /invocations HTTP/1.1\r\ncontent-length: 1000\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ncontent-length: 600000\r\n\r\n",
    ],
    ids=["head", "body", "large body"],
)
def test_a_client_that_drips_is_told_408_while_others_are_served(start, model_dir, head):
    server = start(model_dir()).wait_until_ready()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(drip(server, head, b"a" * 500, 0.2)))
    began = time.monotonic()
    thread.start()
    while thread.is_alive() and time.monotonic() < began + 20:
        assert server.invoke({"x": 1}).status == 200
        time.sleep(0.5)
    thread.join()
    assert answers[0].startswith(b"HTTP/1.1 408 ")


def test_a_thousand_idle_connections_harm_no_one(start, model_dir):
    server = start(model_dir()).wait_until_ready()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        idle = [connect(server) for _ in range(1000)]
        began = time.monotonic()
        assert server.invoke({"x": 1}).status == 200
        assert time.monotonic() - began < 1.0
        assert server.metric("inference_connections") >= 1000
        for sock in idle:
            sock.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_client_that_reads_nothing_does_not_make_the_server_hoard(start, model_dir):
    source = """
    def model_fn(model_dir): return None
    def predict_fn(data, model): return "x" * 1_000_000
    """
    server = start(model_dir(source)).wait_until_ready()
    request = b"POST /invocations HTTP/1.1\r\ncontent-length: 1\r\n\r\n1"
    with connect(server) as sock:
        sock.settimeout(2)
        with contextlib.suppress(TimeoutError):
            for _ in range(2000):
                sock.sendall(request)
        time.sleep(1.0)
        assert server.metric('inference_memory_bytes{process="front"}') < 200e6
        assert server.invoke(1).status == 200


def test_running_out_of_file_descriptors_is_survived(start, model_dir):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        server = start(model_dir())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    server.wait_until_ready()
    with connect(server) as kept:
        crowd = []
        for _ in range(100):
            crowd.append(connect(server))
        kept.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
        assert kept.recv(1000).startswith(b"HTTP/1.1 200 ")
        for sock in crowd:
            sock.close()
    server.wait_for_ping(200, within_s=5)
    assert server.invoke({"x": 1}).status == 200


def test_a_stop_while_the_model_loads_is_prompt(start, model_dir):
    server = start(
        model_dir("import time\ndef model_fn(d): time.sleep(60)\ndef predict_fn(d, m): 1")
    )
    time.sleep(0.3)
    server.terminate()
    assert server.process.wait(5) == 0
