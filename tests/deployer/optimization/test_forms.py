"""One network at opset 7 to 21, IR 3 to 10, weights as inputs or not, in float16, beside the file: one normal form."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from deployer.errors import InputError
from deployer.optimization import ladder, normalise
from deployer.optimization.onnxfile import save
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize

_path = Path(__file__).parents[2] / "fakes/one_net.py"
_spec = importlib.util.spec_from_file_location("one_net", _path)
assert _spec is not None
assert _spec.loader is not None
one_net: Any = importlib.util.module_from_spec(_spec)
sys.modules["one_net"] = one_net
_spec.loader.exec_module(one_net)

FORMS = list(one_net.forms())


def normalised(form: Any, path: Path) -> onnx.ModelProto:
    """Return the network of a form after all changes that are wanted, before any proof."""
    model = onnx.load(one_net.save(path, form))
    _, wanted = next(normalise.attempts(model))
    for change in wanted:
        change(model)
    return model


def meaning(model: onnx.ModelProto) -> str:
    """Return a digest of what is computed from what, whatever the tensors' names and the opset's ways to say it.

    Numbers count by value, wherever they stand: weights, constants, attributes that later opsets made inputs. A cast at
    the ends, which a model that speaks in halves keeps, is passed over.
    """
    known = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    seen = {"x": 0}
    steps = []
    for node in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            known[node.output[0]] = numpy_helper.to_array(attributes["value"])
            continue
        if node.op_type == "Cast":
            seen[node.output[0]] = seen[node.input[0]]
            continue
        numbers = [known[name] for name in node.input if name in known]
        numbers += [np.array(attributes.pop("axes"))] if "axes" in attributes else []
        seen[node.output[0]] = len(steps) + 1
        steps.append(
            [
                node.op_type,
                [seen[name] for name in node.input if name not in known],
                [[list(n.shape), n.astype("f8").ravel().tolist()] for n in numbers],
                sorted(attributes.items()),
            ]
        )
    return hashlib.sha256(json.dumps(steps).encode()).hexdigest()


def test_every_opset_ir_and_form_is_in_the_grid() -> None:
    assert {form.opset for form in FORMS} == set(range(7, 22))
    assert {form.ir for form in FORMS} == set(range(3, 11))
    assert len(FORMS) == len(set(FORMS)) == 496


def test_every_form_becomes_one_network_with_one_answer(tmp_path: Path) -> None:
    expected = None
    meanings, asked = set(), set()
    for form in FORMS:
        model = normalised(form, tmp_path / "m.onnx")
        meanings.add(meaning(model))
        assert [item.name for item in model.graph.input] == ["x"]
        assert all(item.data_type != onnx.TensorProto.FLOAT16 for item in model.graph.initializer)
        save(model, tmp_path / "n.onnx")
        digest = hashlib.sha256((tmp_path / "n.onnx").read_bytes()).hexdigest()
        if digest in asked:
            continue  # the same bytes answer the same
        asked.add(digest)
        answer = Session(tmp_path / "n.onnx").run({"x": one_net.rows(32, form.half)})
        expected = answer if expected is None else expected
        assert np.array_equal(answer, expected.astype(answer.dtype)), str(form)
    assert len(meanings) == 1


CORNERS = [
    one_net.Form(7, 3, inputs=True),
    one_net.Form(10, 10, half=True, beside=True),
    one_net.Form(18, 8, inputs=True, beside=True),
    one_net.Form(21, 10, half=True),
]
CASES = ("batch 1", "batch 8")


@pytest.mark.parametrize("form", CORNERS, ids=str)
def test_the_corners_of_the_grid_climb_to_one_verdict(form: Any, tmp_path: Path) -> None:
    times = {"fp32_ms": dict.fromkeys(CASES, 8.0), "candidate_ms": dict.fromkeys(CASES, 4.0)}
    twice = {"median": 2.0, "low": 2.0, "high": 2.0, "rounds": 15, **times}
    level = {**twice, "median": 1.0, "low": 1.0, "high": 1.0}
    rungs = {"fp32-as-given": level, "int8-static-minmax": twice}
    document = {"schema_version": 1, "rungs": rungs}
    (tmp_path / "latencies.json").write_text(json.dumps(document))
    rows = one_net.rows(400, form.half)
    report = ladder.climb(
        one_net.save(tmp_path / "m.onnx", form),
        calibration={"x": rows[:32]},
        evaluation={"x": rows[40:]},
        metric="fidelity",
        max_drop=0.3,
        rungs=["int8-static-minmax"],
        latencies=tmp_path / "latencies.json",
        out=tmp_path / "out",
    )
    assert report.best.name == "int8-static-minmax"
    assert report.details["normalised"]["not_changed"] == []


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (one_net.Form(99, 10), "Opset 99 is under development"),
        (one_net.Form(17, 99), "Unsupported model IR version: 99, max supported IR version"),
    ],
    ids=str,
)
def test_what_the_runtime_does_not_read_yet_is_refused_with_what_to_do(
    form: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        Session(one_net.save(tmp_path / "m.onnx", form))
    assert "opset 17 and IR 8" in (caught.value.hint or "")


@pytest.mark.parametrize("opset", [22, 24, 26])
def test_newer_opsets_that_the_runtime_reads_stay_and_answer_alike(
    opset: int, tmp_path: Path
) -> None:
    form = one_net.Form(opset, max(11, one_net.least_ir(opset)))
    given = one_net.save(tmp_path / "m.onnx", form)
    found = normalise.normalise(given, tmp_path / "n.onnx", {"x": one_net.rows(32)})
    assert (found.changes, found.not_changed) == ((), ())
    wanted = Session(one_net.save(tmp_path / "r.onnx", one_net.Form(17, 8)))
    rows = {"x": one_net.rows(32)}
    assert np.array_equal(Session(tmp_path / "n.onnx").run(rows), wanted.run(rows))
