"""Content-Type and Accept headers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from inference_code.contract import CSV_TYPE, JSON_TYPE, NPY_TYPE
from inference_code.errors import NotAcceptable

TEXT_TYPES = (JSON_TYPE, CSV_TYPE)


@lru_cache(maxsize=256)
def media_type(header: str) -> str:
    """Return the bare media type of a Content-Type header, in lower case; JSON when it is missing."""
    kind = header.partition(";")[0].strip().lower()
    return JSON_TYPE if not kind or kind == "text/json" else kind


def is_text(kind: str) -> bool:
    """Return whether SageMaker's toolkit hands a body of this type to ``input_fn`` as text."""
    return kind in TEXT_TYPES


def choose(accept: str, offered: Sequence[str] = (JSON_TYPE, CSV_TYPE, NPY_TYPE)) -> str:
    """Return the first of ``offered`` that an Accept header likes best.

    Raises NotAcceptable when it likes none.
    """
    if not accept or accept == "*/*" or accept == offered[0]:
        return offered[0]
    best, best_q = "", 0.0
    for part in accept.split(","):
        pattern, q = _weighted(part)
        if q > best_q:
            match = next((kind for kind in offered if _matches(pattern, kind)), "")
            if match:
                best, best_q = match, q
    if not best:
        raise NotAcceptable(f"Accept is {accept!r}; this model answers in {', '.join(offered)}")
    return best


def _weighted(part: str) -> tuple[str, float]:
    pattern, _, parameters = part.partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return pattern.strip().lower(), float(value)
            except ValueError:
                return pattern.strip().lower(), 0.0
    return pattern.strip().lower(), 1.0


def _matches(pattern: str, kind: str) -> bool:
    if pattern.endswith("/*"):
        return pattern == "*/*" or kind.startswith(pattern[:-1])
    return media_type(pattern) == kind
