"""What the server answers, over real HTTP to a real process."""

import json
import os
import re
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from deployer.cost.materials.fleet import EMF_BYTES, EMF_METRICS

pytestmark = pytest.mark.serve

REQUEST = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
SLOW_START = """
import time

def model_fn(model_dir):
    time.sleep(1.0)

def predict_fn(data, model):
    return data
"""


@pytest.fixture
def doubler(start, model_dir):
    return start(model_dir()).wait_until_ready()


@pytest.fixture
def moody(start, model_dir):
    def run(*arguments):
        return start(model_dir("moody"), *arguments).wait_until_ready()

    return run


def in_background(function, *arguments):
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments)))
    thread.start()

    def wait():
        thread.join(30)
        return results[0]

    return wait


def filled(server, value):
    """Let a server of one place in its queue compute ``value`` and another wait; return how to wait for either."""
    running = in_background(server.invoke, value)
    time.sleep(0.2)
    queued = in_background(server.invoke, {})
    time.sleep(0.2)
    return running, queued


def cpu_s(process):
    """Return the processor time a process has used, in seconds."""
    times = process.cpu_times()
    return times.user + times.system


def raw(server, data, timeout=5.0):
    """Send bytes as they are; return all that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as sock:
        sock.sendall(data)
        got = b""
        while chunk := sock.recv(65536):
            got += chunk
        return got


def test_an_invocation_is_answered(doubler):
    reply = doubler.invoke({"x": 21})
    assert (reply.status, reply.json()["answer"]) == (200, 42)
    assert reply.headers["content-type"] == "application/json"


def test_ping_is_an_empty_200(doubler):
    reply = doubler.ask("GET", "/ping")
    assert (reply.status, reply.body) == (200, b"")


def test_head_is_answered_as_get_without_a_body(doubler):
    head = b"HEAD %b HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    got = raw(doubler, head % b"/openapi.json" + head % b"/nope" + head % b"/invocations" + last)
    answers = got.split(b"\r\n\r\n")
    assert [answer.split(b" ")[1] for answer in answers[:4]] == [b"200", b"404", b"405", b"200"]
    assert answers[4:] == [b""]
    assert int(re.search(rb"content-length: (\d+)", answers[0])[1]) > 100


def test_ping_is_503_until_warm_and_invocations_wait_for_nothing(start, model_dir):
    server = start(model_dir(SLOW_START))
    assert server.ask("GET", "/ping").status == 503
    reply = server.invoke({"x": 1})
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    server.wait_until_ready()
    assert server.invoke({"x": 1}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "says"),
    [
        ("POST", "/invocations", b"{", {}, 400, "json: "),
        ("POST", "/invocations", b"", {}, 400, "the body is empty"),
        ("POST", "/invocations", b"x", {"Content_Type": "image/png"}, 415, "image/png"),
        ("POST", "/invocations", b"x", {"Content_Encoding": "gzip"}, 415, "Content-Encoding"),
        ("POST", "/invocations", b'{"x":1}', {"Accept": "image/png"}, 406, "image/png"),
        ("POST", "/invocations", b'{"x":1}', {"X_Deadline_Ms": "soon"}, 400, "X-Deadline-Ms"),
        ("POST", "/invocations", b'{"y":1}', {}, 500, "the model's predict step failed"),
        ("GET", "/invocations", None, {}, 405, "/invocations takes POST"),
        ("POST", "/ping", b"", {}, 405, "/ping takes GET"),
        ("DELETE", "/metrics", None, {}, 405, "/metrics takes GET"),
        ("GET", "/", None, {}, 404, "/invocations"),
        ("GET", "/invocations/../../etc/passwd", None, {}, 404, "no such route"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(doubler, method, path, body, headers, status, says):
    reply = doubler.ask(method, path, body, **headers)
    assert reply.status == status
    assert says in reply.json()["message"]


def test_a_405_names_the_method_that_is_allowed(doubler):
    assert doubler.ask("GET", "/invocations").headers["allow"] == "POST"


def test_a_request_keeps_its_id_and_gets_one_if_it_has_none(doubler):
    assert doubler.invoke({"x": 1}, X_Request_Id="abc-1").headers["x-request-id"] == "abc-1"
    first, second = (doubler.invoke({"x": 1}).headers["x-request-id"] for _ in range(2))
    assert first != second


def test_a_body_past_the_limit_is_413_whether_announced_or_chunked(start, model_dir):
    server = start(model_dir(), "--max-body-bytes", "1000").wait_until_ready()
    assert server.invoke(b"x" * 1001).status == 413
    head = b"POST /invocations HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    assert raw(server, head + b"3e9\r\n" + b"x" * 1001).startswith(b"HTTP/1.1 413 ")
    assert server.invoke({"x": 1}).status == 200


def test_a_chunked_body_is_put_together(doubler):
    data = (
        b"POST /invocations HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        b'3\r\n{"x\r\n4\r\n":4}\r\n0\r\n\r\n'
    )
    assert b'"answer":8' in raw(doubler, data)


def test_pipelined_requests_are_answered_in_order(doubler):
    def request(x, last=False):
        body = json.dumps({"x": x}).encode()
        close = b"connection: close\r\n" if last else b""
        head = b"POST /invocations HTTP/1.1\r\ncontent-length: %d\r\n%b\r\n" % (len(body), close)
        return head + body

    ping = b"GET /ping HTTP/1.1\r\n\r\n"
    got = raw(
        doubler, request(1) + ping + b"".join(request(x) for x in range(2, 40)) + request(40, True)
    )
    answers = [int(part.split(b",")[0]) for part in got.split(b'"answer":')[1:]]
    assert answers == [2 * x for x in range(1, 41)]
    assert got.index(b"content-length: 0") < got.index(b'"answer":4,')


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"not http at all\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx", 400),
        (b"POST /invocations HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", 400),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /ping HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /ping HTTP/1.1\r\na: " + b"b" * 20000, 431),
    ],
)  # fmt: skip
def test_malformed_http_is_refused_and_the_server_lives(doubler, data, status):
    assert raw(doubler, data).startswith(b"HTTP/1.1 %d " % status)
    assert doubler.invoke({"x": 1}).status == 200


def test_a_client_that_expects_100_continue_gets_it(doubler):
    with socket.create_connection(("127.0.0.1", doubler.port), timeout=10) as sock:
        sock.sendall(
            b"POST /invocations HTTP/1.1\r\ncontent-length: 7\r\nexpect: 100-continue\r\n\r\n"
        )
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        sock.sendall(b'{"x":1}')
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_a_half_closed_client_still_gets_its_answer(moody):
    server = moody()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(b'POST /invocations HTTP/1.1\r\ncontent-length: 9\r\n\r\n{"s":0.3}')
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_inference_does_not_block_ping_and_metrics(moody):
    server = moody()
    waiting = in_background(server.invoke, {"s": 2})
    time.sleep(0.2)
    start = time.monotonic()
    assert server.ask("GET", "/ping").status == 200
    assert server.ask("GET", "/metrics").status == 200
    assert time.monotonic() - start < 1
    assert waiting().status == 200


def test_what_waits_together_is_one_batch(moody):
    server = moody("--max-batch", "4")
    blocker = in_background(server.invoke, {"s": 0.5})
    time.sleep(0.2)
    with ThreadPoolExecutor(4) as threads:
        batches = [r.json()["batch"] for r in threads.map(server.invoke, [{}] * 4)]
    assert blocker().json()["batch"] == 1
    assert batches == [4, 4, 4, 4]


def test_a_full_queue_sheds_with_retry_after(moody):
    server = moody("--max-batch", "1", "--queue-limit", "1")
    running, queued = filled(server, {"s": 1.0})
    refused = server.invoke({})
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert "queue full" in refused.json()["message"]
    assert (running().status, queued().status) == (200, 200)
    assert server.metric('inference_shed_total{reason="queue full"}') == 1


def test_refusing_leaves_a_shared_core_to_the_worker_and_ping_stays_quick(moody):
    server = moody("--max-batch", "1", "--queue-limit", "1")
    front, core = psutil.Process(server.process.pid), min(os.sched_getaffinity(0))
    [worker] = front.children()
    for process in (front, worker):
        process.cpu_affinity([core])
    running, queued = filled(server, {"spin": 2.0})
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(16)]
    refused, pings, before = 0, [], (cpu_s(front), cpu_s(worker))
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        for client in clients:
            client.sendall(REQUEST)
        refused += sum(b" 503 " in client.recv(4096) for client in clients)
        start = time.monotonic()
        clients[0].sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in clients[0].recv(4096)
        pings.append(time.monotonic() - start)
    refusing_s, computing_s = cpu_s(front) - before[0], cpu_s(worker) - before[1]
    for client in clients:
        client.close()
    assert refused > 100
    # When the front woke for every request, refusing took as much of the core as computing.
    assert refusing_s < 0.4 * computing_s
    assert sorted(pings)[len(pings) // 2] < 0.1
    assert (running().status, queued().status) == (200, 200)


def test_a_crowd_of_new_clients_is_refused_at_once(moody):
    server = moody("--max-batch", "1", "--queue-limit", "1")
    running, queued = filled(server, {"spin": 2.5})
    clients = [socket.socket() for _ in range(300)]
    start = time.monotonic()
    for client in clients:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", server.port))
    for client in clients:
        client.setblocking(True)
        client.sendall(REQUEST)
    assert all(b" 503 " in client.recv(4096) for client in clients)
    took_s = time.monotonic() - start
    for client in clients:
        client.close()
    # Beyond a backlog of 100, asyncio's own, clients wait for TCP's second try, a second later.
    assert took_s < 0.9
    assert (running().status, queued().status) == (200, 200)


def test_a_request_whose_deadline_has_passed_is_504_and_not_computed(moody):
    server = moody("--max-batch", "1")
    running = in_background(server.invoke, {"s": 1.0})
    time.sleep(0.2)
    late = server.ask("POST", "/invocations", b'{"do": "die"}', X_Deadline_Ms="100")
    assert late.status == 504
    assert running().status == 200
    assert server.metric("inference_worker_restarts_total") == 0


def test_a_batchmate_that_raises_harms_only_itself(moody):
    server = moody("--max-batch", "4")
    blocker = in_background(server.invoke, {"s": 0.5})
    time.sleep(0.2)
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(server.invoke, [{}, {"do": "raise"}, {}, {}]))
    assert [r.status for r in replies] == [200, 500, 200, 200]
    assert b"secret" not in replies[1].body
    assert blocker().status == 200


def test_a_crashed_worker_is_replaced_and_its_queue_survives(moody):
    server = moody("--max-batch", "4")
    blocker = in_background(server.invoke, {"s": 0.5})
    time.sleep(0.2)
    with ThreadPoolExecutor(8) as threads:
        orders = [{}, {"do": "die"}, {}, {}, {}, {}, {}]
        replies = list(threads.map(server.invoke, orders))
    assert [r.status for r in replies] == [200, 500, 200, 200, 200, 200, 200]
    assert "died" in replies[1].json()["message"]
    assert blocker().status == 200
    assert server.metric("inference_worker_restarts_total") >= 1
    server.wait_for_ping(200, within_s=5)


def test_a_wedged_worker_turns_ping_within_two_seconds_and_is_replaced(moody):
    server = moody("--request-timeout-s", "3")
    stuck = in_background(server.invoke, {"do": "stop"})
    time.sleep(0.1)
    assert server.wait_for_ping(503, within_s=4) < 2.0
    assert stuck().status in (500, 504)
    server.wait_for_ping(200, within_s=15)
    assert server.invoke({}).status == 200


def test_a_long_inference_is_not_taken_for_a_wedged_one(moody):
    server = moody()
    waiting = in_background(server.invoke, {"spin": 3.0})
    for _ in range(12):
        time.sleep(0.2)
        assert server.ask("GET", "/ping").status == 200
    assert waiting().status == 200


def test_several_workers_share_the_load(moody):
    server = moody("--workers", "2", "--max-batch", "1")
    end = time.monotonic() + 10
    while server.metric("inference_workers_ready") < 2 and time.monotonic() < end:
        time.sleep(0.05)
    with ThreadPoolExecutor(4) as threads:
        pids = {r.json()["pid"] for r in threads.map(server.invoke, [{"s": 0.2}] * 4)}
    assert len(pids) == 2


def test_a_client_that_goes_away_is_counted_and_harms_no_one(moody):
    server = moody()
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b'POST /invocations HTTP/1.1\r\ncontent-length: 9\r\n\r\n{"s":0.5}')
        time.sleep(0.1)
        # Closing now sends a reset: a plain FIN could be a client that still wants its answer.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.1)
    assert server.invoke({}).status == 200
    assert server.metric('inference_requests_total{code="499"}') == 1


def test_the_port_comes_from_sagemakers_variable(command, model_dir, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", str(taken.getsockname()[1]))
        result = command("serve", "--model-dir", str(model_dir()), "--host", "127.0.0.1")
        assert str(taken.getsockname()[1]) in result.stderr


def test_the_cache_computes_a_payload_once(moody):
    server = moody("--cache-mb", "1")
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(server.invoke, [{"s": 0.3}] * 8))
    assert [reply.status for reply in together] == [200] * 8
    assert server.invoke({"s": 0.3}).body == together[0].body
    assert server.metric('inference_cache_total{result="miss"}') == 1
    assert server.metric('inference_cache_total{result="hit"}') >= 1
    assert server.metric("inference_batch_size_count") == 1


def test_the_cache_is_off_by_default(moody):
    server = moody()
    for _ in range(2):
        server.invoke({})
    assert server.metric("inference_batch_size_count") == 2


def test_stats_tell_people_what_goes_on(doubler):
    doubler.invoke({"x": 1})
    stats = doubler.ask("GET", "/stats").json()
    assert stats["model"] == "model"
    assert stats["unhealthy"] is None
    assert stats["answers"] == {"200": 1}
    assert stats["workers"][0]["ready"] is True
    assert stats["workers"][0]["memory_mb"] > 5
    assert set(stats["start_s"]) == {"import", "load", "warm_up", "compare", "ready"}


def test_the_openapi_document_carries_the_sample(start, model_dir):
    server = start(model_dir(samples={"a.json": b'{"x": 4}'})).wait_until_ready()
    document = server.ask("GET", "/openapi.json").json()
    body = document["paths"]["/invocations"]["post"]["requestBody"]
    assert body["content"]["application/json"]["example"] == {"x": 4}
    assert "503" in document["paths"]["/invocations"]["post"]["responses"]


def test_metrics_are_prometheus_text(doubler):
    doubler.invoke({"x": 1})
    reply = doubler.ask("GET", "/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert doubler.metric('inference_requests_total{code="200"}') == 1
    assert doubler.metric("inference_request_seconds_count") == 1
    assert doubler.metric("inference_queue_seconds_count") == 1
    assert doubler.metric('inference_memory_bytes{process="front"}') > 1e6


def test_requests_are_logged_as_json_with_their_trace(start, model_dir):
    server = start(model_dir(), "--access-log").wait_until_ready()
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    reply = server.invoke({"x": 1}, X_Request_Id="r1", Traceparent=parent)
    assert reply.headers["traceparent"] == parent
    events = [json.loads(line) for line in server.log.read_text().splitlines()]
    (event,) = [event for event in events if event["event"] == "request"]
    assert (event["request_id"], event["status"]) == ("r1", 200)
    assert event["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_cloudwatch_records_count_what_happened(start, model_dir):
    server = start(model_dir(), "--emf-s", "0.3").wait_until_ready()
    server.invoke({"x": 1})
    end = time.monotonic() + 5
    answers = 0
    while answers < 1 and time.monotonic() < end:
        time.sleep(0.1)
        records = [json.loads(line) for line in server.log.read_text().splitlines()]
        answers = sum(record["Answers"] for record in records if "_aws" in record)
    assert answers == 1
    record = next(record for record in records if "_aws" in record)
    (directive,) = record["_aws"]["CloudWatchMetrics"]
    assert {metric["Name"] for metric in directive["Metrics"]} <= record.keys()
    # What a bill counts of it.
    assert len(directive["Metrics"]) == EMF_METRICS
    assert (
        max(len(line) for line in server.log.read_text().splitlines() if "_aws" in line)
        <= EMF_BYTES
    )


def test_what_could_not_be_answered_in_time_is_shed_not_queued(moody):
    server = moody("--max-batch", "1", "--request-timeout-s", "1.7", "--queue-limit", "100")
    body = b'{"s": 0.5}'
    request = b"POST /invocations HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    last = request.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    assert server.invoke(body).status == 200
    # One write on one connection: all twelve are decided at one moment, however busy the machine is.
    answers = raw(server, 11 * request + last, timeout=30).split(b"HTTP/1.1 ")[1:]
    statuses = [int(answer[:3]) for answer in answers]
    assert len(statuses) == 12
    # One runs and two wait: the third to wait would be answered after 2.0 s.
    assert statuses[:2] == [200, 200]
    assert statuses[3:] == [503] * 9
    assert all(b"too slow" in answer for answer in answers[3:])
    assert all(int(re.search(rb"retry-after: (\d+)", a)[1]) >= 1 for a in answers[3:])


def test_an_objective_limits_the_batches_of_a_slow_model(start, model_dir):
    """Three take 44 ms: within 100 ms there is time for the batch before, and for one's own."""
    slow = """
        import time
        from inference_code.handler import Handler

        class Slow(Handler):
            batches = True

            def load(self, context):
                pass

            def predict(self, items):
                time.sleep(0.02 + 0.008 * len(items))
                return [{"batch": len(items)} for _ in items]
    """
    server = start(model_dir(slow, {"a.json": b"{}"}), "--objective-ms", "100").wait_until_ready()
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: server.ask("POST", "/invocations", b"{}"), range(24)))
    sizes = [answer.json()["batch"] for answer in found]
    assert 1 < max(sizes) <= 3


