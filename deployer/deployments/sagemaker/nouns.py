"""What runs on SageMaker, and how it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class SageMakerDeployed:
    """What runs now. ``warnings`` say what the deployment does not prove."""

    name: str
    kind: str
    region: str
    account: str
    endpoint: str
    config: str
    model: str
    bundle_digest: str
    seconds: float
    changed: int
    warnings: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Where requests go; empty without an endpoint."""
        if not self.endpoint:
            return ""
        host = f"https://runtime.sagemaker.{self.region}.amazonaws.com"
        return f"{host}/endpoints/{self.endpoint}/invocations"

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {**asdict(self), "warnings": list(self.warnings), "url": self.url}


@dataclass(frozen=True)
class VariantStatus:
    """One variant: instances that serve and that are wanted (concurrency units when serverless)."""

    name: str
    current: int
    desired: int
    weight: float


READY = "Ready"
"""A model that waits for batch jobs."""


@dataclass(frozen=True)
class SageMakerStatus:
    """How a deployment is. ``spent_usd`` None comes with ``spent_basis``: why it is not known.

    Without an endpoint (batch) ``config`` names the models, and ``jobs`` those that run.
    """

    name: str
    region: str
    endpoint: str
    status: str
    config: str
    previous: str
    reason: str
    variants: tuple[VariantStatus, ...]
    bounds: tuple[int, int] | None
    alarms: tuple[tuple[str, str], ...]
    created: str
    expires: str
    spent_usd: Decimal | None
    spent_basis: str
    jobs: tuple[tuple[str, str], ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether it serves, with all it wants, and no alarm fires; a batch model is always ready."""
        if not self.endpoint:
            return self.status == READY
        full = all(v.current >= v.desired for v in self.variants)
        calm = all(state != "ALARM" for _, state in self.alarms)
        return self.status == "InService" and full and calm

    @property
    def words(self) -> str:
        """What may be wrong, in one line."""
        return f"{self.name} is {self.status}, or lacks instances, or an alarm fires"

    def to_json(self) -> dict[str, Any]:
        """Return the status as a JSON document; money is text, unknown is null."""
        document = asdict(self) | {"healthy": self.healthy}
        document["spent_usd"] = None if self.spent_usd is None else str(self.spent_usd)
        return document
