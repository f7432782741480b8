"""Backend: what every target can do, by one story: locate -> plan -> apply -> observe -> remove.

``local``, ``sagemaker`` and ``ec2`` each have one, and none knows another; ``locate`` chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from deployer.clients.base import Answer, Body
from deployer.deployments.plan import AnyPlan, Plan
from deployer.deployments.state import ServerLog
from deployer.progress import Say
from deployer.spec.deployment import DeploymentSpec

if TYPE_CHECKING:
    from deployer.runs import Run


@dataclass(frozen=True)
class Asked:
    """What the caller adds to a specification.

    ``derived_target`` is the scaling target worked out of a profile, ``p99_s`` the measured 99th percentile in
    seconds, ``ttl_s`` the time to live in seconds, ``version`` ours. ``digest`` is that of the profile's bundle.
    """

    derived_target: float | None = None
    p99_s: float | None = None
    ttl_s: float | None = None
    version: str = "0"
    digest: str = ""


@dataclass(frozen=True)
class Change:
    """What a rollback changed: what the deployment ran, and what it runs now."""

    name: str
    left: str
    runs: str


@dataclass(frozen=True)
class Expired:
    """A deployment whose time was over at ``expires`` (ISO)."""

    name: str
    expires: str


@dataclass(frozen=True)
class Reaped:
    """A deployment that was destroyed, and what that removed."""

    name: str
    expires: str
    removed: tuple[str, ...]


class Deployed(Protocol):
    """What runs now. ``kind`` is the target's; ``url`` is where requests go, or messages; empty for neither."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def bundle_digest(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def warnings(self) -> tuple[str, ...]:
        """What the deployment does not prove."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON document."""


class Status(Protocol):
    """How a deployment is. ``words`` say it in one line, for whoever must be told that it is not ``healthy``."""

    @property
    def name(self) -> str: ...
    @property
    def healthy(self) -> bool: ...
    @property
    def words(self) -> str: ...

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON document; money is text, unknown is null."""


_Planned = TypeVar("_Planned", bound=AnyPlan)


class Backend(Protocol[_Planned]):
    """One target, where it is: this machine, or an account and region of AWS."""

    @property
    def whereabouts(self) -> str:
        """Where it acts, in one line; empty for this machine."""

    def plan(self, spec: DeploymentSpec, asked: Asked, run: Run | None) -> _Planned:
        """Work out what deploying would change; changes nothing. ``run`` prices what follows the traffic."""

    def apply(self, plan: _Planned, *, say: Say) -> Deployed:
        """Make what runs equal to the plan. Running it twice changes nothing."""

    def status(self, name: str) -> Status:
        """Ask how a deployment is. Raises InputError when there is none."""

    def invoke(
        self, name: str, body: Body, *, accept: str | None, timeout_s: float | None, say: Say
    ) -> Answer:
        """Send one body in the way of the deployment, and return its answer."""

    def logs(self, name: str, *, lines: int) -> tuple[ServerLog, ...]:
        """Return the last lines that servers wrote."""

    def rollback(self, name: str, *, say: Say) -> Change:
        """Return to what ran before, and verify that it runs."""

    def remaining(self, name: str) -> tuple[str, ...]:
        """Return everything of a deployment that exists, one line each; reads only."""

    def destroy(self, name: str, *, say: Say) -> tuple[str, ...]:
        """Remove everything of a deployment, verify it, and return what was removed."""

    def expired(self, now: datetime) -> Sequence[Expired]:
        """Return the deployments whose time to live is over; changes nothing."""


__all__ = [
    "Asked",
    "Backend",
    "Change",
    "Deployed",
    "Expired",
    "Plan",
    "Reaped",
    "Status",
]
