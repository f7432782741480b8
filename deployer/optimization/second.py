"""The gate beside the metric: each output's fidelity to FP32, and ``fidelity`` as a metric of its own.

A collapse refuses a rung whatever the metric says. What else refuses it depends on what the metric sees of the output:

- labels, or all outputs: the metric is the judge, a collapse alone refuses.
- its likeness to FP32 as one number (cosine): besides, no channel may lose half of its variance, an error of 0.71.
- nothing: every measure has its limit in ``LIMITS``.

The limits stand between what was right and what was wrong, measured as ``error`` of the worst channel. Right: fp16,
int4 and int8 of the quickstart's digits CNN, 0.0004 to 0.022; int8 of all-MiniLM-L6-v2 at a cosine of 0.9957 and more
(200 sentences, 384 channels), 0.06 to 0.32. Wrong: its rungs at a cosine of 0.97 and less, 0.54 to 1; a channel of two
levels, 0.60 and more (Max 1960). Smaller models, right by their labels alone (the CNN pruned, its student): 0.27, 0.39.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deployer.optimization import fidelity
from deployer.optimization.answers import Answer, Answers, Parts
from deployer.optimization.fidelity import Finding
from deployer.optimization.session import Array
from deployer.stats import Floats

LIMITS = {
    "error": 0.4,
    "rows": 0.05,
    "first places": 0.05,
    "ranks": 0.05,
    "unequal": 0.01,
    "shape": 0.05,
    "collapse": 0.0,
}
"""The largest drop of an output that the metric does not see."""

ONE_NUMBER = 0.05
"""The largest ``error`` of one number per row: no other channel makes up for it."""

HALF_LOST = 0.71
"""The largest ``error`` where cosine judges the output: half of a channel's variance."""

_WORST = 256


@dataclass(frozen=True)
class OutputVerdict:
    """One output by one measure: its drop, the largest allowed, and a sentence."""

    name: str
    measure: str
    value: float
    limit: float
    passed: bool
    reason: str

    def to_json(self) -> dict[str, object]:
        """Return the record; a drop without bound is null."""
        value = self.value if np.isfinite(self.value) else None
        return {
            "name": self.name,
            "measure": self.measure,
            "value": value,
            "limit": self.limit,
            "passed": self.passed,
        }


def judge(name: str, given: Answer | None, reference: Answer, seen: str) -> OutputVerdict:
    """Judge one output; ``seen`` is what the metric sees of it: ``all``, ``likeness`` or ``nothing``.

    Returns the measure that is worst by its limit.
    """
    if given is None:
        return OutputVerdict(name, "shape", 1.0, 0.0, False, f"output {name!r} holds no numbers")
    verdicts = []
    for one in fidelity.findings(given, reference):
        limit = _limit(one, reference, seen)
        if limit is not None:
            reason = f"output {name!r} {one.told}; at most {limit:g} of {one.measure} is allowed"
            if one.measure == "collapse":
                reason = f"output {name!r} {one.told}"
            passed = one.drop <= limit
            verdicts.append(OutputVerdict(name, one.measure, one.drop, limit, passed, reason))
    held = OutputVerdict(name, "collapse", 0.0, 0.0, True, f"output {name!r} holds")
    return max(verdicts, key=_by_limit, default=held)


def _by_limit(one: OutputVerdict) -> tuple[bool, bool, float]:
    """Order a collapse last, then what failed by its drop, then what passed by its share of the limit."""
    if one.passed:
        return False, False, one.value / max(one.limit, 1e-9)
    return True, one.measure == "collapse", one.value


def _limit(one: Finding, reference: Answer, seen: str) -> float | None:
    """Return the largest drop allowed; None where the metric is the judge."""
    if one.measure == "collapse":
        return 0.0
    if seen == "all":
        return None
    if seen == "likeness":
        return HALF_LOST if one.measure == "error" else None
    single = isinstance(reference, np.ndarray) and reference[0].size == 1
    return ONE_NUMBER if single and one.measure == "error" else LIMITS[one.measure]


def over(given: Answers, reference: Answers, labels: object) -> Callable[[Array], float]:
    """Return the fidelity of chosen rows: 1 minus the worst drop of all measures over all outputs."""
    scorers = [_over(given.get(name), answer) for name, answer in reference.items()]
    return lambda pick: 1 - max(scorer(pick) for scorer in scorers)


def _over(given: Answer | None, reference: Answer) -> Callable[[Array], float]:
    if given is None:
        return lambda pick: 1.0
    if given is reference:
        return lambda pick: 0.0
    found = fidelity.findings(given, reference)
    resampled = _resampled(given, reference)
    fixed = max((f.drop for f in found if not resampled or f.measure != "error"), default=0.0)
    if not resampled:
        return lambda pick: fixed
    rows = len(reference)

    def drop(pick: Array) -> float:
        weights = np.bincount(pick, minlength=rows)[None].astype(np.float64)
        return max(fixed, *(float(one(weights).max()) for one in resampled))

    return drop


def _resampled(given: Answer, reference: Answer) -> list[Callable[[Floats], Floats]]:
    """Return what gives the error by choice of rows, of the worst slices alone: no other can become the worst."""
    if isinstance(given, Parts) or isinstance(reference, Parts) or given.shape != reference.shape:
        return []
    if not fidelity.numeric(given, reference):
        return []
    g, r, broken = fidelity.masked(given, reference)
    if broken is not None:
        return []
    every: list[Callable[[Floats], Floats]] = []
    for sums in fidelity.sums(g, r):
        drops = sums.drops(np.ones((1, len(r))))[0]
        every.append(sums.slices(np.argsort(-drops, kind="stable")[:_WORST]).drops)
    return every
