"""The moment at which a trace begins: read strictly, written in one way, and its time of day."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from deployer.errors import InputError

EXAMPLE = "2026-03-02T10:00:00Z"
_FORM = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def parse(text: str) -> datetime:
    """Return the moment in UTC that ISO 8601 ``text`` names, with its offset or Z. Raises InputError."""
    try:
        if _FORM.fullmatch(text):
            return in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        pass  # the form is right, the date or the offset is none
    raise InputError(
        f"{text!r} is no moment of ISO 8601 with its offset from UTC",
        hint=f"write it like {EXAMPLE}",
    )


def in_utc(moment: datetime) -> datetime:
    """Return the same moment in UTC. Raises InputError where its offset is unknown."""
    if moment.utcoffset() is None:
        raise InputError(
            f"{moment.isoformat()!r} does not say its offset from UTC",
            hint="add tzinfo=datetime.UTC, or the offset that holds",
        )
    return moment.astimezone(UTC)


def later(moment: datetime, seconds: float) -> datetime:
    """Return the moment ``seconds`` after another, to the microsecond. Raises InputError past the year 9999."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        raise InputError(f"{seconds:g} s after {text(moment)} lie beyond the year 9999") from None


def text(moment: datetime) -> str:
    """Return a moment in UTC as ISO 8601 with a Z, like 2026-03-02T10:00:00Z."""
    return moment.isoformat().removesuffix("+00:00") + "Z"


def second_of_day(moment: datetime) -> float:
    """Return the seconds after midnight of a moment in UTC."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return (moment - midnight).total_seconds()
