"""How the servers of a deployment on this machine are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from deployer.deployments.state import Deployment

Health = Literal["serving", "not answering", "dead"]


@dataclass(frozen=True)
class ServerStatus:
    """One server as it answered just now; ``ping_ms`` None when it did not."""

    port: int
    pid: int
    url: str
    health: Health
    ping_ms: float | None
    bundle_digest: str


@dataclass(frozen=True)
class LocalStatus:
    """A deployment and what each of its servers answered."""

    deployment: Deployment
    servers: tuple[ServerStatus, ...]
    front: tuple[tuple[str, bool], ...] = ()
    """Of a fleet: "balancer" and "supervisor", each with whether it runs."""

    @property
    def serving(self) -> int:
        """How many servers answer."""
        return sum(server.health == "serving" for server in self.servers)

    @property
    def healthy(self) -> bool:
        """Whether all wanted servers answer, with the deployed bundle."""
        right = {s.bundle_digest for s in self.servers} <= {self.deployment.bundle_digest}
        front = all(runs for _, runs in self.front)
        return self.serving == self.deployment.instances and right and front

    @property
    def name(self) -> str:
        """The deployment's name."""
        return self.deployment.name

    @property
    def words(self) -> str:
        """How many servers answer, in one line."""
        wanted = self.deployment.instances
        return f"{self.serving} of {wanted} servers of {self.name} answer"

    def to_json(self) -> dict[str, Any]:
        """Return the status as a JSON document."""
        return {
            "name": self.name,
            "healthy": self.healthy,
            "serving": self.serving,
            "wanted": self.deployment.instances,
            "bundle_digest": self.deployment.bundle_digest,
            "servers": [asdict(server) for server in self.servers],
            **({"front": dict(self.front)} if self.front else {}),
        }