def test_what_cannot_be_ready_by_its_deadline_is_not_computed(start, model_dir):
    server = start(model_dir("moody"), "--max-batch", "1").wait_until_ready()
    for _ in range(12):
        assert server.ask("POST", "/invocations", b'{"s": 0.1}').status == 200
    batches = server.metric("inference_batch_size_count")
    late = server.ask("POST", "/invocations", b'{"s": 0.1}', X_Deadline_Ms="50")
    assert late.status == 504
    assert server.metric("inference_batch_size_count") == batches
    # What it has learned does not stay true for ever: requests that are quick again get through.
    quick = [server.ask("POST", "/invocations", b"{}", X_Deadline_Ms="50") for _ in range(5)]
    assert quick[-1].status == 200


def test_options_come_by_the_environment_and_the_command_line_wins(start, model_dir, monkeypatch):
    monkeypatch.setenv("INFERENCE_SERVE_OPTIONS", "--max-batch 3 --cache-mb 1")
    folder = model_dir()
    server = start(folder).wait_until_ready()
    assert server.ask("GET", "/stats").json()["max_batch"] == 3
    for _ in range(2):
        server.invoke({"x": 1})
    assert server.metric('inference_cache_total{result="hit"}') == 1
    server = start(folder, "--max-batch", "2").wait_until_ready()
    assert server.ask("GET", "/stats").json()["max_batch"] == 2
