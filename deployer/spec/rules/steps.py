"""Rules of step scaling: the same on every target, so that a policy can move from one to another."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rules.facts import Facts
from deployer.spec.rules.rule import Wrong, rule
from deployer.spec.scaling import CUSTOM, Step

KEY = "scaling.adjustments"
MOST = 20


def _changes(spec: DeploymentSpec) -> list[int]:
    policy = spec.scaling
    return [row.change for row in policy.adjustments] if isinstance(policy, Step) else []


@rule(
    "step-order",
    KEY,
    says="Steps remove instances below where they add some.",
    source="deployer: an alarm has one direction, so steps that add above and remove below become two policies",
)
def order(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A step that adds below one that removes has an alarm that never finds it."""
    signs = [(change > 0) - (change < 0) for change in _changes(spec)]
    if signs != sorted(signs):
        yield Wrong(KEY, "must remove instances below where they add some")


@rule(
    "step-stop",
    KEY,
    says="Steps that remove instances say where removing stops.",
    source="deployer: the alarm that removes stands where the next step begins; without one its threshold would be "
    "invented",
)
def stop(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """The edge above the last step that removes is the alarm's threshold."""
    changes = _changes(spec)
    if changes and max(changes) < 0:
        yield Wrong(
            KEY,
            "only removes instances: say where it stops, with change = 0",
            "add a step with change = 0 above the others",
        )


@rule(
    "step-change",
    KEY,
    says="At least one step changes something.",
    source="deployer: steps that all change nothing make no policy",
)
def change(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A policy without any change is none."""
    changes = _changes(spec)
    if changes and not any(changes):
        yield Wrong(KEY, "changes nothing: every step has change = 0", "leave out [scaling]")


@rule(
    "step-count",
    KEY,
    says=f"At most {MOST} steps add instances, and at most {MOST} remove some.",
    source=f"EC2 Auto Scaling and Application Auto Scaling quotas: “Step adjustments per step scaling policy {MOST}”",
)
def count(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Each direction is a policy of its own."""
    changes = _changes(spec)
    for word, number in (
        ("add", sum(value > 0 for value in changes)),
        ("remove", sum(value < 0 for value in changes)),
    ):
        if number > MOST:
            yield Wrong(KEY, f"has {number} steps that {word} instances; AWS takes {MOST}")


@rule(
    "step-reach",
    "scaling.threshold",
    KEY,
    says="Every step begins where its metric can be: not below 0, and cpu not above 100.",
    source="deployer: the alarm of a step that the metric cannot reach never fires",
)
def reach(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Only a metric of yours may be negative; a first step that removes holds below its own edge."""
    policy = spec.scaling
    if not isinstance(policy, Step) or policy.metric == CUSTOM:
        return
    changes, most = _changes(spec), {"cpu": 100.0}.get(policy.metric, float("inf"))
    for i, row in enumerate(policy.adjustments):
        edge = policy.threshold + row.above
        if i == 0 and row.change < 0:
            continue
        if i and changes[i - 1] < 0 and edge <= 0:
            words = f"removes instances where {policy.metric} is below {edge:g}, and it never is"
        elif edge < 0 or edge > most:
            words = f"has a step where {policy.metric} is {edge:g}, and it never is"
        else:
            continue
        yield Wrong(KEY, words, "an edge is scaling.threshold + above")
        return


RULES = (order, stop, change, count, reach)
"""The rules of this area."""
