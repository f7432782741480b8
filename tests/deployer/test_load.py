"""The load generator against a real server that misbehaves on order."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from deployer import load
from deployer.clients.base import Body
from deployer.errors import InputError, Unreachable
from deployer.runs import NO_ANSWER
from deployer.traffic.trace import TrafficTrace

BODY = Body(b'{"x": 1}')


def even(rate: float, seconds: float) -> TrafficTrace:
    arrivals = np.arange(round(rate * seconds)) / rate
    return TrafficTrace("even", arrivals, seconds)


def test_every_request_is_sent_once_and_answered(web: SimpleNamespace) -> None:
    behaviour = web.Behaviour()
    with web.server(behaviour) as url:
        run = load.loadtest(url, even(100, 1), [BODY, Body(b"1,2", "text/csv")])
    assert run.successes == run.offered == len(behaviour.seen) == 100
    assert behaviour.seen[:2] == [("application/json", b'{"x": 1}'), ("text/csv", b"1,2")]
    assert run.request_bytes[:3].tolist() == [8, 3, 8]
    assert run.response_bytes.tolist() == [2] * 100
    assert run.provenance == "measured"
    assert run.details["url"] == f"{url}/invocations"


def test_connections_are_kept_alive(web: SimpleNamespace) -> None:
    behaviour = web.Behaviour()
    with web.server(behaviour) as url:
        load.loadtest(url, even(50, 1), [BODY])
    assert behaviour.connections < 10


def test_a_stalled_server_cannot_hide_the_wait_of_what_fell_due_meanwhile(
    web: SimpleNamespace,
) -> None:
    """Coordinated omission: during a stall of 1 s, 100 requests fall due, and half of them wait > 0.5 s."""
    behaviour = web.Behaviour(stall=(0.5, 1.5))
    with web.server(behaviour) as url:
        run = load.loadtest(url, even(100, 2), [BODY])
    assert run.successes == 200
    assert np.count_nonzero(run.latency_s > 0.45) >= 45
    assert 0.95 < run.latency_s.max() < 1.5
    # One connection at a time, timed from sending, would have seen one slow request in 200.
    assert np.percentile(run.latency_s, 75) > 0.2


def test_a_bounded_pool_still_counts_from_the_intended_time(web: SimpleNamespace) -> None:
    behaviour = web.Behaviour(stall=(0.2, 0.9))
    with web.server(behaviour) as url:
        run = load.loadtest(url, even(100, 1.2), [BODY], max_connections=2)
    assert run.successes == 120
    assert np.count_nonzero(run.latency_s > 0.3) >= 30
    assert run.max_lag_s is not None
    assert run.max_lag_s > 0.3
    words = " ".join(run.details["warnings"])
    assert "all 2 connections were in use" in words
    assert "the generator sent" in words


def test_percentiles_equal_the_delays_that_were_injected(web: SimpleNamespace) -> None:
    """Of every ten answers nine take 20 ms and one 120 ms: p50 is 20 ms, p99 120 ms."""
    behaviour = web.Behaviour(delay_s=lambda number: 0.12 if number % 10 == 9 else 0.02)
    with web.server(behaviour) as url:
        run = load.loadtest(url, even(400, 3), [BODY])
    summary = run.latency()
    assert summary.p50 is not None
    assert summary.p99 is not None
    assert 20 <= summary.p50 < 40  # the server waits this long at least; a busy machine adds some
    assert 120 <= summary.p99 < 200
    assert 120 <= np.count_nonzero(run.latency_s >= 0.12) < 200


def test_two_thousand_requests_a_second_are_sustained(web: SimpleNamespace) -> None:
    with web.server(web.Behaviour()) as url:
        run = load.loadtest(url, even(2000, 2), [BODY])
    assert run.successes == 4000
    assert np.nanmax(run.done_s) < 4


def test_a_cut_connection_is_no_answer_and_is_not_sent_again(web: SimpleNamespace) -> None:
    behaviour = web.Behaviour(answer=lambda number: None if number == 7 else web.OK)
    with web.server(behaviour) as url:
        run = load.loadtest(url, even(50, 1), [BODY])
    assert len(behaviour.seen) == 50
    assert np.count_nonzero(run.status == NO_ANSWER) == 1
    assert run.successes == 49
    assert np.isnan(run.done_s[run.status == NO_ANSWER]).all()


def test_refusals_keep_their_status(web: SimpleNamespace) -> None:
    refusal = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
    behaviour = web.Behaviour(answer=lambda number: refusal if number % 2 else web.OK)
    with web.server(behaviour) as url:
        run = load.loadtest(url, even(50, 1), [BODY])
    assert run.refused == 25
    assert run.successes == 25


def test_a_late_answer_is_given_up_at_the_time_out(web: SimpleNamespace) -> None:
    behaviour = web.Behaviour(delay_s=lambda number: 5.0 if number == 3 else 0.0)
    with web.server(behaviour) as url:
        run = load.loadtest(url, even(20, 0.5), [BODY], timeout_s=0.4)
    assert run.details["timeouts"] == 1
    assert run.successes == len(run.intended_s) - 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    ],
    ids=["chunked", "interim answer first"],
)
def test_forms_of_an_answer(web: SimpleNamespace, answer: bytes) -> None:
    with web.server(web.Behaviour(answer=lambda number: answer)) as url:
        run = load.loadtest(url, even(20, 0.4), [BODY])
    assert run.successes == run.offered
    assert run.response_bytes.tolist() == [3] * run.offered


def test_an_answer_may_end_with_its_connection(web: SimpleNamespace) -> None:
    behaviour = web.Behaviour(
        answer=lambda number: b"HTTP/1.0 200 OK\r\n\r\nabcd", close_after=True
    )
    with web.server(behaviour) as url:
        run = load.loadtest(url, even(20, 0.4), [BODY])
    assert run.successes == run.offered == 8
    assert run.response_bytes.tolist() == [4] * 8


def test_what_is_not_http_is_no_answer(web: SimpleNamespace) -> None:
    with web.server(web.Behaviour(answer=lambda number: b"garbage\r\n\r\n")) as url:
        run = load.loadtest(url, even(10, 0.2), [BODY])
    assert run.successes == 0
    assert set(run.status.tolist()) == {NO_ANSWER}


def test_a_notebook_whose_loop_runs_already_can_load_too(web: SimpleNamespace) -> None:
    async def cell(url: str) -> int:
        return load.loadtest(url, even(50, 0.5), [BODY]).successes

    with web.server(web.Behaviour()) as url:
        assert asyncio.run(cell(url)) == 25


def test_nothing_listening_is_told_before_anything_is_sent() -> None:
    with pytest.raises(Unreachable, match=r"nothing answers at http://127\.0\.0\.1:1/invocations"):
        load.loadtest("http://127.0.0.1:1", even(10, 1), [BODY])


@pytest.mark.parametrize(
    ("options", "bodies", "words"),
    [
        ({"timeout_s": 0.0}, [BODY], "time-out"),
        ({"timeout_s": float("nan")}, [BODY], "time-out"),
        ({"max_connections": 0}, [BODY], "connections"),
        ({}, [], "no request body"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], bodies: list[Body], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load.loadtest("http://127.0.0.1:1", even(10, 1), bodies, **options)  # type: ignore[arg-type]
