"""The moment at which a trace begins: one form is written, ISO 8601 with an offset is read, nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import InputError
from deployer.traffic import clock

OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m)))
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=OFFSETS)


@given(MOMENTS)
def test_a_moment_of_any_offset_is_kept_in_utc(moment: datetime) -> None:
    assert clock.parse(moment.isoformat()) == moment
    assert clock.parse(clock.text(clock.in_utc(moment))) == moment
    assert clock.parse(moment.isoformat()).tzinfo is UTC


def test_the_form_that_is_written_ends_in_z() -> None:
    east = timezone(timedelta(hours=2))
    assert clock.text(clock.in_utc(datetime(2026, 3, 2, 12, tzinfo=east))) == "2026-03-02T10:00:00Z"


@pytest.mark.parametrize(
    "text",
    [
        "", "10:00", "2026-03-02", "2026-03-02T10:00:00", "2026-03-02 10:00:00Z", "20260302T100000Z",
        "2026-02-30T10:00:00Z", "2026-03-02T25:00:00Z", "2026-03-02T10:00:00+99:00", "2026-03-02T10:00Z",
        "0001-01-01T00:00:00+05:00", "٢026-03-02T10:00:00Z", "2026-03-02T10:00:00Z ", '"2026-03-02T10:00:00Z"',
    ],
)  # fmt: skip
def test_what_is_no_such_moment_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no moment of ISO 8601") as caught:
        clock.parse(text)
    assert caught.value.hint == "write it like 2026-03-02T10:00:00Z"


def test_a_moment_without_an_offset_is_refused() -> None:
    with pytest.raises(InputError, match="does not say its offset from UTC"):
        clock.in_utc(datetime(2026, 3, 2, 10))


def test_the_second_of_the_day_counts_from_midnight() -> None:
    assert clock.second_of_day(datetime(2026, 3, 2, 10, 0, 30, 250_000, tzinfo=UTC)) == 36_030.25
