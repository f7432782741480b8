"""What runs as a fleet of EC2 instances, and how it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

STABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
SERVES = "healthy"


@dataclass(frozen=True)
class FleetDeployed:
    """What runs now. ``url`` is where requests go, or messages: a queue's."""

    name: str
    kind: str
    region: str
    account: str
    group: str
    url: str
    bundle_digest: str
    seconds: float
    changed: int
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {**asdict(self), "warnings": list(self.warnings)}


@dataclass(frozen=True)
class FleetStatus:
    """How a fleet is. ``instances`` are (id, state in the group, state at the load balancer).

    Of a queue: ``waiting``, ``taken`` by workers and given up (``dead``) messages, as SQS counts; None without one.
    """

    name: str
    region: str
    stack: str
    status: str
    bundle_digest: str
    url: str
    bounds: tuple[int, int]
    desired: int
    instances: tuple[tuple[str, str, str], ...]
    alarms: tuple[tuple[str, str], ...]
    expires: str
    queue_url: str = ""
    results_s3_uri: str = ""
    waiting: int | None = None
    taken: int | None = None
    dead: int | None = None

    @property
    def serving(self) -> int:
        """How many instances serve: in service, and healthy at the load balancer where there is one."""
        return sum(
            state == "InService" and health in (SERVES, "") for _, state, health in self.instances
        )

    @property
    def healthy(self) -> bool:
        """Whether the stack is at rest, all that is wanted serves, and no alarm fires."""
        calm = all(state != "ALARM" for _, state in self.alarms)
        return self.status in STABLE and self.serving >= self.desired and calm

    @property
    def rows(self) -> str:
        """The instances in one line."""
        rows = [f"{name} {state} {health}".strip() for name, state, health in self.instances]
        return ", ".join(rows) or "there is none"

    @property
    def words(self) -> str:
        """The stack and how many serve, in one line."""
        return f"{self.name} is {self.status}; {self.serving} of {self.desired} instances serve"

    def to_json(self) -> dict[str, Any]:
        """Return the status as a JSON document."""
        return asdict(self) | {"healthy": self.healthy, "serving": self.serving}
