"""Durations, sizes and money: parse, check, print.

Times are floats in seconds, sizes ints in bytes, money is Decimal in USD and travels as text.
"""

from __future__ import annotations

import math
import re
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

from deployer.errors import InputError

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_duration(text: str) -> float:
    """Return seconds from ``"100ms"``, ``"2s"``, ``"1.5h"``; a bare number is seconds.

    Raises InputError for anything else, a negative or a non-finite value.
    """
    return _parse(text, _SECONDS, "s", "duration", "100ms, 2s, 5m, 1h")


def parse_size(text: str) -> int:
    """Return bytes from ``"6MiB"``, ``"600KB"``; a bare number is bytes. Raises InputError."""
    return int(_parse(text, _BYTES, "b", "size", "600KB, 6MiB"))


def _parse(
    text: str, scale: dict[str, float] | dict[str, int], unit: str, what: str, eg: str
) -> float:
    match = re.fullmatch(r"\s*([0-9.eE+-]+?)\s*([a-zA-Z]*)\s*", text)
    try:
        value = float(match[1]) if match else math.nan
    except ValueError:
        value = math.nan
    factor = scale.get((match[2] or unit).lower()) if match else None
    if factor is None or not math.isfinite(value) or value < 0:
        raise InputError(f"{text!r} is not a {what}", hint=f"write it like {eg}")
    return value * factor


def parse_money(text: str) -> Decimal:
    """Return USD as Decimal from text. Raises InputError when it is no finite, non-negative number."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise InputError(f"{text!r} is not an amount of USD") from None
    if not value.is_finite() or value < 0:
        raise InputError(f"{text!r} is not an amount of USD")
    return value


def round_significant(value: Decimal, digits: int) -> Decimal:
    """Round to ``digits`` significant digits, half to even."""
    return Context(prec=digits, rounding=ROUND_HALF_EVEN).plus(value)


def format_usd(value: Decimal, digits: int = 2) -> str:
    """Print USD with ``digits`` significant digits, whole dollars in full: ``0.0028``, ``140``, ``12346``."""
    if abs(value) >= 10**digits:
        return f"{value:.0f}"
    return f"{round_significant(value, digits):f}"


def format_ms(value_ms: float) -> str:
    """Print milliseconds with three significant digits and thousands separators."""
    if value_ms >= 100:
        return f"{value_ms:,.0f}"
    return f"{value_ms:.3g}"


def format_share(share: float) -> str:
    """Print a share as a percentage rounded down, so that 0.98996 never reads as 99.0%: ``98.9%``."""
    percent = Decimal(repr(float(share))) * 100
    digits = Decimal("0.01") if 99 < percent < 100 else Decimal("0.1")
    return "100%" if percent == 100 else f"{percent.quantize(digits, rounding=ROUND_FLOOR)}%"


def format_duration(seconds: float) -> str:
    """Print a duration for people: ``850 ms``, ``12.3 s``, ``3 min 5 s``, ``2 h 4 min``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
