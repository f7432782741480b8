import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inference_code.codecs import npy, schema, tensors
from inference_code.contract import CSV_TYPE, JSON_TYPE, NPY_TYPE, TensorSpec
from inference_code.errors import BadRequest, NotAcceptable, UnsupportedMediaType

ROWS = (TensorSpec("x", "float32", (None, 3)),)
IMAGE = (TensorSpec("image", "float32", (None, 1, 2, 2)),)
TOKENS = (
    TensorSpec("ids", "int64", (None, None)),
    TensorSpec("mask", "int64", (None, None)),
)


def read(value, specs=ROWS):
    return tensors.read(json.dumps(value).encode(), JSON_TYPE, specs)


def test_instances_become_the_only_input():
    inputs = read({"instances": [[1, 2, 3], [4, 5, 6.5]]})
    np.testing.assert_array_equal(inputs.arrays["x"], np.float32([[1, 2, 3], [4, 5, 6.5]]))
    assert inputs.arrays["x"].dtype == np.float32
    assert inputs.form == "instances"


def test_a_bare_list_is_instances():
    assert read([[1, 2, 3]]).arrays["x"].shape == (1, 3)


def test_instances_by_name_are_stacked():
    inputs = read({"instances": [{"ids": [1, 2], "mask": [1, 1]}]}, TOKENS)
    np.testing.assert_array_equal(inputs.arrays["ids"], [[1, 2]])


def test_inputs_by_name():
    inputs = read({"inputs": {"ids": [[7]], "mask": [[1]]}}, TOKENS)
    assert inputs.arrays["ids"].dtype == np.int64
    assert inputs.form == "inputs"


def test_v2_takes_flat_data_and_keeps_the_id():
    tensor = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}
    inputs = read({"id": "abc", "inputs": [tensor]})
    assert inputs.arrays["x"].shape == (2, 3)
    answer = tensors.write({"y": np.float32([[1], [2]])}, inputs.form, JSON_TYPE, inputs.request_id)
    assert json.loads(answer) == {
        "id": "abc",
        "outputs": [{"name": "y", "shape": [2, 1], "datatype": "FP32", "data": [1.0, 2.0]}],
    }


def test_csv_lines_are_folded_into_the_inputs_shape():
    assert tensors.read(b"1,2,3,4\n5,6,7,8\n", CSV_TYPE, IMAGE).arrays["image"].shape == (
        2,
        1,
        2,
        2,
    )


def test_npy_without_the_batch_dimension_is_one_example():
    body = npy.write(np.zeros((1, 2, 2), np.float32))
    assert tensors.read(body, NPY_TYPE, IMAGE).arrays["image"].shape == (1, 1, 2, 2)


@pytest.mark.parametrize(
    ("value", "specs", "message"),
    [
        ({}, ROWS, "expected"),
        ({"instances": []}, ROWS, "at least one example"),
        ({"instances": [[1, 2]]}, ROWS, r"takes shape \(any, 3\), the body holds \(1, 2\)"),
        ({"instances": [[1, 2, 3], [4]]}, ROWS, "different lengths"),
        ({"instances": [[1, 2, None]]}, ROWS, "no text, no null"),
        ({"instances": [["a", "b", "c"]]}, ROWS, "no text, no null"),
        ({"instances": [["1", "2", "3"]]}, ROWS, "no text, no null"),
        ({"instances": [[1, 2, 1e300]]}, ROWS, "does not fit into float32"),
        (
            {"inputs": {"ids": [[1.5]], "mask": [[1]]}},
            TOKENS,
            r"'ids' takes whole numbers \(int64\), not 1\.5",
        ),
        ({"inputs": {"ids": [[1]]}}, TOKENS, "input 'mask' is missing"),
        ({"inputs": {"ids": [[1]], "mask": [[1]], "z": 1}}, TOKENS, "unknown input 'z'"),
        ({"inputs": [[1]]}, TOKENS, "must name"),
        ({"instances": [{"ids": [1]}]}, TOKENS, r"instances\[0\] must have the keys"),
        ({"inputs": [{"name": "x", "data": [1]}]}, ROWS, "needs name, shape, datatype and data"),
        (
            {"inputs": [{"name": "x", "shape": [9, 9], "datatype": "FP32", "data": [1]}]},
            ROWS,
            "does not hold 1 values",
        ),
        (
            {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "INT8", "data": [1, 2, 3]}]},
            ROWS,
            "takes FP32, not 'INT8'",
        ),
    ],
)
def test_a_wrong_body_is_refused_with_a_message_that_helps(value, specs, message):
    with pytest.raises(BadRequest, match=message):
        read(value, specs)


