"""What the doctor says: one finding for each thing looked at, and the report of them all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["ok", "missing", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``missing`` stops every verb, ``note`` stops some or is worth knowing."""

    subject: str
    outcome: Outcome
    seen: str
    fix: str = ""


@dataclass(frozen=True)
class DoctorReport:
    """All findings; ``ok`` when nothing that every verb needs is missing."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether the verbs can run at all."""
        return all(finding.outcome != "missing" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON document."""
        return {"ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}
