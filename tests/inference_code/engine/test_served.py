"""What a handler does wrong is told at the start, or stays with its own request."""

import json

import pytest

from inference_code.engine.served import ServedModel
from inference_code.engine.settings import read_settings
from inference_code.errors import HandlerFailed, HandlerInvalid

HANDLER = """
from inference_code.handler import Handler

class Odd(Handler):
    batches = True

    def load(self, context):
        {load}

    def predict(self, items):
        {predict}

    def examples(self):
        {examples}

    def describe(self):
        {describe}

    def length(self, item):
        {length}

    def encode(self, output, accept):
        return {answer}

    def status(self, output):
        return {status}
"""
SOUND = {
    "load": "pass",
    "predict": "return items",
    "examples": "return [(b'1', 'application/json')]",
    "describe": "return {}",
    "length": "return 1",
    "answer": "(b'x', 'text/plain')",
    "status": "200",
}


@pytest.fixture
def served(model_dir):
    def make(**changes):
        return ServedModel(read_settings(model_dir(HANDLER.format(**{**SOUND, **changes}))))

    return make


def test_a_sound_handler_is_served(served):
    model = served()
    model.warm_up()
    assert model.interface() == {"example": 1}
    assert model.answer(b"1", "") == (200, b"text/plain", b"x")


@pytest.mark.parametrize("answer", ["(bytearray(b'x'), 'a/b')", "(memoryview(b'x'), 'a/b')"])
def test_bytes_of_any_kind_are_a_body(served, answer):
    assert served(answer=answer).answer(b"1", "") == (200, b"a/b", b"x")


@pytest.mark.parametrize(
    "change",
    [
        {"answer": "'text', 'text/plain'"},
        {"answer": "None"},
        {"answer": "(b'x',)"},
        {"answer": "b'x', None"},
        {"answer": "b'x', ['text/plain']"},
        {"answer": "b'x', 'text/plain\\r\\nset-cookie: a'"},
        {"answer": "b'x', 'text/plain\\n'"},
        {"answer": "b'x', 'texte/été'"},
        {"answer": "b'x', 'a' * 70_000"},
        {"status": "None"},
        {"status": "'200'"},
        {"status": "200.0"},
        {"status": "True"},
        {"status": "100"},
        {"status": "204"},
        {"status": "299"},
        {"status": "70_000"},
        {"status": "-1"},
    ],
    ids=str,
)
def test_an_answer_that_is_none_is_a_500_of_its_own_request(served, change):
    status, kind, body = served(**change).answer(b"1", "")
    assert (status, kind) == (500, b"application/json")
    assert json.loads(body)["error"] == "HandlerFailed"


def test_a_length_that_is_none_is_a_500_of_its_own_request(served):
    with pytest.raises(HandlerFailed):
        served(length="return None").length(1)


def test_a_length_below_zero_counts_as_zero(served):
    assert served(length="return -3").length(1) == 0


@pytest.mark.parametrize("step", ["load", "examples", "describe"])
def test_a_start_that_fails_names_the_step_and_the_error(served, step):
    with pytest.raises(HandlerInvalid, match=rf"{step}\(\) fails: KeyError: 'x'"):
        served(**{step: "return {}['x']"}).interface()


def test_a_description_must_be_json(served):
    with pytest.raises(HandlerInvalid, match=r"describe\(\) fails"):
        served(describe="return {'request': object()}").interface()


def test_a_handler_that_cannot_take_batches_is_told_so(served):
    model = served(predict="return items if len(items) == 1 else [1 / 0]")
    with pytest.raises(
        HandlerInvalid, match=r"8 items at once: ZeroDivisionError.*batches = False"
    ):
        model.warm_up()


ECHOES = {
    "hands the header back": "(accept.encode(), accept)",
    "knows bare types only": "{t: (t.encode(), t) for t in ('application/json', 'text/csv')}[accept]",
    "adds a line of its own": "(accept.encode(), accept + '\\r\\nx-amzn-sagemaker-custom-attributes: a')",
}


@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", b"text/csv"),
        ("text/csv, application/json", b"text/csv"),
        ("text/csv;q=0.1, application/json", b"application/json"),
        ("text/csv;q=0.5", b"text/csv"),
        ("image/*, */*", b"application/json"),
        ("*/*", b"application/json"),
    ],
)
def test_a_list_or_a_range_in_accept_is_negotiated_and_never_handed_back(
    served, answer, accept, kind
):
    status, told, body = served(answer=answer).answer(b"1", "", accept)
    assert (status, told.partition(b"\r")[0], body) == (200, kind, kind)


def test_a_header_that_refuses_all_is_told_so_where_a_handler_hands_it_back(served):
    echo = served(answer=ECHOES["hands the header back"])
    assert echo.answer(b"1", "", "text/csv;q=0, */*;q=0")[0] == 406


def test_a_handler_that_negotiates_gets_the_whole_list(served):
    code = "__import__('inference_code.handler.base').handler.base.encode_value(output, accept)"
    model = served(answer=code)
    assert model.answer(b"1", "", "application/xml, application/json;q=0.5")[:2] == (
        200,
        b"application/json",
    )
