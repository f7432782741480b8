"""Places of labels."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.report.plots.labels import Board, Box, shorten, spread, width_px

HEIGHTS = st.lists(st.floats(0, 400), min_size=1, max_size=12)


@given(HEIGHTS)
def test_spread_positions_keep_their_gap_order_and_bounds(wanted: list[float]) -> None:
    placed = spread(wanted, 20.0, 0.0, 400.0)
    assert all(-1e-6 <= p <= 400.0 + 1e-6 for p in placed)
    pairs = sorted(zip(wanted, placed, strict=True))
    for (_, one), (_, other) in pairwise(pairs):
        assert other - one >= 20.0 - 1e-6


def test_spread_leaves_positions_that_are_apart() -> None:
    assert spread([100.0, 10.0, 300.0], 20.0, 0.0, 400.0) == [100.0, 10.0, 300.0]


def test_spread_of_too_many_takes_equal_steps() -> None:
    assert spread([50.0, 50.0, 50.0], 60.0, 0.0, 100.0) == [0.0, 50.0, 100.0]


@pytest.mark.parametrize("room", [20.0, 60.0, 200.0])
@pytest.mark.parametrize(
    "text", ["short", "a very long name of a candidate " * 400, "模型" * 200, "W" * 90]
)
def test_shortened_text_fits(text: str, room: float) -> None:
    assert width_px(shorten(text, 12.0, room), 12.0) <= room


def test_text_that_fits_is_left_alone() -> None:
    assert shorten("c5.large", 12.0, 200.0) == "c5.large"


def test_shortened_text_keeps_both_ends() -> None:
    shown = shorten("sagemaker ml.c5.large 1–6 int8-static", 12.0, 120.0)
    assert shown.startswith("sage")
    assert shown.endswith("static")
    assert "…" in shown


@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0, 300)), min_size=1, max_size=8))
def test_labels_of_eight_points_never_cover_one_another(points: list[tuple[float, float]]) -> None:
    board = Board(Box(0.0, 0.0, 800.0, 330.0))
    placed = [board.place(x, y, 150.0, 15.0) for x, y in points]
    for one, other in combinations(placed, 2):
        assert one.overlap(other) == 0.0


def test_label_stays_in_its_frame_at_the_corner() -> None:
    board = Board(Box(0.0, 0.0, 400.0, 300.0))
    assert board.place(399.0, 299.0, 120.0, 15.0).outside(board.frame) == 0.0


def test_label_goes_around_what_is_taken() -> None:
    board = Board(Box(0.0, 0.0, 400.0, 300.0), taken=[Box(100.0, 140.0, 300.0, 160.0)])
    assert board.place(100.0, 150.0, 80.0, 15.0).overlap(board.taken[0]) == 0.0
