"""Durations, sizes and money parse, refuse and print."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer import units
from deployer.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("100ms", 0.1), ("2s", 2.0), ("1.5h", 5400.0), ("3", 3.0), ("5 min", 300.0), ("1d", 86400.0)],
)
def test_durations_parse_to_seconds(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "fast", "-1s", "nan", "inf", "1parsec", "1e999s", "1 2 s"])
def test_what_is_no_duration_is_refused_by_value(text: str) -> None:
    with pytest.raises(InputError, match="is not a duration") as caught:
        units.parse_duration(text)
    assert repr(text) in caught.value.message
    assert caught.value.hint


def test_sizes_parse_to_bytes() -> None:
    assert units.parse_size("6MiB") == 6 * 2**20
    assert units.parse_size("600KB") == 600_000
    assert units.parse_size("17") == 17


@pytest.mark.parametrize("text", ["free", "NaN", "Infinity", "-0.01", ""])
def test_what_is_no_money_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not an amount of USD"):
        units.parse_money(text)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("0.00283333", "0.0028"),
        ("0.0099999", "0.010"),
        ("140.4", "140"),
        ("12.5", "12"),
        ("0", "0"),
        ("1.25", "1.2"),
        ("99999", "99999"),
    ],
)
def test_money_prints_two_significant_digits(value: str, printed: str) -> None:
    assert units.format_usd(Decimal(value)) == printed


@given(st.decimals("0.000001", "100000", places=8), st.integers(1, 6))
def test_printed_money_is_close_and_has_no_exponent(value: Decimal, digits: int) -> None:
    printed = units.format_usd(value, digits)
    assert "E" not in printed
    if value < 10**digits:
        assert abs(Decimal(printed) - value) <= abs(value) * Decimal(10) ** (1 - digits)


@pytest.mark.parametrize(
    ("seconds", "printed"),
    [(0.25, "250 ms"), (12.34, "12.3 s"), (185, "3 min 5 s"), (7440, "2 h 4 min"), (3600, "1 h")],
)
def test_durations_print_for_people(seconds: float, printed: str) -> None:
    assert units.format_duration(seconds) == printed


def test_milliseconds_print_three_digits() -> None:
    assert units.format_ms(0.1234) == "0.123"
    assert units.format_ms(3104.2) == "3,104"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100%"),
        (0.9999999, "99.99%"),
        (0.99, "99.0%"),
        (0.98996, "98.9%"),
        (0.5, "50.0%"),
        (0.0, "0.0%"),
    ],
)
def test_share_is_rounded_down(share: float, text: str) -> None:
    assert units.format_share(share) == text
