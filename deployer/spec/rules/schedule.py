"""Rules of a capacity by time of day."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rules.facts import Facts
from deployer.spec.rules.rule import Wrong, rule
from deployer.spec.scaling import Scheduled
from deployer.spec.target import Ec2Fleet, Local, SageMakerAsync

ZERO_MAY_BE = (SageMakerAsync, Ec2Fleet, Local)
"""Targets whose schedule may ask for no instance."""

SCHEDULED_ACTIONS = {"ec2-fleet": 125}
SCHEDULED_ACTIONS_ELSEWHERE = 200


@rule(
    "schedule-full-minute",
    "scaling.periods.start_s",
    says="A period starts on a full minute.",
    source="Application Auto Scaling, PutScheduledAction.Schedule: “six fields separated by white spaces: [Minutes] "
    "[Hours] ...”; EC2 Auto Scaling, Recurrence: “five fields ...: [Minute] [Hour] ...”",
)
def full_minute(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A cron expression knows no seconds."""
    for row in spec.scaling.periods if isinstance(spec.scaling, Scheduled) else ():
        if row.start_s % 60:
            yield Wrong(
                "scaling.periods.start_s",
                f"{row.start_s:g} is no full minute",
                f"write {row.start_s // 60 * 60:g}",
            )


@rule(
    "schedule-zero",
    "scaling.periods.instances",
    says="A schedule asks for no instance only where the fleet may be at zero.",
    source="SageMaker developer guide, async-inference-autoscale: “Unlike other hosted models Amazon SageMaker AI "
    "supports, with Asynchronous Inference you can also scale down your asynchronous endpoints instances to zero”",
)
def schedule_zero(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A real-time endpoint and provisioned concurrency keep one."""
    if not isinstance(spec.scaling, Scheduled) or isinstance(spec.target, ZERO_MAY_BE):
        return
    if min(row.instances for row in spec.scaling.periods) < 1:
        yield Wrong(
            "scaling.periods.instances",
            f"must be at least 1 for a {spec.target.kind} target",
            "sagemaker-async, ec2-fleet and local go to zero",
        )


@rule(
    "schedule-serves",
    "scaling.periods.instances",
    says="At some time of the day a schedule asks for an instance.",
    source="deployer: without one nobody is ever served",
)
def schedule_serves(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A fleet that is always at zero serves nobody."""
    if isinstance(spec.scaling, Scheduled) and not any(r.instances for r in spec.scaling.periods):
        yield Wrong("scaling.periods.instances", "is 0 all day: nobody is ever served")


@rule(
    "schedule-count",
    "scaling.periods",
    says="A schedule has at most 125 periods on EC2, 200 on SageMaker.",
    source="EC2 Auto Scaling quotas: “Scheduled actions per Auto Scaling group 125”; Application Auto Scaling quotas: "
    "“Scheduled actions per scalable target 200”",
)
def schedule_count(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Neither quota can be raised."""
    if not isinstance(spec.scaling, Scheduled):
        return
    count = len(spec.scaling.periods)
    most = SCHEDULED_ACTIONS.get(spec.target.kind, SCHEDULED_ACTIONS_ELSEWHERE)
    if count > most and not isinstance(spec.target, Local):
        yield Wrong("scaling.periods", f"are {count}; AWS takes {most} for a {spec.target.kind}")


RULES = (full_minute, schedule_zero, schedule_serves, schedule_count)
"""The rules of this area."""
