"""Answers that depend on the other requests of a batch: found at warm-up, forbidden by ``exact``."""

import io

import numpy as np
import pytest

from inference_code.contract import (
    CSV_TYPE,
    JSON_TYPE,
    NPY_TYPE,
    ContractError,
    Manifest,
    ServingConfig,
)
from inference_code.engine.company import of_bodies
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import read_settings

#: One scale for the whole batch, as dynamic int8 has it, against one that each row has for itself.
SCALED = """
import numpy as np
from inference_code.handler import Handler

class Scaled(Handler):
    batches = True

    def load(self, context):
        pass

    def predict(self, items):
        rows = np.array(items, dtype=np.float64)
        scale = {scale} / 127
        return [row.tolist() for row in np.round(rows / scale) * scale]
"""
TOGETHER = SCALED.format(scale="np.abs(rows).max()")
EACH = SCALED.format(scale="np.abs(rows).max(axis=1, keepdims=True)")
SAMPLES = {"small.json": b"[0.1, 0.25, 0.3]", "wide.json": b"[3.0, 40.0, -100.0]"}


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("one", "other", "kind", "expected"),
    [
        (b'{"y": [1, -4.0]}', b'{"y": [1, -4.0]}', JSON_TYPE, 0.0),
        (b'{"y": [1, -4.0]}', b'{"y": [2, -4.0]}', JSON_TYPE, 0.25),
        (b'{"y": [0, 0]}', b'{"y": [0, 3]}', JSON_TYPE, 3.0),
        (b'{"label": "cat", "p": 0.5}', b'{"label": "dog", "p": 0.5}', JSON_TYPE, np.inf),
        (b"[1, 2]", b"[1, 2, 3]", JSON_TYPE, np.inf),
        (b"[true]", b"[1]", JSON_TYPE, np.inf),
        (npy(np.array([1.0, 2.0])), npy(np.array([1.5, 2.0])), NPY_TYPE, 0.25),
        (npy(np.zeros(2)), npy(np.zeros(3)), NPY_TYPE, np.inf),
        (b"1,2", b"1,3", CSV_TYPE, np.inf),
    ],
)
def test_the_difference_of_two_answers(one, other, kind, expected):
    assert of_bodies(one, other, kind).moved == expected


@pytest.mark.parametrize(
    ("source", "samples", "exact", "batches", "effect"),
    [
        # A handler that says it may be batched is not, once samples show that it moves answers.
        (TOGETHER, SAMPLES, False, False, pytest.approx(1.0)),
        (TOGETHER, SAMPLES, True, False, pytest.approx(1.0)),
        (EACH, SAMPLES, True, True, 0.0),
        # One sample shows nothing, so that exact must not trust it.
        (EACH, {"one.json": b"[1, 2, 3]"}, False, True, None),
        (EACH, {"one.json": b"[1, 2, 3]"}, True, False, None),
    ],
)
def test_batches_that_move_answers_are_forbidden(
    model_dir, source, samples, exact, batches, effect
):
    folder = model_dir(source, samples)
    model = ServedModel(read_settings(folder, {"max_batch": 64, "exact": exact}))
    model.warm_up()
    assert model.batch_effect == effect
    assert (model.max_batch > 1) == batches


def test_a_server_that_must_be_exact_answers_as_if_each_were_alone(start, model_dir):
    server = start(model_dir(TOGETHER, SAMPLES), "--exact").wait_until_ready()
    stats = server.ask("GET", "/stats").json()
    assert stats["max_batch"] == 1
    assert stats["batch_effect"] == pytest.approx(1.0)


def test_exact_is_unsaid_in_manifests_unless_it_is_wanted():
    # Bundles older than the key keep their digest.
    usual = Manifest("n", "m.onnx", "fp32", ())
    exact = Manifest("n", "m.onnx", "fp32", (), serving=ServingConfig(exact=True))
    assert '"exact"' not in usual.to_json()
    assert Manifest.from_json(usual.to_json()) == usual
    assert Manifest.from_json(exact.to_json()).serving.exact
    with pytest.raises(ContractError, match=r"serving\.exact must be true or false, not 'no'"):
        ServingConfig(exact="no")
