"""Every type in every form: what the schema accepts is read as numpy reads it, and nothing else is read."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inference_code.codecs import bfloat, npy, schema, tensors
from inference_code.contract import CSV_TYPE, JSON_TYPE, NPY_TYPE, TensorSpec
from inference_code.errors import BadRequest

WHOLE = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
FLOATS = ["float16", "float32", "float64"]
V2 = {numpy_name: name for name, numpy_name in tensors.V2_TYPES.items()}


def spec(dtype: str, shape: tuple[int | None, ...] = (None, 2)) -> TensorSpec:
    return TensorSpec("x", dtype, shape)


def v2(dtype: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": shape, "datatype": V2[dtype], "data": data}]}


def bodies(rows: list[list[Any]], dtype: str) -> dict[str, tuple[bytes, str]]:
    """The same rows in each form that is text."""
    flat = [cell for row in rows for cell in row]
    values = {
        "instances": {"instances": rows},
        "rows by name": {"instances": [{"x": row} for row in rows]},
        "bare": rows,
        "inputs": {"inputs": rows},
        "by name": {"inputs": {"x": rows}},
        "v2": v2(dtype, [len(rows), 2], flat),
        "v2 nested": v2(dtype, [len(rows), 2], rows),
    }
    found = {name: (json.dumps(value).encode(), JSON_TYPE) for name, value in values.items()}
    lines = "".join(",".join(map(str, row)) + "\n" for row in rows)
    return {**found, "csv": (lines.encode(), CSV_TYPE)}


def read(body: bytes, kind: str, dtype: str) -> np.ndarray:
    array = tensors.read(body, kind, (spec(dtype),)).arrays["x"]
    assert array.dtype == (object if dtype == "str" else np.dtype(dtype))
    return array


def same_in_every_form(rows: list[list[Any]], dtype: str, want: np.ndarray) -> None:
    for form, (body, kind) in bodies(rows, dtype).items():
        np.testing.assert_array_equal(read(body, kind, dtype), want, form)
    if dtype != "str":
        np.testing.assert_array_equal(read(npy.write(want), NPY_TYPE, dtype), want, "npy")


@pytest.mark.parametrize("dtype", WHOLE)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whole_numbers_of_the_whole_range_are_read_exactly(dtype: str, data: st.DataObject) -> None:
    info = np.iinfo(dtype)
    cells = st.integers(int(info.min), int(info.max))
    rows = data.draw(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=3))
    same_in_every_form(rows, dtype, np.array(rows, dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_floats_are_rounded_as_numpy_does(dtype: str, data: st.DataObject) -> None:
    most = float(np.finfo(dtype).max)
    cells = st.floats(-most, most) | st.integers(-(2**53), 2**53)
    rows = data.draw(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=3))
    with np.errstate(over="ignore"):
        want = np.array(rows, np.float64).astype(dtype)
    assume(np.isfinite(want).all())
    same_in_every_form(rows, dtype, want)


@given(st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=1, max_size=3))
def test_true_and_false_are_booleans_and_so_are_1_and_0(rows: list[list[bool]]) -> None:
    same_in_every_form(rows, "bool", np.array(rows))
    same_in_every_form([[int(cell) for cell in row] for row in rows], "bool", np.array(rows))
    same_in_every_form([[float(cell) for cell in row] for row in rows], "bool", np.array(rows))


@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters='\n\r,"'), min_size=1),
            min_size=2,
            max_size=2,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_texts_are_read_as_they_are(rows: list[list[str]]) -> None:
    same_in_every_form(rows, "str", np.array(rows, object))


def test_empty_texts_and_nested_texts_are_read() -> None:
    body = json.dumps({"inputs": [[["a", ""], ["", "b"]]]}).encode()
    array = tensors.read(body, JSON_TYPE, (spec("str", (None, 2, 2)),)).arrays["x"]
    assert array.tolist() == [[["a", ""], ["", "b"]]]


def test_a_float_among_large_whole_numbers_costs_no_digit() -> None:
    # numpy makes floats of all: 9007199254740993 would become 9007199254740992.
    rows = [[2**53 + 1, 1.0]]
    same_in_every_form(rows, "int64", np.array([[2**53 + 1, 1]]))
    same_in_every_form([[2**64 - 1, 3.0]], "uint64", np.array([[2**64 - 1, 3]], np.uint64))


CELLS = st.one_of(
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.sampled_from([edge + step for edge in (-(2**63), -128, 0, 1, 127, 255, 2**31, 2**63, 2**64)
                     for step in (-1, 0, 1)]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([65519.9, 65520.0, 3.4028235677973366e38, 3.4028235677973362e38, 0.5, -0.0]),
    st.text(max_size=2),
    st.none(),
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["bool", "str", *WHOLE, *FLOATS])
@given(rows=st.lists(st.lists(CELLS, min_size=1, max_size=3), min_size=0, max_size=2))
@settings(max_examples=150, deadline=None)
def test_what_the_schema_allows_is_read_and_nothing_else(dtype: str, rows: list[list[Any]]) -> None:
    # A cell among cells of another type is read like any: JSON schema looks at each alone.
    judge = jsonschema.Draft202012Validator(schema.request_schema((spec(dtype),)))
    for value in ({"instances": rows}, {"inputs": rows}, rows):
        sent = json.dumps(value).encode()
        allowed = judge.is_valid(_as_read(value))
        with contextlib.nullcontext() if allowed else pytest.raises(BadRequest):
            tensors.read(sent, JSON_TYPE, (spec(dtype),))


def _as_read(value: Any) -> Any:
    """What a JSON parser of 64 bits makes of whole numbers beyond them."""
    if isinstance(value, dict):
        return {key: _as_read(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_as_read(part) for part in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    return value


@pytest.mark.parametrize(
    ("dtype", "cell", "words"),
    [
        ("int8", 300, "'x': a value does not fit into int8: 300"),
        ("uint8", -1, "'x': a value does not fit into uint8: -1"),
        ("uint64", 2**64, "does not fit into uint64: 18446744073709551616"),
        ("int64", 2**63, "does not fit into int64: 9223372036854775808"),
        ("uint32", 1.5, r"'x' takes whole numbers \(uint32\), not 1\.5"),
        ("bool", 2, r"'x' takes true or false \(or 1 and 0\), not 2"),
        ("bool", 0.5, r"'x' takes true or false \(or 1 and 0\), not 0\.5"),
        ("float16", 70000, "'x': a value does not fit into float16: 70000"),
        ("str", 7, "'x' takes text, not 7"),
        ("float32", "7", r"'x' takes float32 numbers only \(no text, no null\)"),
        ("int64", None, r"'x' takes int64 numbers only \(no text, no null\)"),
    ],
)
def test_a_cell_that_an_input_does_not_take_is_named(dtype: str, cell: Any, words: str) -> None:
    for value in ({"inputs": [[cell, cell]]}, v2(dtype, [1, 2], [cell, cell])):
        with pytest.raises(BadRequest, match=words):
            tensors.read(json.dumps(value).encode(), JSON_TYPE, (spec(dtype),))


@pytest.mark.parametrize(
    ("text", "dtype", "words"),
    [
        ("nan,1\n", "int64", r"takes whole numbers \(int64\), not nan"),
        ("1e300,1\n", "int64", "does not fit into int64"),
        ("1e999999999,1\n", "uint64", "does not fit into uint64: inf"),
        ("9007199254740993.5,1\n", "int64", r"not 9007199254740993\.5"),
        ("yes,1\n", "bool", "takes true or false .* not 'yes'"),
        ("x,1\n", "uint8", "line 1: 'x' is not a number"),
    ],
)
def test_a_cell_of_csv_that_an_input_does_not_take_is_named(
    text: str, dtype: str, words: str
) -> None:
    with pytest.raises(BadRequest, match=words):
        tensors.read(text.encode(), CSV_TYPE, (spec(dtype),))


def test_csv_lines_of_one_cell_are_the_rows_of_an_input_with_one_axis() -> None:
    for dtype, text, want in (("float32", "1\n2\n", [1, 2]), ("str", "a\nb\n", ["a", "b"])):
        array = tensors.read(text.encode(), CSV_TYPE, (spec(dtype, (None,)),)).arrays["x"]
        assert array.tolist() == want


def test_an_empty_list_has_no_shape_but_an_explicit_shape_may_hold_nothing() -> None:
    free = (spec("float32", (None, None)),)
    with pytest.raises(BadRequest, match="'x' holds an empty list"):
        tensors.read(b'{"inputs": [[]]}', JSON_TYPE, free)
    body = json.dumps(v2("float32", [0, 2], [])).encode()
    assert tensors.read(body, JSON_TYPE, free).arrays["x"].shape == (0, 2)
    assert tensors.read(npy.write(np.zeros((0, 2))), NPY_TYPE, free).arrays["x"].shape == (0, 2)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"inputs": [{"name": "x"}]}, r"inputs\[0\] needs name, shape, datatype and data"),
        (v2("float32", [1, 2], [[1], [2]]), r"data is nested as \(2, 1\), its shape is \[1, 2\]"),
        ({"inputs": [*v2("float32", [1, 2], [1, 2])["inputs"]] * 2}, r"inputs\[1\] is named 'x'"),
        ({"inputs": [1, 2]}, r"'x' takes shape \(any, 2\), the body holds \(2,\)"),
        ({"instances": [1, 2]}, r"'x' takes shape \(any, 2\), the body holds \(2,\)"),
        ({"inputs": [[[1, 2]]]}, r"the body holds \(1, 1, 2\)"),
    ],
)
def test_a_wrong_shape_is_named(value: Any, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        tensors.read(json.dumps(value).encode(), JSON_TYPE, (spec("float32"),))


def test_not_a_number_is_no_json_and_the_refusal_says_what_to_send() -> None:
    with pytest.raises(BadRequest, match="JSON has no NaN and no Infinity: send npy"):
        tensors.read(b'{"inputs": [[NaN, 1]]}', JSON_TYPE, (spec("float32"),))
    sent = npy.write(np.float32([[np.nan, 1]]))
    assert np.isnan(tensors.read(sent, NPY_TYPE, (spec("float32"),)).arrays["x"][0, 0])


SCALAR = (spec("float32"), TensorSpec("rate", "int64", ()))
STATE = (spec("float32", (1, 2)), TensorSpec("state", "float32", (2, 1)))


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (SCALAR, "'rate' is one value for the whole request"),
        (STATE, r"the first axes of this model's inputs differ \('x': 1, 'state': 2\)"),
        ((), "this model takes no input"),
    ],
)
def test_inputs_without_a_row_per_example_are_not_sent_as_instances(
    specs: tuple[TensorSpec, ...], words: str
) -> None:
    rows = [{"x": [1, 2], "rate": 1, "state": [1]}]
    with pytest.raises(BadRequest, match=words + '.*send {"inputs"'):
        tensors.read(json.dumps({"instances": rows}).encode(), JSON_TYPE, specs)
    forms = schema.request_schema(specs)["anyOf"]
    assert [form for form in forms if "instances" in form.get("properties", {})] == []
    assert all(form["type"] == "object" for form in forms)


def test_a_single_value_is_read_for_an_input_without_axes() -> None:
    arrays = tensors.read(b'{"inputs": {"x": [[1, 2]], "rate": 8000}}', JSON_TYPE, SCALAR).arrays
    assert arrays["rate"].shape == ()
    with pytest.raises(BadRequest, match=r"'rate' takes one value, the body holds \(1,\)"):
        tensors.read(b'{"inputs": {"x": [[1, 2]], "rate": [8000]}}', JSON_TYPE, SCALAR)


def test_the_schema_of_a_fixed_first_axis_says_how_many_rows_are_taken() -> None:
    for pieces, limits in ((True, (2, None)), (False, (2, 2))):
        forms = schema.request_schema((spec("float32", (2, 1)),), pieces)["anyOf"]
        lists = [form["properties"].get("instances") or form["properties"]["inputs"]
                 for form in forms if form["type"] == "object"]  # fmt: skip
        found = [(form["minItems"], form.get("maxItems")) for form in lists if "minItems" in form]
        assert found == [limits] * 3


@given(st.lists(st.floats(width=32), min_size=1, max_size=5))
def test_bfloat16_is_rounded_as_processors_do(numbers: list[float]) -> None:
    kinds: Any = pytest.importorskip("ml_dtypes")
    array = np.float32(numbers)
    want = array.astype(kinds.bfloat16).astype(np.float32)
    got = bfloat.from_bits(bfloat.to_bits(array))
    # A finite number stays finite.
    lost = np.isinf(want) & np.isfinite(array)
    np.testing.assert_array_equal(got[~lost], want[~lost])
    np.testing.assert_array_equal(np.abs(got[lost]), np.float32(3.3895314e38))
