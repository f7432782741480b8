"""Whether a new version may stay: what its servers counted, against the guard and the objective."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deployer.clients.http import HttpInvoker
from deployer.deployments.local import server as servers
from deployer.deployments.state import Server
from deployer.errors import EnvironmentProblem
from deployer.spec.deployment import Slo
from deployer.spec.rollout import Guard
from inference_code.contract import METRICS_ROUTE

MIN_REQUESTS = 100
"""Fewer say nothing of a 99th percentile."""

_ANSWERS = re.compile(r'^inference_requests_total\{code="(\d+)"\} (\d+)$', re.M)
_BUCKET = re.compile(r'^inference_request_seconds_bucket\{le="([^"]+)"\} (\d+)$', re.M)
_LOOK_S = 2.0


@dataclass(frozen=True)
class Sight:
    """What servers counted: answers, those with 5xx, and latencies as (upper bound in seconds, count up to it)."""

    answers: int
    errors: int
    buckets: tuple[tuple[float, int], ...]

    @staticmethod
    def parse(text: str) -> Sight:
        """Read what a server says at /metrics."""
        codes = [(code, int(count)) for code, count in _ANSWERS.findall(text)]
        return Sight(
            sum(count for _, count in codes),
            sum(count for code, count in codes if code[0] == "5"),
            tuple((float(bound), int(count)) for bound, count in _BUCKET.findall(text)),
        )

    def plus(self, other: Sight) -> Sight:
        """Return the sum of both."""
        if not self.buckets:
            return other
        rows = zip(self.buckets, other.buckets, strict=True)
        buckets = tuple((bound, count + more) for (bound, count), (_, more) in rows)
        return Sight(self.answers + other.answers, self.errors + other.errors, buckets)

    def slower_than(self, limit_s: float) -> int:
        """Return how many latencies were certainly above ``limit_s``: above the first bound that is not below it."""
        if not self.buckets:
            return 0
        total = self.buckets[-1][1]
        return total - next(count for bound, count in self.buckets if bound >= limit_s)


NOTHING = Sight(0, 0, ())


def look(found: tuple[Server, ...]) -> Sight:
    """Return what these servers counted so far. Raises EnvironmentProblem when one does not answer."""
    total = NOTHING
    for server in found:
        client = HttpInvoker(f"http://{servers.HOST}:{server.port}/", timeout_s=_LOOK_S)
        answer = client.request("GET", METRICS_ROUTE)
        if answer.status != 200:
            raise EnvironmentProblem(f"port {server.port} answered {answer.status} at /metrics")
        total = total.plus(Sight.parse(answer.content.decode()))
    return total


def complaint(sight: Sight, guard: Guard, slo: Slo) -> str:
    """Return why a version may not stay, "" when nothing speaks against it so far.

    Errors above ``rollout.max_error_percent``, or a p99 that is certainly above ``slo.p99_ms``.
    """
    if not guard.generated_alarms or sight.answers < MIN_REQUESTS:
        return ""
    share = 100 * sight.errors / sight.answers
    if share > guard.max_error_percent:
        return (
            f"{share:.1f}% of its {sight.answers:,} answers are errors, "
            f"rollout.max_error_percent is {guard.max_error_percent:g}"
        )
    if slo.p99_ms is None:
        return ""
    slow = sight.slower_than(slo.p99_ms / 1000)
    if slow > sight.answers / 100:
        return (
            f"{slow:,} of its {sight.answers:,} answers took longer than slo.p99_ms {slo.p99_ms:g}, "
            "more than 1%"
        )
    return ""
