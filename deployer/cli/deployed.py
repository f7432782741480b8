"""What the verbs of what runs return, as plain lines for a terminal: plans, deployments, statuses, of every target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never

from deployer.cli import bills
from deployer.cli.bills import money
from deployer.cli.offline import heading
from deployer.cli.text import mark, table

if TYPE_CHECKING:
    from deployer.clients.batch import BatchResult
    from deployer.deployments.backend import Change, Deployed, Expired, Reaped, Status
    from deployer.deployments.ec2.nouns import FleetDeployed, FleetStatus
    from deployer.deployments.local.nouns import LocalStatus
    from deployer.deployments.plan import AnyPlan, Step
    from deployer.deployments.sagemaker.nouns import SageMakerDeployed, SageMakerStatus
    from deployer.deployments.state import Deployment


def plan(value: AnyPlan, next_command: str, *, ascii_only: bool) -> str:
    """Return what would change; in AWS also every line of the cost and what was checked; and the next command."""
    lines = _here(value) if value.resolved is None else _in_aws(value, ascii_only)
    lines += ["", value.summary]
    if value.changes:
        lines.append(f"Next: {next_command}")
    return "\n".join(lines)


def _here(value: AnyPlan) -> list[str]:
    lines = [f"deployer plan: {value.spec.name}, target {value.spec.target.kind}", ""]
    lines += [f"  {step.mark} {_step(step, value)}" for step in value.changes]
    kept = len(value.steps) - len(value.changes)
    return [*lines, f"  = {kept} unchanged"] if kept else lines


def _in_aws(value: AnyPlan, ascii_only: bool) -> list[str]:
    from deployer.deployments.ec2.parts import parts
    from deployer.spec.fleet_resolved import ResolvedFleet

    assert value.resolved is not None
    assert value.cost is not None
    place = value.resolved.place
    head = f"deployer plan: {value.spec.name}, target {value.spec.target.kind}"
    lines = [*heading(value), f"{head}, account {place.account}, {place.region}"]
    if value.steps:
        lines += ["", table([(f"{s.mark} {s.kind}", s.name, s.note) for s in value.steps])]
    if isinstance(value.resolved, ResolvedFleet):
        lines += ["", table(list(parts(value.resolved)))]
    lines += ["", *bills.month(value.cost), ""]
    kinds = {"ok": "good", "note": "open"}
    for check in value.checks:
        lines.append(f"  {mark(kinds[check.outcome], ascii_only)} {check.subject}: {check.seen}")
    return lines


def _step(step: Step, plan: AnyPlan) -> str:
    words, digest = f"server on port {step.name}", plan.bundle_digest[:12]
    if step.kind == "balancer":
        return f"balancer on port {step.name}, and its supervisor"
    match step.action:
        case "create":
            return f"{words}  bundle {digest}"
        case "update" if plan.spec.target.balancer:
            return f"{words}  makes room for bundle {digest}, which starts first"
        case "update":
            return f"{words}  bundle {digest}; the port is silent while it starts"
        case "delete":
            return f"{words}  drained, then stopped"
        case "keep":
            return words
        case _:
            assert_never(step.action)


def deployed(value: Deployed) -> str:
    """Return what runs, where it answers, and what to type next."""
    from deployer.deployments.ec2.nouns import FleetDeployed
    from deployer.deployments.sagemaker.nouns import SageMakerDeployed
    from deployer.deployments.state import Deployment

    match value:
        case Deployment():
            lines = _servers(value)
        case SageMakerDeployed():
            lines = _endpoint(value)
        case FleetDeployed():
            lines = _fleet(value)
        case _:
            raise TypeError(f"no words for {type(value).__name__}")
    return "\n".join([*lines, f"stop: deployer destroy {value.name}"])


def _servers(value: Deployment) -> list[str]:
    parts = value.servers if value.balancer is None else (value.balancer,)
    return [
        f"{value.name} runs bundle {value.bundle_digest[:12]} on {len(value.servers)} servers",
        *(f"  {part.url}" for part in parts),
        f"try: deployer invoke {value.name} --data sample.json",
    ]


def _changed(value: SageMakerDeployed | FleetDeployed) -> str:
    what = f"{value.name} has bundle {value.bundle_digest[:12]} in {value.region}"
    return f"{what}, {value.changed} changes in {value.seconds:.0f} s"


def _endpoint(value: SageMakerDeployed) -> list[str]:
    if not value.endpoint:
        return [
            _changed(value),
            f"  model {value.model} waits for jobs",
            f"try: deployer invoke {value.name} --input s3://bucket/prefix/",
        ]
    return [
        _changed(value),
        f"  endpoint {value.endpoint} runs {value.config}",
        f"  {value.url}",
        f"try: deployer invoke {value.name} --data sample.json",
    ]


def _fleet(value: FleetDeployed) -> list[str]:
    lines = [_changed(value), f"  group {value.group}"]
    if value.url:
        lines += [f"  {value.url}", f"try: deployer invoke {value.name} --data sample.json"]
    return lines


def status(value: Status, *, ascii_only: bool) -> str:
    """Return how each part is: servers, instances, alarms, and what it has cost."""
    from deployer.deployments.ec2.nouns import FleetStatus
    from deployer.deployments.local.nouns import LocalStatus
    from deployer.deployments.sagemaker.nouns import SageMakerStatus

    match value:
        case LocalStatus():
            return _servers_status(value, ascii_only)
        case SageMakerStatus():
            return _endpoint_status(value, ascii_only)
        case FleetStatus():
            return _fleet_status(value, ascii_only)
        case _:
            raise TypeError(f"no words for {type(value).__name__}")


def _servers_status(value: LocalStatus, ascii_only: bool) -> str:
    rows: list[tuple[str, ...]] = []
    for server in value.servers:
        good = mark("good" if server.health == "serving" else "bad", ascii_only)
        ping = "" if server.ping_ms is None else f"/ping {server.ping_ms:.1f} ms"
        rows.append((good, server.url, server.health, ping, f"bundle {server.bundle_digest[:12]}"))
    record = value.deployment
    for word, runs in value.front:
        url = record.balancer.url if word == "balancer" and record.balancer else ""
        good = mark("good" if runs else "bad", ascii_only)
        rows.append((good, url or word, "runs" if runs else "dead", "", word if url else ""))
    head = (
        f"{record.name}: {value.serving} of {record.instances} servers answer, bundle "
        f"{record.bundle_digest[:12]} since {record.date}"
    )
    return f"{head}\n{table(rows)}" if rows else head


def _endpoint_status(value: SageMakerStatus, ascii_only: bool) -> str:
    good = mark("good" if value.healthy else "bad", ascii_only)
    lines = [f"{good} {value.name} in {value.region}: {value.status}, {value.config}"]
    if value.reason:
        lines.append(f"  reason: {value.reason}")
    for row in value.variants:
        bounds = "" if value.bounds is None else f", scales {value.bounds[0]} to {value.bounds[1]}"
        lines.append(f"  {row.name}: {row.current} of {row.desired} instances or units{bounds}")
    lines += [f"  alarm {name}: {state}" for name, state in value.alarms]
    lines += [f"  job {name}: {state}" for name, state in value.jobs]
    if value.previous:
        lines.append(f"  before: {value.previous} (`deployer rollback {value.name}` returns to it)")
    spent = "unknown" if value.spent_usd is None else money(value.spent_usd)
    lines.append(f"  spent since {value.created}: {spent} ({value.spent_basis})")
    if value.expires:
        lines.append(f"  may be removed after {value.expires} (`deployer reap`)")
    return "\n".join(lines)


def _fleet_status(value: FleetStatus, ascii_only: bool) -> str:
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


def rolled_back(value: Change) -> str:
    """Return which config runs now."""
    return (
        f"{value.name} runs {value.runs} again, not {value.left} (verified)\n"
        f"again to return: deployer rollback {value.name}"
    )


def batch(value: BatchResult) -> str:
    """Return where a job's answers lie."""
    took = "" if value.seconds is None else f" in {value.seconds:.0f} s"
    return f"job {value.name} completed{took}\n{value.output_s3_uri}"


def expired(found: Sequence[Expired]) -> str:
    """Return what may go."""
    if not found:
        return "Nothing has expired."
    return table([(item.name, f"expired {item.expires}") for item in found], indent="")


def reaped(done: Sequence[Reaped]) -> str:
    """Return what was removed."""
    lines = [f"removed {item.name}: {len(item.removed)} things" for item in done]
    return "\n".join(lines) or "Nothing has expired."
