"""Deploy, deploy again, update, roll back, destroy: against moto over HTTP with real boto3."""

from __future__ import annotations

from typing import Any

import boto3


def test_a_plan_makes_no_call_that_changes_anything(cloud: Any) -> None:
    plan = cloud.plan(cloud.spec())
    assert plan.changes
    assert cloud.fake.changing == []


def test_deploying_makes_everything_and_again_nothing(cloud: Any) -> None:
    done = cloud.deploy(cloud.spec())
    endpoint = boto3.client("sagemaker").describe_endpoint(EndpointName="digits")
    assert endpoint["EndpointStatus"] == "InService"
    assert endpoint["EndpointConfigName"] == done.config
    cloud.fake.calls.clear()
    assert cloud.plan(cloud.spec()).changes == ()
    assert cloud.deploy(cloud.spec()).changed == 0
    assert cloud.fake.changing == []


def test_after_destroy_nothing_is_left(cloud: Any) -> None:
    cloud.deploy(cloud.spec())
    assert cloud.remaining()
    cloud.destroy()
    assert cloud.remaining() == ()
