from __future__ import annotations

from types import SimpleNamespace

import pytest

from deployer.clients.base import Body
from deployer.clients.http import HttpInvoker
from deployer.errors import EnvironmentProblem, Unreachable


def test_the_answer_comes_back_whatever_its_status(web: SimpleNamespace) -> None:
    answer = b"HTTP/1.1 400 Bad\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nwhy"
    behaviour = web.Behaviour(answer=lambda number: answer)
    with web.server(behaviour) as url:
        found = HttpInvoker(url).invoke(Body(b"[1]"), accept="text/plain")
    assert (found.status, found.content, found.content_type) == (400, b"why", "text/plain")
    assert behaviour.seen == [("application/json", b"[1]")]


def test_a_refused_connection_says_that_nothing_was_sent() -> None:
    with pytest.raises(Unreachable, match="nothing answers at"):
        HttpInvoker("http://127.0.0.1:1").invoke(Body(b"1"))


def test_a_broken_connection_is_told_and_not_tried_again(web: SimpleNamespace) -> None:
    behaviour = web.Behaviour(answer=lambda number: None)
    with (
        web.server(behaviour) as url,
        pytest.raises(EnvironmentProblem, match="gave no answer") as e,
    ):
        HttpInvoker(url).invoke(Body(b"1"))
    assert not isinstance(e.value, Unreachable)
    assert len(behaviour.seen) == 1


def test_a_silent_server_is_given_up_at_the_time_out(web: SimpleNamespace) -> None:
    behaviour = web.Behaviour(delay_s=lambda number: 2.0)
    with web.server(behaviour) as url, pytest.raises(EnvironmentProblem, match=r"within 0\.2 s"):
        HttpInvoker(url, timeout_s=0.2).invoke(Body(b"1"))
