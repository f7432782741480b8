"""What playing a rule may end in, and the comparisons that rules share."""

from __future__ import annotations

from deployer.clients.base import Answer


class NotPlayedError(Exception):
    """A rule that says nothing about this bundle, with the reason."""


class BrokenError(Exception):
    """A rule that does not hold, with what was seen."""


def expect(answer: Answer, status: int, what: str = "") -> str:
    """Return what was seen. Raises BrokenError when the answer has another status."""
    if answer.status != status:
        words = answer.content[:200].decode("utf-8", "replace").strip()
        raise BrokenError(f"{what}answered {answer.status}, not {status}: {words}")
    return f"{what}answered {status}"


def within(taken_s: float, limit_s: float, what: str) -> str:
    """Return what was seen. Raises BrokenError when it took longer than the limit."""
    if taken_s > limit_s:
        raise BrokenError(f"{what}: {taken_s * 1000:.0f} ms, limit {limit_s * 1000:.0f} ms")
    return f"{what}: {taken_s * 1000:.1f} ms"
