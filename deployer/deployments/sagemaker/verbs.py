"""The verbs on SageMaker: plan, apply, mode, logs. Status, rollback and destroy have modules of their own."""

from __future__ import annotations

from typing import Any

from deployer.aws.metrics import Logs
from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.aws.upload import PART_BYTES
from deployer.cost.month import MonthlyCost
from deployer.deployments.aws import notes
from deployer.deployments.aws.checks import profiled
from deployer.deployments.aws.place import place_of, refuse_other
from deployer.deployments.aws.polling import Polling
from deployer.deployments.aws.prepare import opened, ready
from deployer.deployments.backend import Asked
from deployer.deployments.facts import facts_of
from deployer.deployments.plan import Check, Plan, Step, resolving
from deployer.deployments.sagemaker import (
    checks,
    facts,
    inventory,
    observe,
    planner,
    prepare,
    requests,
)
from deployer.deployments.sagemaker.executor import Executor
from deployer.deployments.sagemaker.nouns import SageMakerDeployed
from deployer.deployments.state import ServerLog, Store
from deployer.errors import Interrupted
from deployer.pricing.book import PriceBook
from deployer.progress import Say, silent
from deployer.runs import Run
from deployer.spec import naming, rules
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Image, Resolved


def plan(
    aws: Aws,
    spec: DeploymentSpec,
    book: PriceBook,
    *,
    asked: Asked = Asked(),  # noqa: B008  # frozen
    run: Run | None = None,
    polling: Polling = Polling(),  # noqa: B008  # frozen
) -> Plan[Resolved]:
    """Work out what deploying ``spec`` would change; no call changes anything.

    ``run`` is what traffic would be like, which prices what follows it. Raises RuleBroken, InputError,
    EnvironmentProblem or DeployerError for what would fail later.
    """
    requests.hosting(spec)
    spec = ready(spec)
    draft = prepare.draft(spec, opened(spec, "SageMaker"), book, asked)
    place = place_of(aws)
    # The price comes first, on a stand-in for the image: it needs nobody's answer.
    stand_in = Image(spec.target.image_uri or "to-be-found")
    _, predicted = draft.priced(place, stand_in, book, run)
    image, architectures = facts.find_image(aws, spec)
    resolved = draft.resolve(place, image)
    found = checks.check_facts(resolved, facts.gather(aws, resolved, architectures))
    found = (*found, *profiled(asked, resolved.artifact.digest))
    return _planned(aws, resolved, found, predicted, polling)


def _planned(
    aws: Aws,
    resolved: Resolved,
    found: tuple[Check, ...],
    predicted: MonthlyCost,
    polling: Polling,
) -> Plan[Resolved]:
    """Return the plan. That there is nothing to do is believed when a second look says the same."""
    said: tuple[Step, ...] | None = None
    while True:
        seen = observe.observe(aws, resolved, sleep=polling.sleep)
        steps = planner.decide(resolved, seen)
        if steps == said or any(step.action != "keep" for step in steps):
            found = (*found, *checks.route(seen.stack, there=seen.role is not None))
            return resolving(resolved, steps, found, predicted, stack=seen.stack)
        said = steps


def replan(
    aws: Aws,
    resolved: Resolved,
    book: PriceBook,
    *,
    polling: Polling = Polling(),  # noqa: B008  # frozen
) -> Plan[Resolved]:
    """Return the steps from what exists to a document resolved earlier, which is taken verbatim.

    Raises InputError when the credentials or the region are others than the document's, RuleBroken for its
    specification.
    """
    refuse_other(aws, resolved.place)
    rules.require(resolved.spec, facts_of(resolved.spec, digest=resolved.artifact.digest))
    found = checks.check_facts(resolved, facts.gather(aws, resolved, ()))
    return _planned(aws, resolved, found, inventory.predict(resolved, book), polling)


def apply(
    aws: Aws,
    plan: Plan[Resolved],
    *,
    store: Store | None = None,
    polling: Polling = Polling(),  # noqa: B008  # frozen
    say: Say = silent,
    part_bytes: int = PART_BYTES,
) -> SageMakerDeployed:
    """Make the account equal to the plan's resolved document and return what runs.

    Running it twice changes nothing; after an interruption the next run goes on. Raises ConditionFailed when
    the endpoint silently rolled back, PartialFailure when it is left in a state that only waiting or AWS
    can end, InputError for what a CloudFormation stack made, DeployerError otherwise, Interrupted on Ctrl-C.
    """
    store = store or Store()
    name = plan.spec.name
    observe.refuse_stack(name, plan.stack, "deploy")
    with store.lock(name):
        notes.remember(plan.resolved, store)
        try:
            return Executor(aws, plan, polling=polling, say=say, part_bytes=part_bytes).run()
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped while deploying {name!r}; what AWS was asked for goes on",
                hint=f"`deployer deploy` goes on, `deployer destroy {name}` cleans up",
            ) from None


def mode(aws: Aws, name: str) -> str:
    """Return a deployment's kind of target, as its endpoint's config tells it; batch without an endpoint.

    Raises InputError when there is neither endpoint nor model of ours.
    """
    found = observe.endpoint(aws, name)
    if found is None:
        if observe.models(aws, name):
            return "sagemaker-batch"
        raise observe.nothing(aws, name)
    config: Any = SageMaker(aws).config(found.config) or {}
    if "AsyncInferenceConfig" in config:
        return "sagemaker-async"
    variant: Any = (config.get("ProductionVariants") or ({},))[0]
    return "sagemaker-serverless" if "ServerlessConfig" in variant else "sagemaker-realtime"


def logs(aws: Aws, name: str, *, lines: int) -> tuple[ServerLog, ...]:
    """Return the last lines of the containers that spoke last: of the endpoint, else of the batch jobs."""
    group = naming.endpoint_logs(name)
    client = Logs(aws)
    streams = client.streams(group)
    if not streams:
        group = naming.JOB_LOGS
        streams = client.streams(group, prefix=f"{name}-")
    return tuple(
        ServerLog(8080, f"{group}/{stream}", client.tail(group, stream, lines))
        for stream in streams
    )
