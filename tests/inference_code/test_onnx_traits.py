"""Models with one trait each: every form gives the numbers of ONNX Runtime alone, or a refusal that says what to do."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference_code.codecs import npy, tensors
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import read_settings
from inference_code.errors import HandlerInvalid

pytest.importorskip("onnx")
import onnxruntime as ort
from onnx import TensorProto

_spec = importlib.util.spec_from_file_location("traits", Path(__file__).parent / "traits.py")
assert _spec is not None
assert _spec.loader is not None
traits: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(traits)

pytestmark = pytest.mark.optimize
JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
V2 = {numpy_name: name for name, numpy_name in tensors.V2_TYPES.items()}
X = traits.ramp

IDENTITIES = {
    "bool": (TensorProto.BOOL, np.array([[True, False], [False, False]])),
    "int8": (TensorProto.INT8, np.int8([[-128, 127], [0, 1]])),
    "int16": (TensorProto.INT16, np.int16([[-(2**15), 2**15 - 1]])),
    "int32": (TensorProto.INT32, np.int32([[-(2**31), 2**31 - 1]])),
    "int64": (TensorProto.INT64, np.int64([[-(2**63), 2**63 - 1], [2**53 + 1, 0]])),
    "uint8": (TensorProto.UINT8, np.uint8([[0, 255], [1, 2]])),
    "uint16": (TensorProto.UINT16, np.uint16([[0, 2**16 - 1]])),
    "uint32": (TensorProto.UINT32, np.uint32([[0, 2**32 - 1]])),
    "uint64": (TensorProto.UINT64, np.uint64([[0, 2**64 - 1], [2**63 + 1, 1]])),
    "float16": (TensorProto.FLOAT16, np.float16([[0.1, -65504], [6e-8, 1]])),
    "float32": (TensorProto.FLOAT, np.float32([[0.1, 3.4e38], [-1e-30, 1]])),
    "float64": (TensorProto.DOUBLE, np.float64([[0.1, 1.7e308], [5e-324, 1]])),
    "str": (TensorProto.STRING, np.array([["a", ""], ["ü, b", "nul \0 in it"]], object)),
}


def serve(folder: Path, made: bytes, **options: Any) -> ServedModel:
    # Each request alone: what batches may do to an answer is another matter.
    found = ServedModel(read_settings(traits.write(folder, made), {"max_batch": 1, **options}))
    found.warm_up()
    found.interface()
    return found


def ask(model: ServedModel, body: Any, kind: str = JSON, accept: str = "") -> tuple[int, Any]:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, found, answer = model.answer(sent, kind, accept)
    return status, json.loads(answer) if found == JSON.encode() else answer


def alone(made: bytes, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(made, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, arrays), strict=True))


def forms(arrays: dict[str, np.ndarray]) -> dict[str, tuple[bytes, str]]:
    """The bodies that hold these arrays, by form."""
    plain = {name: array.tolist() for name, array in arrays.items()}
    v2 = [
        {"name": name, "shape": list(array.shape), "datatype": V2.get(array.dtype.name, "BYTES"),
         "data": array.ravel().tolist()}
        for name, array in arrays.items()
    ]  # fmt: skip
    rows = {len(array) if array.ndim else -1 for array in arrays.values()}
    found: dict[str, Any] = {"inputs": {"inputs": plain}, "v2": {"inputs": v2}}
    if len(rows) == 1 and -1 not in rows:
        examples = [{name: cells[row] for name, cells in plain.items()} for row in range(*rows)]
        found["instances"] = {"instances": examples}
    bodies = {form: (json.dumps(value).encode(), JSON) for form, value in found.items()}
    if len(arrays) == 1:
        (array,) = arrays.values()
        if array.dtype != object:
            bodies["npy"] = (npy.write(array), NPY)
    return bodies


def tensors_of(answer: Any, names: list[str]) -> dict[str, Any]:
    """Return the outputs of an answer in JSON, of whatever form."""
    if "predictions" in answer:
        rows = answer["predictions"]
        return {names[0]: rows} if len(names) == 1 else {n: [r[n] for r in rows] for n in names}
    outputs = answer["outputs"]
    if isinstance(outputs, list) and outputs and isinstance(outputs[0], dict):
        return {t["name"]: np.array(t["data"], object).reshape(t["shape"]) for t in outputs}
    return {names[0]: outputs} if len(names) == 1 else outputs


def same(got: Any, want: np.ndarray, form: str) -> None:
    found = np.array(got, dtype=want.dtype)
    assert found.shape == want.shape, form
    if want.dtype.kind == "f":
        np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-30, err_msg=form)
    else:
        np.testing.assert_array_equal(found, want, form)


def holds_in_every_form(model: ServedModel, made: bytes, arrays: dict[str, np.ndarray]) -> set[str]:
    """Ask in every form; return the keys under which the answers to instances came."""
    want = alone(made, arrays)
    keys = set()
    for form, (body, kind) in forms(arrays).items():
        status, answer = ask(model, body, kind)
        assert status == 200, (form, answer)
        keys |= {key for key in answer if form == "instances"}
        for name, got in tensors_of(answer, list(want)).items():
            same(got, want[name], f"{form} {name}")
        if kind == NPY and len(want) == 1:
            (array,) = want.values()
            same(npy.read(ask(model, body, kind, NPY)[1]), array, "npy in, npy out")
    return keys


@pytest.mark.parametrize("dtype", IDENTITIES)
def test_every_type_goes_in_and_out_unchanged(dtype: str, tmp_path: Path) -> None:
    kind, array = IDENTITIES[dtype]
    made = traits.identity(kind)
    model = serve(tmp_path, made)
    assert holds_in_every_form(model, made, {"x": array}) == {"predictions"}
    if dtype != "str":
        lines = "".join(",".join(map(str, row)) + "\n" for row in array.tolist())
        status, answer = ask(model, lines.encode(), CSV, NPY)
        assert status == 200
        np.testing.assert_array_equal(npy.read(answer), array)
        assert ask(model, lines.encode(), CSV, CSV)[1].decode() == lines


def test_bfloat16_is_served_as_float32(tmp_path: Path) -> None:
    model = serve(tmp_path, traits.identity(TensorProto.BFLOAT16))
    assert [spec.dtype for spec in model.handler.model.inputs] == ["float32"]
    # 8 bits of fraction: 1.003 lies between 1 and 1 + 2**-7.
    assert ask(model, [[1.003, -2.5]]) == (200, {"predictions": [[1.0, -2.5]]})
    body = npy.write(np.float32([[3.4028235e38, np.inf]]))
    _, answer = ask(model, body, NPY, NPY)
    np.testing.assert_array_equal(npy.read(answer), np.float32([[3.3895314e38, np.inf]]))


# What is asked, and whether an answer to instances holds a prediction for each.
TRAITS: dict[str, tuple[bytes, dict[str, np.ndarray], str | None]] = {
    "two layers' state": (traits.state_of_two_layers(), {"x": X(3, 4, 3)}, "outputs"),
    "as many examples as layers": (traits.state_of_two_layers(), {"x": X(2, 4, 3)}, "outputs"),
    "an output without axes": (traits.scores_and_total(), {"x": X(3, 2)}, "outputs"),
    "detections": (traits.boxes_above_half(), {"x": X(4, 3, 2) * 2}, "outputs"),
    "time first": (traits.time_first(), {"x": X(3, 2, 5)}, "outputs"),
    "as long as there are examples": (traits.time_first(), {"x": X(3, 2, 3)}, "outputs"),
    "nodes and edges": (
        traits.nodes_and_edges(),
        {"nodes": X(5, 2), "edges": np.int64([[0, 1], [4, 2], [3, 3]])},
        None,
    ),
    "a state and one number": (
        traits.voice(),
        {"sound": X(2, 64), "state": X(2, 2, 3), "rate": np.array(8000)},
        None,
    ),
    "pictures of one size": (traits.picture_net(), {"x": X(2, 1, 8, 8)}, "predictions"),
    "texts": (
        traits.embedding(),
        {"ids": np.int64([[1, 9, 0]]), "mask": np.int64([[1, 1, 0]])},
        "predictions",
    ),
    "fixed, row by row": (traits.one_at_a_time((1, "steps")), {"x": X(1, 3)}, "predictions"),
    "fixed, other axes out": (
        traits.one_at_a_time(("steps",), "Squeeze"),
        {"x": X(1, 3)},
        "outputs",
    ),
    "a default": (traits.optional_input(), {"x": X(3, 2)}, "predictions"),
    "odd names": (traits.odd_names(), {'serving_default_input:0/α "q"': X(2, 2)}, "predictions"),
}  # fmt: skip


@pytest.mark.parametrize("trait", TRAITS)
def test_every_form_gives_the_numbers_of_onnx_runtime(trait: str, tmp_path: Path) -> None:
    made, arrays, key = TRAITS[trait]
    model = serve(tmp_path, made)
    assert model.samples[0].name == "example 1"  # made here, and answered
    assert holds_in_every_form(model, made, arrays) <= {key}


def test_a_model_without_inputs_answers_an_empty_object(tmp_path: Path) -> None:
    model = serve(tmp_path, traits.no_inputs())
    assert ask(model, {"inputs": {}}) == (200, {"outputs": [[-0.75, -0.5]]})


def test_rows_of_a_model_that_takes_one_are_joined_where_its_output_has_them(
    tmp_path: Path,
) -> None:
    model = serve(tmp_path, traits.one_at_a_time((1, "steps")))
    assert ask(model, [[1, 2], [3, 4]]) == (200, {"predictions": [[-1, -2], [-3, -4]]})
    assert ask(model, {"inputs": [[1, 2], [3, 4]]}) == (200, {"outputs": [[-1, -2], [-3, -4]]})


@pytest.mark.parametrize("row", [[1, 2, 3], [1]])  # with one step the output has one "row", too
def test_rows_of_a_model_that_takes_one_are_refused_where_its_output_has_them_not(
    row: list[int], tmp_path: Path
) -> None:
    model = serve(tmp_path, traits.one_at_a_time(("steps",), "Squeeze"))
    for body in ([row, row], {"inputs": [row, row]}, {"instances": [row, row]}):
        status, answer = ask(model, body)
        assert status == 400
        assert answer["message"] == (
            "this model takes one row at a time: its output 'y' does not hold one row per row of input"
        )


def test_the_document_says_how_many_rows_a_fixed_first_axis_takes(tmp_path: Path) -> None:
    for name, made, most in (
        ("joined", traits.one_at_a_time((1, "steps")), None),
        ("apart", traits.one_at_a_time(("steps",), "Squeeze"), 1),
    ):
        instances = serve(tmp_path / name, made).interface()["request"]["anyOf"][0]
        rows = instances["properties"]["instances"]
        assert (rows["minItems"], rows.get("maxItems")) == (1, most)


def test_no_rows_are_refused_by_a_model_that_takes_two(tmp_path: Path) -> None:
    model = serve(tmp_path, traits.one_at_a_time((2, 1), shape=(2, 1)))
    status, answer = ask(model, npy.write(np.zeros((0, 1), np.float32)), NPY)
    assert (status, answer["message"]) == (
        400,
        "this model was exported for exactly 2 rows at a time; 0 were sent",
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("unknown_operator", "com.example:Magic.* is not a registered function/op.*package --handler"),
        ("answers_a_sequence", r"'y' is of type seq\(tensor\(float\)\).*package --handler"),
        ("axis_of_nothing", r"'x' is declared as \(0, 2\), so it takes no value: export it with a free"),
        ("of_21_numbers", "answers none of the inputs.*Reshape.*package it with --samples"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_with_the_option_there_is(
    make: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(HandlerInvalid, match=words):
        serve(tmp_path, getattr(traits, make)())


def test_made_examples_are_of_one_row_and_a_size_that_the_model_takes(tmp_path: Path) -> None:
    sizes = {
        "voice": {"sound": (1, 16), "state": (2, 1, 3), "rate": ()},
        "picture_net": {"x": (1, 1, 8, 8)},
        "embedding": {"ids": (1, 8), "mask": (1, 8)},
    }
    for name, want in sizes.items():
        model = serve(tmp_path / name, getattr(traits, name)())
        sent = json.loads(model.samples[0].body)["inputs"]
        assert {key: np.shape(cells) for key, cells in sent.items()} == want


def test_a_sample_that_its_own_model_refuses_is_told_as_the_samples_fault(tmp_path: Path) -> None:
    folder = traits.write(tmp_path, traits.embedding())
    (folder / "code/samples").mkdir(parents=True)
    wrong = {"inputs": {"ids": [[10]], "mask": [[1]]}}
    (folder / "code/samples/one.json").write_text(json.dumps(wrong))
    model = ServedModel(read_settings(folder))
    with pytest.raises(HandlerInvalid, match=r"one\.json.*'ids'.*idx=10 must be within"):
        model.warm_up()


def test_a_model_that_takes_no_made_input_starts_with_a_sample(tmp_path: Path) -> None:
    folder = traits.write(tmp_path, traits.of_21_numbers())
    (folder / "code/samples").mkdir(parents=True)
    (folder / "code/samples/one.json").write_text(json.dumps({"inputs": [[0] * 21]}))
    model = ServedModel(read_settings(folder, {"max_batch": 1}))
    model.warm_up()
    status, answer = ask(model, {"inputs": [list(range(21))]})
    assert (status, answer["outputs"][0][1]) == (200, [7, 8, 9, 10, 11, 12, 13])
