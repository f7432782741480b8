"""Step policies keep the rules that AWS has for step adjustments, whatever steps a specification names."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.deployments.sagemaker import variant_policies
from deployer.errors import SpecError
from deployer.spec import rules
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Stepping
from deployer.spec.scaling import Adjustment, Step
from deployer.spec.target import SageMakerRealtime

STEPS = st.dictionaries(
    st.integers(-50, 50).map(float), st.integers(-3, 3), min_size=1, max_size=6
).map(lambda rows: tuple(Adjustment(above, rows[above]) for above in sorted(rows)))


def policies(adjustments: tuple[Adjustment, ...]) -> tuple[Stepping, ...]:
    policy = Step("invocations_per_instance", 600.0, adjustments)
    spec = DeploymentSpec("digits", "b", SageMakerRealtime("ml.c5.large"), policy)
    rules.require(spec)
    found = variant_policies.resolve(spec, "digits", derived=None, vcpus=2)
    assert found is not None
    return found.stepping


@given(STEPS)
def test_ranges_meet_and_the_outermost_has_no_bound(adjustments: tuple[Adjustment, ...]) -> None:
    """Source: Application Auto Scaling API reference, StepAdjustment, the four rules."""
    changes = [row.change for row in adjustments]
    removed = [change for change in changes if change < 0]
    signs = [(change > 0) - (change < 0) for change in changes]
    if signs != sorted(signs) or removed == changes or not any(changes):
        with pytest.raises(SpecError, match=r"scaling\.adjustments"):
            policies(adjustments)
        return
    for stepping in policies(adjustments):
        rows = stepping.ranges
        for before, after in pairwise(rows):
            assert before.upper == after.lower
        lowest, highest = rows[0].lower, rows[-1].upper
        assert lowest is None or lowest >= 0
        assert highest is None or highest <= 0
        assert all((row.lower, row.upper) != (None, None) for row in rows)


def test_the_first_step_that_removes_instances_holds_below_its_edge() -> None:
    adjustments = (Adjustment(-200.0, -2), Adjustment(-100.0, -1), Adjustment(0.0, 0))
    (stepping,) = policies(adjustments)
    assert [(row.change, row.lower, row.upper) for row in stepping.ranges] == [
        (-2, None, -100.0),
        (-1, -100.0, 0.0),
    ]
    assert stepping.alarm.threshold == 600.0


def test_steps_that_remove_above_where_they_add_are_refused() -> None:
    with pytest.raises(SpecError, match="must remove instances below where they add"):
        policies((Adjustment(0.0, 1), Adjustment(10.0, -1)))
