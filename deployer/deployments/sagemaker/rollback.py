"""Go back to the config that an endpoint ran before, in the way of its last rollout.

AWS tells that way (``LastDeploymentConfig``): a canary, a linear shift or a rolling update with its alarms guards the
way back too. An alarm that fires now would end it at once, so then all traffic goes back at once, unguarded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deployer.aws.autoscaling import Autoscaling
from deployer.aws.metrics import CloudWatch
from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.deployments.aws.polling import Polling
from deployer.deployments.backend import Change
from deployer.deployments.sagemaker import observe
from deployer.deployments.sagemaker.observe import Endpoint
from deployer.deployments.sagemaker.waiting import Watch
from deployer.deployments.state import Store
from deployer.errors import ConditionFailed, InputError
from deployer.progress import Say, silent
from deployer.spec.naming import DIGEST_TAG, PREVIOUS_TAG, SHORT
from deployer.spec.resolved import INSTANCE_COUNT, VARIANT

AT_ONCE: Mapping[str, Any] = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
        "TerminationWaitInSeconds": 0,
    }
}


def rollback(
    aws: Aws,
    name: str,
    *,
    store: Store | None = None,
    polling: Polling = Polling(),  # noqa: B008  # frozen
    say: Say = silent,
) -> Change:
    """Return an endpoint to the config before, and verify that it runs it.

    Scaling and alarms stay as they are. Raises InputError when there is no config to go back to, for a batch
    deployment and for what a stack made; ConditionFailed when the endpoint does not run it afterwards.
    """
    with (store or Store()).lock(name):
        found = Watch(aws, name, polling, say).settled()
        if found is None:
            raise _no_endpoint(aws, name)
        observe.refuse_stack(name, observe.stack_of(found.tags), "rollback")
        client = SageMaker(aws)
        wanted = found.previous
        if not wanted or client.config(wanted) is None:
            raise InputError(
                f"{name!r} has no config before {found.config} to go back to",
                hint="deploy the bundle that you want instead",
            )
        client.set_tags(found.arn, {PREVIOUS_TAG: f"{wanted} {found.config}"})
        began = datetime.now(UTC)
        watched = _start(aws, found, wanted, say)
        after = Watch(aws, name, polling, say).updated(found, wanted)
        if after is None or after.config != wanted or after.status != "InService":
            raise _refused(aws, name, after, wanted, watched)
        if tags := _bundle_tag(client, wanted):
            client.set_tags(found.arn, tags)
        if watched and not observe.invocations(aws, name, began):
            say("no request was seen on the way back: its alarms had nothing to judge")
        return Change(name, found.config, wanted)


def _start(aws: Aws, found: Endpoint, wanted: str, say: Say) -> tuple[str, ...]:
    """Ask for the config before; return the alarms that watch the way back."""
    scaled = Autoscaling(aws, f"endpoint/{found.name}/variant/{VARIANT}", INSTANCE_COUNT).target()
    request: dict[str, Any] = {
        "EndpointName": found.name,
        "EndpointConfigName": wanted,
        "RetainAllVariantProperties": scaled is not None,
    }
    if scaled is not None:
        kept = [{"VariantPropertyType": "DataCaptureConfig"}]
        request["ExcludeRetainedVariantProperties"] = kept
    names = alarms_of(found.rollout)
    states = {
        str(row["AlarmName"]): str(row.get("StateValue", ""))
        for row in CloudWatch(aws).named_alarms(names)
    }
    document, words = way_back(found.rollout, states)
    say(f"endpoint {found.name} goes back to {wanted}: {words}")
    SageMaker(aws).update_endpoint(request | ({"DeploymentConfig": document} if document else {}))
    return alarms_of(document)


def way_back(rollout: Mapping[str, Any], states: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Return the DeploymentConfig of the way back and what it is in words: pure.

    ``rollout`` is the last one's DeploymentConfig, ``states`` the states of those of its alarms that are there.
    """
    if not rollout:
        return {}, "AWS tells of no rollout to repeat"  # a serverless endpoint has no fleet
    firing = sorted(name for name, state in states.items() if state == "ALARM")
    if firing:
        return dict(AT_ONCE), f"all at once, for alarm {', '.join(firing)} fires now"
    document = {key: value for key, value in rollout.items() if key != "AutoRollbackConfiguration"}
    left = [{"AlarmName": name} for name in alarms_of(rollout) if name in states]
    if left:
        document["AutoRollbackConfiguration"] = {"Alarms": left}
    routing = document.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    kind = str(routing.get("Type", "ROLLING")).lower().replace("_", " ")
    return document, f"{kind}, as the last rollout, watched by {len(left)} alarms"


def alarms_of(rollout: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the alarms that stop a rollout."""
    rows = (rollout.get("AutoRollbackConfiguration") or {}).get("Alarms") or ()
    return tuple(str(row["AlarmName"]) for row in rows)


def _no_endpoint(aws: Aws, name: str) -> InputError:
    if not observe.models(aws, name):
        return observe.nothing(aws, name)
    return InputError(
        f"{name!r} is sagemaker-batch: each job names its model, so there is nothing to go back from",
        hint="deploy the bundle of before; jobs that start then use its model",
    )


def _refused(
    aws: Aws, name: str, after: Endpoint | None, wanted: str, watched: tuple[str, ...]
) -> ConditionFailed:
    state = after.status if after else "gone"
    rows = CloudWatch(aws).named_alarms(watched)
    firing = [str(row["AlarmName"]) for row in rows if row.get("StateValue") == "ALARM"]
    words = f": alarm {', '.join(firing)} fired" if firing else ""
    return ConditionFailed(
        f"endpoint {name!r} is {state} and does not run {wanted}{words}",
        hint="run the same command again: while an alarm fires, all traffic goes back at once"
        if firing
        else f"look at it with `deployer status {name}`",
    )


def _bundle_tag(client: SageMaker, config: str) -> dict[str, str]:
    """Return the tag that names the bundle a config serves."""
    described: Any = client.config(config) or {}
    variant: Any = (described.get("ProductionVariants") or ({},))[0]
    model = str(variant.get("ModelName", ""))
    digest = observe.digest_of(observe.data_of(client.model(model) or {})) if model else ""
    return {DIGEST_TAG: digest[:SHORT]} if digest else {}
