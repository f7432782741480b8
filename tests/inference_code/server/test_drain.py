"""SIGTERM: fail health, keep accepting, mark answers as the last, stop accepting, finish, exit."""

import contextlib
import http.client
import itertools
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


def test_the_lame_duck_lasts_as_long_as_it_is_told(start, model_dir):
    server = start(model_dir("moody"), "--drain-s", "6", "--lame-duck-s", "3").wait_until_ready()
    server.terminate()
    time.sleep(2.2)  # a quarter of the countdown would be over
    assert server.invoke({}).status == 200
    assert server.process.wait(6) == 0


def test_a_lame_duck_longer_than_the_countdown_is_refused(start, model_dir):
    with pytest.raises(AssertionError, match="between 0 and the 2 s of --drain-s, not 3"):
        start(model_dir("moody"), "--lame-duck-s", "3")


CLIENTS = 8


@pytest.mark.parametrize(("drain_s", "lossless"), [("4", True), ("0", False)])
def test_kept_alive_posts_move_on_without_a_loss_and_only_with_the_drain(
    start, model_dir, drain_s, lossless
):
    """Clients that never repeat a POST look at /ping, as a load balancer does, before they connect."""
    folder = model_dir("moody")
    old = start(folder, "--drain-s", drain_s).wait_until_ready()
    new = start(folder, "--drain-s", "4").wait_until_ready()
    health = Health(old, new)
    failed: list[object] = []
    counts = [0] * CLIENTS
    stop = threading.Event()
    threads = [
        threading.Thread(target=_post_on, args=(health, stop, counts, failed, number))
        for number in range(CLIENTS)
    ]
    watcher = threading.Thread(target=health.watch, args=(stop,))
    for thread in (*threads, watcher):
        thread.start()
    _each_posts(counts, 5)
    old.terminate()
    assert old.process.wait(8) == 0
    _each_posts(counts, 5)
    stop.set()
    for thread in (*threads, watcher):
        thread.join(10)
    assert bool(failed) != lossless, failed[:3]


def _each_posts(counts, more):
    """Wait until each client has posted so many times more, however slow the machine is."""
    goals, give_up = [count + more for count in counts], time.monotonic() + 30
    while any(count < goal for count, goal in zip(counts, goals, strict=True)):
        assert time.monotonic() < give_up, counts
        time.sleep(0.01)


class Health:
    """Whom a load balancer would choose: the first whose last /ping was 200."""

    def __init__(self, *servers):
        self.servers = servers
        self.chosen = servers[0]

    def watch(self, stop):
        while not stop.wait(0.1):
            for server in self.servers:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if server.ask("GET", "/ping").status == 200:
                        self.chosen = server
                        break


def _post_on(health, stop, counts, failed, number):
    connection, chosen = None, None
    for turn in itertools.count():
        if stop.is_set():
            break
        if connection is None or chosen is not health.chosen:
            if connection is not None:
                connection.close()
            chosen = health.chosen
            connection = http.client.HTTPConnection("127.0.0.1", chosen.port, timeout=10)
        try:
            connection.request("POST", "/invocations", b'{"s": 0.02}')
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                failed.append(answer.status)
            if answer.getheader("connection") == "close":
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as error:
            failed.append((turn, repr(error)))
            connection.close()
            connection = None
        counts[number] += 1
        time.sleep(0.005)
    if connection is not None:
        connection.close()
