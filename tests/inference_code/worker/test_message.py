"""What a message asks, and what becomes of it."""

import base64
import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_code.worker import message as messages
from inference_code.worker.message import Message, Poison


def message(text="{}", receives=1, **attributes):
    return Message("0a1b-2c", "receipt", text, receives, attributes)


def test_what_sqs_delivers_is_read():
    raw = {
        "MessageId": "id-1",
        "ReceiptHandle": "r",
        "Body": "[1]",
        "Attributes": {"ApproximateReceiveCount": "3"},
        "MessageAttributes": {
            "Key": {"StringValue": "a.b", "DataType": "String"},
            "Other": {"BinaryValue": b"x", "DataType": "Binary"},
        },
    }
    found = Message.of(raw)
    assert (found.key, found.receives, found.body) == ("a.b", 3, b"[1]")
    assert found.headers == b"application/json\0"
    assert message().key == "0a1b-2c"


@pytest.mark.parametrize(
    "attributes",
    [
        {"Key": "../other"},
        {"Key": ".hidden"},
        {"Key": "a/b"},
        {"Key": "a" * 201},
        {"Key": "a\n"},
        {"Encoding": "gzip"},
        {"Encoding": "base64"},
        {"ContentType": "text/csv\r\nx: y"},
        {"Accept": "a\0b"},
    ],
)
def test_what_cannot_be_read_is_poison(attributes):
    found = message("{not base64", **attributes)
    with pytest.raises(Poison):
        _ = (found.key, found.headers, found.body)


def test_binary_bodies_come_as_base64():
    found = message(base64.b64encode(b"\x93NUMPY").decode(), Encoding="base64")
    assert found.body == b"\x93NUMPY"


def test_the_digest_tells_requests_apart_and_not_deliveries():
    assert message("[1]").digest == message("[1]", receives=4).digest
    assert message("[1]").digest != message("[2]").digest
    assert message("[1]").digest != message("[1]", Accept="text/csv").digest


@pytest.mark.parametrize(
    ("status", "receives", "fate"),
    [
        (200, 9, "answer"),
        (400, 1, "give up"),
        (415, 1, "give up"),
        (503, 9, "wait"),
        (429, 9, "wait"),
        (500, 1, "retry"),
        (504, 2, "retry"),
        (500, 3, "give up"),
    ],
)
def test_fates(status, receives, fate):
    assert messages.fate(status, receives, 3) == fate


def test_retries_come_later_each_time():
    assert [messages.retry_delay_s(n) for n in (1, 2, 3, 9)] == [2, 4, 8, 60]


def test_the_reason_is_in_the_handlers_words():
    body = b'{"error": "BadRequest", "message": "no such digit"}'
    assert messages.reason(400, body) == "400: no such digit"
    assert messages.reason(500, b"\xff") == "500: \ufffd"


@given(st.text(st.characters(codec="utf-8"), max_size=220))
def test_a_key_never_leads_out_of_its_folder(key):
    try:
        found = message(Key=key).key
    except Poison:
        return
    assert set(found) <= set(string.ascii_letters + string.digits + "._-")
    assert not found.startswith(".")


@given(st.text(max_size=50), st.text(max_size=30), st.text(max_size=30))
def test_reading_raises_nothing_but_poison(text, encoding, accept):
    found = message(text, Encoding=encoding, Accept=accept)
    with contextlib.suppress(Poison, UnicodeEncodeError):  # lone surrogates cannot come from SQS
        _ = (found.body, found.headers, found.digest)
