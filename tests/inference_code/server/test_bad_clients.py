"""Clients that are slow, many, or gone: none may hold the server."""

import contextlib
import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = pytest.mark.serve
ROOT = Path(__file__).parents[3]


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
def test_clients_that_drip_are_told_408_while_others_are_served(start, model_dir):
    heads = {
        "head": b"GET /ping HTTP/1.1\r\nx-header: ",
        "body": b"POST /invocations HTTP/1.1\r\ncontent-length: 1000\r\n\r\n",
        "large body": b"POST /invocations HTTP/1.1\r\ncontent-length: 600000\r\n\r\n",
    }
    server = start(model_dir()).wait_until_ready()
    with ThreadPoolExecutor(len(heads)) as pool:
        drips = {
            name: pool.submit(drip, server, head, b"a" * 500, 0.2) for name, head in heads.items()
        }
        end = time.monotonic() + 20
        while time.monotonic() < end and not all(answer.done() for answer in drips.values()):
            assert server.invoke({"x": 1}).status == 200
            time.sleep(0.5)
    told = {name: answer.result()[:13] for name, answer in drips.items()}
    assert told == dict.fromkeys(heads, b"HTTP/1.1 408 ")


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


def test_a_crowd_that_takes_all_file_descriptors_makes_way_for_who_asks(start, model_dir):
    server = start(model_dir(), files=64).wait_until_ready()
    with connect(server) as kept:
        kept.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
        assert kept.recv(1000).startswith(b"HTTP/1.1 200 ")
        crowd = [connect(server) for _ in range(200)]
        for _ in range(20):
            assert server.invoke({"x": 1}).status == 200
        assert server.metric("inference_connections") < 48
        (worker,) = server.ask("GET", "/stats").json()["workers"]
        os.kill(worker["pid"], signal.SIGKILL)
        assert server.invoke({"x": 1}).status == 200
        kept.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
        assert kept.recv(1000).startswith(b"HTTP/1.1 ")
        for sock in crowd:
            sock.close()


def test_a_stop_while_the_model_loads_is_prompt(start, model_dir):
    server = start(
        model_dir("import time\ndef model_fn(d): time.sleep(60)\ndef predict_fn(d, m): 1")
    )
    time.sleep(0.3)
    server.terminate()
    assert server.process.wait(5) == 0


def test_a_half_closed_client_gets_its_answer_and_then_the_end(start, model_dir):
    server = start(model_dir()).wait_until_ready()
    with connect(server) as sock:
        sock.settimeout(5)
        sock.sendall(b'POST /invocations HTTP/1.1\r\ncontent-length: 7\r\n\r\n{"x":4}')
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while part := sock.recv(4096):
            got += part
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b'"answer":8' in got


@pytest.mark.parametrize("log", ["pipe", "full"])
def test_a_log_that_takes_nothing_harms_no_request(model_dir, log):
    reading, writing = os.pipe()
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    arguments = ["serve", "--model-dir", str(model_dir("moody")), "--host", "127.0.0.1"]
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "inference_code", *arguments, "--port", str(port)],
            stderr=writing if log == "pipe" else full,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        ask(port, "GET", "/ping", until=200)
        for _ in range(150):  # each leaves a traceback and a line in the log, together over 64 KiB
            assert ask(port, "POST", "/invocations", b'{"do": "raise"}') == 500
        assert ask(port, "POST", "/invocations", b"{}") == 200
        assert ask(port, "GET", "/ping") == 200
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)


def ask(port, method, path, body=None, until=0):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(ConnectionRefusedError):
            connection.request(method, path, body)
            answer = connection.getresponse()
            answer.read()
            if answer.status == until or not until:
                return answer.status
        time.sleep(0.05)
    raise AssertionError(f"{path} did not answer {until}")