def test_a_number_too_large_for_its_type_is_refused_not_wrapped():
    with pytest.raises(BadRequest, match="does not fit into int8"):
        read({"instances": [[300]]}, (TensorSpec("x", "int8", (None, None)),))


def test_deep_json_is_refused_without_harm():
    with pytest.raises(BadRequest):
        tensors.read(b"[" * 100_000, JSON_TYPE, ROWS)


def test_another_content_type_is_named():
    with pytest.raises(UnsupportedMediaType, match="image/png"):
        tensors.read(b"x", "image/png", ROWS)


def test_several_outputs_do_not_fit_into_npy():
    with pytest.raises(NotAcceptable, match="a, b"):
        tensors.write({"a": np.zeros(1), "b": np.zeros(1)}, "inputs", NPY_TYPE)


def test_nan_is_written_as_null():
    assert (
        tensors.write({"y": np.float32([[np.nan]])}, "inputs", JSON_TYPE) == b'{"outputs":[[null]]}'
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["instances", "inputs", "x", "name", "shape", "datatype", "data", "id"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=300)
@given(JSON, st.sampled_from([ROWS, IMAGE, TOKENS, (TensorSpec("x", "str", (None,)),)]))
def test_any_json_is_read_or_refused(value, specs):
    with contextlib.suppress(BadRequest):
        inputs = read(value, specs)
        assert inputs.arrays.keys() == {spec.name for spec in specs}


@given(
    hnp.arrays(
        np.float32, (2, 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
    )
)
def test_float32_survives_json(array):
    body = tensors.write({"y": array}, "inputs", JSON_TYPE)
    np.testing.assert_array_equal(np.float32(json.loads(body)["outputs"]), array)


NUMBERS = st.one_of(st.floats(-3e38, 3e38), st.integers(-(2**53), 2**53), st.booleans())


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=5))
def test_rows_of_floats_are_what_numpy_makes_of_them(rows):
    (array,) = read({"instances": rows}).arrays.values()
    np.testing.assert_array_equal(array, np.asarray(rows, np.float64).astype(np.float32))
    assert array.shape == (len(rows), 3)


@pytest.mark.parametrize("row", [3, {"a": 1, "b": 2, "c": 3}, "abc", [[1], [2], [3]], [1, 2, 3, 4]])
def test_rows_that_cannot_be_packed_are_refused(row):
    with pytest.raises(BadRequest):
        read({"instances": [row]})


def test_the_schema_of_a_request_says_what_is_read():
    specs = [TensorSpec("x", "float32", (None, 2)), TensorSpec("n", "int8", (None,))]
    instances, by_name, rows = schema.request_schema(specs)["anyOf"]
    cells = by_name["properties"]["inputs"]["properties"]
    assert cells["x"]["minItems"] == 1  # an empty list would have no shape
    assert cells["x"]["items"]["items"]["type"] == ["number", "boolean"]
    assert (cells["n"]["items"]["minimum"], cells["n"]["items"]["maximum"]) == (-128, 127)
    assert by_name["not"] == {"required": ["instances"]}
    assert "not" not in instances
    assert rows == instances["properties"]["instances"]  # a bare list is instances
    json.dumps(by_name)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_schema_says_exactly_which_numbers_fit(dtype: str) -> None:
    specs = [TensorSpec("x", dtype, (None, 1))]
    cell = schema.request_schema(specs)["anyOf"][0]["properties"]["instances"]["items"]["items"]
    limit = cell["exclusiveMaximum"]
    for value, fits in ((np.nextafter(limit, 0.0), True), (limit, False)):
        with contextlib.nullcontext() if fits else pytest.raises(BadRequest):
            read({"instances": [[float(value)]]}, specs)


def test_the_schema_refuses_inputs_that_the_model_does_not_know() -> None:
    specs = [TensorSpec("a", "float32", (None, 1)), TensorSpec("b", "float32", (None, 1))]
    instances, inputs, _ = schema.request_schema(specs)["anyOf"]
    assert instances["properties"]["instances"]["items"]["additionalProperties"] is False
    assert inputs["properties"]["inputs"]["additionalProperties"] is False
