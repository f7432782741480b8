"""What the verbs on an EC2 fleet return, as plain lines for a terminal and as JSON documents."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeGuard

from deployer.cli import bills
from deployer.cli.offline import heading
from deployer.cli.text import mark, table

if TYPE_CHECKING:
    from deployer.deployments.ec2.plan import FleetPlan
    from deployer.deployments.ec2.verbs import FleetDeployment, FleetStatus


# By their names: importing the classes would load boto3 for every command's help.
def is_plan(value: object) -> TypeGuard[FleetPlan]:
    """Whether it is the plan of a fleet."""
    return type(value).__name__ == "FleetPlan"


def is_deployment(value: object) -> TypeGuard[FleetDeployment]:
    """Whether it is what came out of deploying a fleet."""
    return type(value).__name__ == "FleetDeployment"


def is_status(value: object) -> TypeGuard[FleetStatus]:
    """Whether it is how a fleet is."""
    return type(value).__name__ == "FleetStatus"


def plan(value: FleetPlan, next_command: str, ascii_only: bool) -> str:
    """Return what there will be, every line of the cost, what was checked, and the next command."""
    place = value.resolved.place
    head = f"deployer plan: {value.spec.name}, target {value.spec.target.kind}"
    lines = [*heading(value), f"{head}, account {place.account}, {place.region}"]
    if value.steps:
        lines += ["", table([(f"{s.mark} {s.kind}", s.name, s.note) for s in value.steps])]
    lines += ["", table(list(value.parts)), "", *bills.month(value.cost), ""]
    kinds = {"ok": "good", "note": "open"}
    for check in value.checks:
        lines.append(f"  {mark(kinds[check.outcome], ascii_only)} {check.subject}: {check.seen}")
    lines += ["", value.summary]
    if value.changes:
        lines.append(f"Next: {next_command}")
    return "\n".join(lines)


def deployment(value: FleetDeployment) -> str:
    """Return what runs, where it answers, and what to type next."""
    what = f"{value.name} has bundle {value.bundle_digest[:12]} in {value.region}"
    lines = [f"{what}, {value.changed} changes in {value.seconds:.0f} s", f"  group {value.group}"]
    if value.url:
        lines += [f"  {value.url}", f"try: deployer invoke {value.name} --data sample.json"]
    return "\n".join([*lines, f"stop: deployer destroy {value.name}"])


def status(value: FleetStatus, ascii_only: bool) -> str:
    """Return the stack, its instances and alarms."""
    good = mark("good" if value.healthy else "bad", ascii_only)
    lines = [
        f"{good} {value.name} in {value.region}: stack {value.status}, bundle {value.bundle_digest[:12]}",
        f"  {value.serving} of {value.desired} serve, scales {value.bounds[0]} to {value.bounds[1]}",
    ]
    lines += [
        f"  {name}: {state}, {health or 'no load balancer'}"
        for name, state, health in value.instances
    ]
    lines += [f"  alarm {name}: {state}" for name, state in value.alarms]
    if value.url:
        lines.append(f"  {value.url}/invocations")
    if value.queue_url:
        lines += [
            f"  {value.queue_url}: {value.waiting} wait, {value.taken} are worked on, {value.dead} given up",
            f"  answers in {value.results_s3_uri}",
        ]
    if value.expires:
        lines.append(f"  may be removed after {value.expires}")
    return "\n".join(lines)


def status_document(value: FleetStatus) -> dict[str, Any]:
    """Return the status as a JSON document."""
    return asdict(value) | {"healthy": value.healthy, "serving": value.serving}
