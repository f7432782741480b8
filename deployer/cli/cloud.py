"""What SageMaker's verbs return, as plain lines for a terminal and as JSON documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deployer.cli import bills
from deployer.cli.bills import money
from deployer.cli.offline import heading
from deployer.cli.text import mark, table

if TYPE_CHECKING:
    from deployer.clients.batch import BatchResult
    from deployer.deployments.aws.expiry import Expired, Reaped
    from deployer.deployments.aws.notes import SageMakerDeployment
    from deployer.deployments.sagemaker.plan import SageMakerPlan
    from deployer.deployments.sagemaker.rollback import SageMakerStatusChange
    from deployer.deployments.sagemaker.status import SageMakerStatus


def plan(value: SageMakerPlan, next_command: str, ascii_only: bool) -> str:
    """Return every resource, the cost, what was checked, the summary and the next command."""
    place = value.resolved.place
    head = f"deployer plan: {value.spec.name}, target {value.spec.target.kind}"
    lines = [*heading(value), f"{head}, account {place.account}, {place.region}"]
    if value.steps:
        lines += ["", table([(f"{s.mark} {s.kind}", s.name, s.note) for s in value.steps])]
    lines += ["", *bills.month(value.cost), ""]
    kinds = {"ok": "good", "note": "open"}
    for check in value.checks:
        lines.append(f"  {mark(kinds[check.outcome], ascii_only)} {check.subject}: {check.seen}")
    lines += ["", value.summary]
    if value.changes:
        lines.append(f"Next: {next_command}")
    return "\n".join(lines)


def deployment(value: SageMakerDeployment) -> str:
    """Return what runs, where it answers, and what to type next."""
    what = f"{value.name} has bundle {value.bundle_digest[:12]} in {value.region}"
    lines = [f"{what}, {value.changed} changes in {value.seconds:.0f} s"]
    if value.endpoint:
        lines += [
            f"  endpoint {value.endpoint} runs {value.config}",
            f"  {value.url}",
            f"try: deployer invoke {value.name} --data sample.json",
        ]
    else:
        lines += [
            f"  model {value.model} waits for jobs",
            f"try: deployer invoke {value.name} --input s3://bucket/prefix/",
        ]
    return "\n".join([*lines, f"stop: deployer destroy {value.name}"])


def status(value: SageMakerStatus, ascii_only: bool) -> str:
    """Return the endpoint, its variants, alarms and what it has cost."""
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


def status_document(value: SageMakerStatus) -> dict[str, Any]:
    """Return the status as a JSON document; money is text, unknown is null."""
    document = asdict(value) | {"healthy": value.healthy}
    document["spent_usd"] = None if value.spent_usd is None else str(value.spent_usd)
    return document


def rolled_back(value: SageMakerStatusChange) -> str:
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
