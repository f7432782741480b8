"""SIGTERM: fail health, keep accepting, mark answers as the last, stop accepting, finish, exit."""

import contextlib
import http.client
import signal
import socket
import threading
import time

import pytest

pytestmark = pytest.mark.serve


@pytest.fixture
def server(start, model_dir):
    return start(model_dir("moody"), "--drain-s", "4").wait_until_ready()


def test_work_in_flight_is_finished_and_the_exit_code_is_0(server):
    replies = []
    thread = threading.Thread(target=lambda: replies.append(server.invoke({"s": 1.5})))
    thread.start()
    time.sleep(0.3)
    server.terminate()
    thread.join(10)
    assert replies[0].status == 200
    assert server.process.wait(6) == 0


def test_health_fails_at_once_while_requests_are_still_taken(server):
    server.terminate()
    server.wait_for_ping(503, within_s=0.5)
    reply = server.invoke({})
    assert reply.status == 200
    assert reply.headers["connection"] == "close"
    assert server.process.wait(6) == 0


def test_a_kept_alive_connection_is_told_to_close(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/ping")
    assert connection.getresponse().read() == b""
    server.terminate()
    time.sleep(0.2)
    connection.request("GET", "/ping")
    assert connection.getresponse().getheader("connection") == "close"


def test_the_port_is_free_afterwards(server):
    server.terminate()
    assert server.process.wait(6) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_stragglers_cannot_hold_the_exit_and_a_second_signal_starts_no_second_countdown(server):
    threading.Thread(target=lambda: _ignore(server, {"s": 30}), daemon=True).start()
    time.sleep(0.3)
    start = time.monotonic()
    server.terminate()
    time.sleep(2)
    server.terminate()
    assert server.process.wait(10) == 0
    assert time.monotonic() - start < 6


def test_ctrl_c_drains_without_the_wait_for_load_balancers(server):
    start = time.monotonic()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(5) == 130
    assert time.monotonic() - start < 1.5


def _ignore(server, order):
    with contextlib.suppress(OSError, http.client.HTTPException):
        server.invoke(order)
