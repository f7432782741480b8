"""Content-Type and Accept headers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from inference_code.contract import CSV_TYPE, JSON_TYPE, NPY_TYPE
from inference_code.errors import NotAcceptable

TEXT_TYPES = (JSON_TYPE, CSV_TYPE)
_PART = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_WORD = r"[!#$%&'+.^_`|~0-9A-Za-z-]+"  # no *, which only a range has
_RANGE = re.compile(rf"\*/\*|{_WORD}/(\*|{_WORD})")
_QVALUE = re.compile(r"(0?\.[0-9]{1,6}|0\.?|1(\.0{0,6})?)")


@lru_cache(maxsize=256)
def media_type(header: str) -> str:
    """Return the bare media type of a Content-Type header, in lower case; JSON when it is missing."""
    kind = header.partition(";")[0].strip().lower()
    return JSON_TYPE if not kind or kind == "text/json" else kind


def is_text(kind: str) -> bool:
    """Return whether SageMaker's toolkit hands a body of this type to ``input_fn`` as text."""
    return kind in TEXT_TYPES


def is_list(header: str) -> bool:
    """Return whether a header names more than one type."""
    return len(_PART.findall(header)) > 1


@lru_cache(maxsize=256)
def is_one(kind: str) -> bool:
    """Return whether a text may be a Content-Type: one type with its parameters, no list, no range, no q."""
    bare, *parameters = kind.split(";")
    is_wish = any(each.partition("=")[0].strip().lower() == "q" for each in parameters)
    return not (is_wish or is_list(kind) or "*" in bare) and bool(_RANGE.fullmatch(bare.strip()))


def choose(accept: str, offered: Sequence[str] = (JSON_TYPE, CSV_TYPE, NPY_TYPE)) -> str:
    """Return the one of ``offered`` that an Accept header likes best (RFC 9110, 12.5.1).

    A type's q is that of the most specific range it matches; of equals the one named first wins, then the one
    offered first. Raises NotAcceptable when it likes none.
    """
    if not accept or accept == "*/*" or accept == offered[0]:
        return offered[0]
    best = _best(_ranges(accept), offered)
    if best is None:
        raise NotAcceptable(
            f"Accept is {accept!r}; this model answers in {', '.join(offered)}: ask for one of them"
        )
    return best


def first_choice(accept: str, default: str) -> str:
    """Return the one bare type that an Accept header likes best, for who does not say what it offers.

    A range stands for ``default``, else for JSON, CSV or npy; one that none of them matches, for ``default``.
    Raises NotAcceptable when the header refuses all.
    """
    ranges = _ranges(accept)
    named = [pattern for pattern in ranges if not pattern.endswith("/*")]
    best = _best(ranges, (*named, default, JSON_TYPE, CSV_TYPE, NPY_TYPE))
    if best is None and ranges and not any(q for q, _ in ranges.values()):
        raise NotAcceptable(f"Accept is {accept!r}, which refuses every answer")
    return best or default


_Ranges = Mapping[str, tuple[float, int]]


def _ranges(accept: str) -> _Ranges:
    """Return q and place of each media range. One that is malformed is passed over, as is its parameters' wish."""
    found: dict[str, tuple[float, int]] = {}
    for place, part in enumerate(_PART.findall(accept)):
        pattern, *parameters = part.split(";")
        pattern = media_type(pattern) if pattern.strip() else ""
        pattern = "*/*" if pattern == "*" else pattern  # java.net's
        q = _weight(parameters)
        if _RANGE.fullmatch(pattern) and q is not None and q > found.get(pattern, (-1.0, 0))[0]:
            found[pattern] = q, -place
    return found


def _weight(parameters: Sequence[str]) -> float | None:
    """Return q, 1 when it is not there and None when it is no number from 0 to 1."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            return float(value) if _QVALUE.fullmatch(value.strip()) else None
    return 1.0


def _best(ranges: _Ranges, offered: Sequence[str]) -> str | None:
    liked = [
        (*weight, -index, kind)
        for index, kind in enumerate(offered)
        if (weight := _liking(ranges, kind)) is not None and weight[0] > 0
    ]
    return max(liked)[-1] if liked else None


def _liking(ranges: _Ranges, kind: str) -> tuple[float, int] | None:
    for pattern in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if pattern in ranges:
            return ranges[pattern]
    return None
