"""Inputs that are guessed: of the right form, the same for one seed, and of such values as a model may take."""

from __future__ import annotations

import numpy as np
import pytest

from inference_code.contract import TensorSpec
from inference_code.plausible import Arrays, Hints, answered, draw

IDS = TensorSpec("input_ids", "int64", (None, None))
MASK = TensorSpec("attention_mask", "int64", (None, None))
KINDS = TensorSpec("token_type_ids", "int64", (None, None))
PICTURE = TensorSpec("picture", "float32", (None, 3, None, None))
SERIES = TensorSpec("series", "float32", (None, None, 4))


def table(size: int, name: str) -> object:
    """Return what stands for a model with a table: an index outside it is an error, as in ONNX Runtime."""

    def run(arrays: Arrays) -> None:
        if arrays[name].max() >= size:
            raise ValueError(f"{name} has {arrays[name].max()}")

    return run


def test_rows_fixed_sizes_and_types_are_kept() -> None:
    drawn = draw([IDS, PICTURE], rows=5, free=16)
    assert {name: (a.shape, a.dtype.name) for name, a in drawn.items()} == {
        "input_ids": ((5, 16), "int64"),
        "picture": ((5, 3, 16, 16), "float32"),
    }


def test_one_seed_gives_the_same_arrays_and_another_others() -> None:
    first, again, other = (draw([PICTURE], seed=seed)["picture"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_rows_lie_where_the_hint_says_and_states_have_as_many() -> None:
    by_hint = draw([SERIES], Hints(rows={"series": 1}), rows=3)
    assert by_hint["series"].shape == (8, 3, 4)
    state = TensorSpec("state", "float32", (2, None, 7))
    axes = {"series": ("batch", "time", 4), "state": (2, "batch", 7)}
    by_name = draw([SERIES, state], Hints(axes=axes), rows=3)
    assert (by_name["series"].shape, by_name["state"].shape) == ((3, 8, 4), (2, 3, 7))


def test_ids_fill_the_table_that_the_graph_names_and_no_more() -> None:
    drawn = draw([IDS], Hints(below={"input_ids": 1000}), rows=64, free=32)["input_ids"]
    assert 900 < drawn.max() < 1000
    assert drawn.min() >= 0
    assert draw([IDS], rows=64)["input_ids"].max() == 3


def test_a_mask_keeps_the_first_half_at_least() -> None:
    mask = draw([MASK], rows=200, free=10)["attention_mask"]
    assert set(np.unique(mask)) == {0, 1}
    assert (np.diff(mask, axis=1) <= 0).all()  # never a token after padding
    assert sorted(set(mask.sum(1))) == [5, 6, 7, 8, 9, 10]


def test_a_table_of_two_segments_is_met_by_drawing_less() -> None:
    found = answered(table(2, "token_type_ids"), [IDS, KINDS], count=3)  # type: ignore[arg-type]
    assert len(found) == 3
    assert {int(each["token_type_ids"].max()) for each in found} == {1}


def test_the_last_of_several_is_ten_times_as_large() -> None:
    first, second, last = (a["picture"].std() for a in answered(len, [PICTURE], count=3))
    assert first == pytest.approx(1.0, rel=0.2) == second
    assert last == pytest.approx(10.0, rel=0.2)


def test_sizes_are_tried_until_one_is_answered() -> None:
    def pools_twice(arrays: Arrays) -> None:
        if arrays["picture"].shape[2] < 32:
            raise ValueError("too small")

    assert answered(pools_twice, [PICTURE])[0]["picture"].shape == (1, 3, 32, 32)


def test_what_is_never_answered_is_tried_once_for_each_shape_and_within_memory() -> None:
    seen: list[int] = []

    def never(arrays: Arrays) -> None:
        seen.append(arrays["volume"].size)
        raise ValueError("no")

    volume = TensorSpec("volume", "float32", (None, None, None, None))
    assert answered(never, [volume]) == []
    assert sorted(set(seen)) == [1, 8**3, 16**3, 32**3, 64**3, 128**3]
    fixed, failures = TensorSpec("volume", "float32", (None, 4)), []
    assert answered(never, [fixed], constant=True, failed=failures.append) == []
    assert len(failures) == 4  # zeros, ones, and two draws


def test_constants_come_first_where_they_are_asked_for() -> None:
    text = TensorSpec("text", "str", (None,))
    made = answered(len, [PICTURE, text], constant=True)[0]
    assert not made["picture"].any()
    assert made["text"].tolist() == [""]
