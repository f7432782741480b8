"""What was seen of every rule."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from deployer.errors import ConditionFailed

Outcome = Literal["passed", "broken", "not played"]


@dataclass(frozen=True)
class RuleResult:
    """One rule: what was seen, and what to change when it is broken."""

    rule: str
    outcome: Outcome
    seen: str
    fix: str


@dataclass(frozen=True)
class ConformanceReport:
    """Every rule with its outcome, in the order in which the platform would meet them."""

    name: str
    digest: str
    rules: tuple[RuleResult, ...]

    @property
    def broken(self) -> tuple[RuleResult, ...]:
        """The rules that do not hold."""
        return tuple(rule for rule in self.rules if rule.outcome == "broken")

    @property
    def ok(self) -> bool:
        """Whether no rule is broken."""
        return not self.broken

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON document."""
        return {
            "name": self.name,
            "bundle_digest": self.digest,
            "ok": self.ok,
            "rules": [asdict(rule) for rule in self.rules],
        }

    def require(self) -> ConformanceReport:
        """Return the report itself. Raises ConditionFailed naming each broken rule."""
        if self.broken:
            words = "; ".join(f"{rule.rule}: {rule.seen}" for rule in self.broken)
            raise ConditionFailed(
                f"{self.name} breaks {len(self.broken)} of {len(self.rules)} rules: {words}",
                hint=self.broken[0].fix,
            )
        return self
