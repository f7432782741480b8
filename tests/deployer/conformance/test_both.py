"""Both starts of one bundle: equal, and every kind of difference is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deployer import conformance
from deployer.clients.base import Answer, Body
from deployer.conformance import both
from deployer.errors import ConditionFailed, InputError

pytestmark = pytest.mark.serve

RULES = (
    "serves as an EC2 instance starts it",
    "samples get equal answers on SageMaker and EC2",
    "refusals are equal on SageMaker and EC2",
    "other routes are equal on SageMaker and EC2",
)
PEEKING = """
import os
from inference_code.handler import Handler as Base


class Handler(Base):
    def load(self, context):
        self.port = os.environ.get("SAGEMAKER_BIND_TO_PORT", "none")

    def predict(self, items):
        return [{"port": self.port} for _ in items]
"""
CHANGING = """
import uuid
from inference_code.handler import Handler as Base


class Handler(Base):
    def load(self, context):
        pass

    def predict(self, items):
        return [str(uuid.uuid4()) for _ in items]
"""


def test_both_starts_of_a_bundle_answer_alike(echo_bundle: Callable[..., Path]) -> None:
    report = conformance.check(echo_bundle(), both=True)
    found = {rule.rule: rule for rule in report.rules}
    assert [found[name].outcome for name in RULES] == ["passed"] * 4
    assert "4 requests" in found[RULES[1]].seen
    assert "10 requests" in found[RULES[2]].seen


def test_a_handler_that_looks_where_it_runs_is_caught(echo_bundle: Callable[..., Path]) -> None:
    report = conformance.check(echo_bundle(handler=PEEKING), both=True)
    assert [rule.rule for rule in report.broken] == [RULES[1]]
    assert '\'{"port":"none"}\'' in report.broken[0].seen
    with pytest.raises(ConditionFailed):
        report.require()


def test_answers_that_change_anyway_prove_nothing(echo_bundle: Callable[..., Path]) -> None:
    report = conformance.check(echo_bundle(handler=CHANGING), both=True)
    outcomes = {rule.rule: rule.outcome for rule in report.rules}
    assert outcomes[RULES[1]] == "not played"


def test_an_image_is_not_compared(echo_bundle: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="compared on the bundle's process"):
        conformance.check(echo_bundle(), image="digits:1.0", both=True)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (Answer(200, b"1"), Answer(404, b"1"), "status 200"),
        (Answer(200, b"1"), Answer(200, b"2"), "body b'1'"),
        (Answer(200, b"", {"a": "1"}), Answer(200, b"", {}), "header a is '1' on SageMaker, None"),
        (Answer(200, b"", {"x-request-id": "1"}), Answer(200, b""), "header x-request-id"),
    ],
)
def test_every_difference_is_told(one: Answer, other: Answer, words: str) -> None:
    assert both.difference(one, other).startswith(words)


def test_the_requests_own_id_is_no_difference() -> None:
    one = Answer(404, b'{"request_id":"ab-1"}', {"x-request-id": "ab-1", "content-length": "21"})
    other = Answer(
        404, b'{"request_id":"ab-10"}', {"x-request-id": "ab-10", "content-length": "22"}
    )
    assert both.difference(one, other) == ""


def test_each_sample_is_asked_for_in_every_type() -> None:
    names = [request.name for request in both.samples({"one.json": Body(b"1")})]
    assert names[0] == "one.json"
    assert len(names) == 4
