import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_code.server import tracing

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "headers",
    [
        {tracing.TRACEPARENT: PARENT},
        {tracing.ATTRIBUTES: b"traceparent=" + PARENT},
        {tracing.ATTRIBUTES: b"user=7; traceparent=" + PARENT + b", deadline=5"},
    ],
)
def test_a_trace_is_found_in_its_header_and_in_custom_attributes(headers):
    assert tracing.traceparent(headers) == PARENT
    assert tracing.trace_id(PARENT) == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {tracing.TRACEPARENT: b"junk"},
        {tracing.TRACEPARENT: PARENT.upper()},
        {tracing.TRACEPARENT: PARENT.replace(b"4bf92f3577b34da6a3ce929d0e0e4736", b"0" * 32)},
        {tracing.TRACEPARENT: b"ff" + PARENT[2:]},
        {tracing.ATTRIBUTES: b"xtraceparent=" + PARENT},
    ],
)
def test_what_is_no_trace_is_ignored(headers):
    assert tracing.traceparent(headers) == b""
    assert tracing.response_headers(headers) == b""


def test_the_trace_goes_back_the_way_it_came():
    assert (
        tracing.response_headers({tracing.TRACEPARENT: PARENT})
        == b"traceparent: " + PARENT + b"\r\n"
    )
    inside = tracing.response_headers({tracing.ATTRIBUTES: b"a=b,traceparent=" + PARENT})
    assert inside == b"x-amzn-sagemaker-custom-attributes: traceparent=" + PARENT + b"\r\n"


@given(st.binary(max_size=80))
def test_nothing_from_a_header_can_split_the_response(value):
    for header in (tracing.TRACEPARENT, tracing.ATTRIBUTES):
        assert tracing.response_headers({header: value}).count(b"\r\n") <= 1
