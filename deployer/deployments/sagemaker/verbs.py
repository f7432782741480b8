"""The verbs on SageMaker: plan, apply, status, rollback, logs. ``destroy`` has its own module."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from deployer.aws.autoscaling import Autoscaling, registered
from deployer.aws.metrics import CloudWatch, Logs
from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.aws.upload import PART_BYTES
from deployer.bundle import bundle as bundles
from deployer.deployments.sagemaker import checks, cost, facts, observe, planner, record, requests
from deployer.deployments.sagemaker.executor import Executor
from deployer.deployments.sagemaker.observe import PREVIOUS_TAG, Endpoint
from deployer.deployments.sagemaker.plan import SageMakerPlan, Step
from deployer.deployments.sagemaker.record import SageMakerDeployment
from deployer.deployments.sagemaker.resolve import SHORT, Asked, resolve
from deployer.deployments.sagemaker.waiting import Patience, Say, Watch
from deployer.deployments.state import ServerLog, Store
from deployer.errors import ConditionFailed, InputError, Interrupted, UnknownPrice
from deployer.pricing.book import PriceBook
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import DIGEST_TAG, EXPIRES_TAG, INSTANCE_COUNT, VARIANT, Image, Resolved
from inference_code.contract import SAMPLES_PATH


def silent(line: str) -> None:
    """Say nothing."""


def plan(
    aws: Aws,
    spec: DeploymentSpec,
    book: PriceBook,
    *,
    asked: Asked = Asked(),  # noqa: B008  # frozen
    busy_ms: float | None = None,
    patience: Patience = Patience(),  # noqa: B008  # frozen
) -> SageMakerPlan:
    """Work out what deploying ``spec`` would change; no call changes anything.

    ``busy_ms`` is the measured time of a request, which prices a serverless endpoint. Raises SpecError,
    InputError, EnvironmentProblem or DeployerError for what would fail later.
    """
    requests.hosting(spec)
    spec = replace(spec, bundle=str(Path(spec.bundle).resolve()))
    bundle = bundles.open_bundle(Path(spec.bundle))
    if Path(spec.bundle).is_dir():
        raise InputError(
            f"{spec.bundle!r} is a folder; deploying to SageMaker takes the archive",
            hint="name the .tar.gz that `deployer package` wrote",
        )
    shape = book.shape(getattr(spec.target, "instance_type", ""))
    place = observe.place_of(aws)
    # The pure checks come first, on a stand-in for the image: they need nobody's answer.
    stand_in = Image(getattr(spec.target, "image_uri", "") or "to-be-found")
    common: dict[str, Any] = {
        "asked": asked,
        "now": datetime.now(UTC),
        "vcpus": shape.vcpu if shape else None,
    }
    draft = resolve(spec, place, stand_in, bundle.digest, **common)
    samples = [m.size for m in bundle.manifest.members if m.path.startswith(SAMPLES_PATH)]
    checks.check_spec(draft, max(samples, default=0))
    predicted = cost.predict(draft, book, busy_ms=busy_ms)
    image, architectures = facts.find_image(aws, spec)
    resolved = resolve(spec, place, image, bundle.digest, **common)
    found = checks.check_facts(resolved, facts.gather(aws, resolved, architectures))
    return SageMakerPlan(resolved, _decided(aws, resolved, patience), found, predicted)


def _decided(aws: Aws, resolved: Resolved, patience: Patience) -> tuple[Step, ...]:
    """Return the steps. That there is nothing to do is believed when a second look says the same."""
    said: tuple[Step, ...] | None = None
    while True:
        steps = planner.decide(resolved, observe.observe(aws, resolved, sleep=patience.sleep))
        if steps == said or any(step.action != "keep" for step in steps):
            return steps
        said = steps


def replan(
    aws: Aws,
    resolved: Resolved,
    book: PriceBook,
    *,
    patience: Patience = Patience(),  # noqa: B008  # frozen
) -> SageMakerPlan:
    """Return the steps from what exists to a document resolved earlier, which is taken verbatim.

    Raises InputError when the credentials or the region are others than the document's.
    """
    place = observe.place_of(aws)
    stated = resolved.place
    if (place.account, place.region) != (stated.account, stated.region):
        raise InputError(
            f"resolved for account {stated.account} in {stated.region}; these credentials are of "
            f"{place.account} in {place.region}",
            hint="use the other credentials, or plan again",
        )
    checks.check_spec(resolved, 0)
    found = checks.check_facts(resolved, facts.gather(aws, resolved, ()))
    steps = _decided(aws, resolved, patience)
    return SageMakerPlan(resolved, steps, found, cost.predict(resolved, book))


def apply(
    aws: Aws,
    plan: SageMakerPlan,
    *,
    store: Store | None = None,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    say: Say = silent,
    part_bytes: int = PART_BYTES,
) -> SageMakerDeployment:
    """Make the account equal to the plan's resolved document and return what runs.

    Running it twice changes nothing; after an interruption the next run goes on. Raises ConditionFailed when
    the endpoint silently rolled back, PartialFailure when it is left in a state that only waiting or AWS
    can end, DeployerError otherwise, Interrupted on Ctrl-C.
    """
    store = store or Store()
    name = plan.spec.name
    with store.lock(name):
        record.remember(plan.resolved, store)
        try:
            return Executor(aws, plan, patience=patience, say=say, part_bytes=part_bytes).run()
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped while deploying {name!r}; what AWS was asked for goes on",
                hint=f"`deployer deploy` goes on, `deployer destroy {name}` cleans up",
            ) from None


@dataclass(frozen=True)
class VariantStatus:
    """One variant: instances that serve and that are wanted (concurrency units when serverless)."""

    name: str
    current: int
    desired: int
    weight: float


READY = "Ready"
"""A model that waits for batch jobs."""


@dataclass(frozen=True)
class SageMakerStatus:
    """How a deployment is. ``spent_usd`` None comes with ``spent_basis``: why it is not known.

    Without an endpoint (batch) ``config`` names the models, and ``jobs`` those that run.
    """

    name: str
    region: str
    endpoint: str
    status: str
    config: str
    previous: str
    reason: str
    variants: tuple[VariantStatus, ...]
    bounds: tuple[int, int] | None
    alarms: tuple[tuple[str, str], ...]
    created: str
    expires: str
    spent_usd: Decimal | None
    spent_basis: str
    jobs: tuple[tuple[str, str], ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether it serves, with all it wants, and no alarm fires; a batch model is always ready."""
        if not self.endpoint:
            return self.status == READY
        full = all(v.current >= v.desired for v in self.variants)
        calm = all(state != "ALARM" for _, state in self.alarms)
        return self.status == "InService" and full and calm


def status(aws: Aws, name: str, book: PriceBook) -> SageMakerStatus:
    """Ask AWS how a deployment is. Raises InputError when there is none of ours under that name."""
    found = observe.endpoint(aws, name)
    if found is None:
        return _batch_status(aws, name)
    config = SageMaker(aws).config(found.config) or {}
    variant: Any = (config.get("ProductionVariants") or ({},))[0]
    spent, basis = _spent(aws, found, str(variant.get("InstanceType", "")), book)
    scaled = registered(aws, f"endpoint/{name}/variant/{VARIANT}")
    target = scaled[0].target() if scaled else None
    bounds = (int(target["MinCapacity"]), int(target["MaxCapacity"])) if target else None
    alarms = observe.our_alarms(aws, name)
    return SageMakerStatus(
        name=name,
        region=aws.region,
        endpoint=found.name,
        status=found.status,
        config=found.config,
        previous=found.previous,
        reason=found.reason,
        variants=tuple(_variant(row) for row in found.variants),
        bounds=bounds,
        alarms=tuple((key, str(row.get("StateValue", ""))) for key, row in sorted(alarms.items())),
        created=found.created.isoformat(timespec="seconds"),
        expires=found.tags.get(EXPIRES_TAG, ""),
        spent_usd=spent,
        spent_basis=basis,
    )


def _batch_status(aws: Aws, name: str) -> SageMakerStatus:
    models = observe.models(aws, name)
    if not models:
        raise _nothing(aws, name)
    described = SageMaker(aws).model(next(iter(models))) or {}
    tags = SageMaker(aws).tags(str(described.get("ModelArn", "")))
    created = described.get("CreationTime")
    return SageMakerStatus(
        name=name,
        region=aws.region,
        endpoint="",
        status=READY,
        config=", ".join(models),
        previous="",
        reason="",
        variants=(),
        bounds=None,
        alarms=(),
        created=created.isoformat(timespec="seconds") if created else "",
        expires=tags.get(EXPIRES_TAG, ""),
        spent_usd=None,
        spent_basis="batch jobs are billed while they run: see the bill",
        jobs=tuple(observe.jobs(aws, name).items()),
    )


def _variant(row: Any) -> VariantStatus:
    kept = row.get("CurrentServerlessConfig") or {}
    wanted = row.get("DesiredServerlessConfig") or kept
    units = "ProvisionedConcurrency"
    return VariantStatus(
        str(row["VariantName"]),
        int(row.get("CurrentInstanceCount") or kept.get(units) or 0),
        int(row.get("DesiredInstanceCount") or wanted.get(units) or 0),
        float(row.get("CurrentWeight") or 0.0),
    )


def _spent(
    aws: Aws, found: Endpoint, instance_type: str, book: PriceBook
) -> tuple[Decimal | None, str]:
    """Instance-hours since creation times the price: every instance reports its CPU once a minute."""
    if not instance_type:
        return None, "a serverless endpoint is billed by its work: see the bill"
    try:
        price = book.lookup("sagemaker-hosting", aws.region, instance_type).usd
    except UnknownPrice as error:
        return None, error.message
    where = {"EndpointName": found.name, "VariantName": VARIANT}
    now = max(datetime.now(UTC), found.created + timedelta(minutes=1))  # AWS takes no empty span
    minutes = CloudWatch(aws).total(
        "/aws/sagemaker/Endpoints",
        "CPUUtilization",
        where,
        found.created,
        now,
        statistic="SampleCount",
    )
    if minutes is not None:
        hours = Decimal(repr(minutes)) / 60
        return price * hours, f"measured: {hours:.1f} instance-hours that CloudWatch counted"
    count = sum(int(row.get("CurrentInstanceCount") or 0) for row in found.variants)
    hours = Decimal(repr((now - found.created).total_seconds())) / 3600 * count
    return price * hours, f"assumed: the {count} instances of now, since the endpoint was made"


def rollback(
    aws: Aws,
    name: str,
    *,
    store: Store | None = None,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    say: Say = silent,
) -> SageMakerStatusChange:
    """Return an endpoint to the config before, and verify that it runs it.

    Scaling and alarms stay as they are. Raises InputError when there is no config to go back to,
    ConditionFailed when the endpoint does not run it afterwards.
    """
    with (store or Store()).lock(name):
        watch = Watch(aws, name, patience, say)
        found = watch.settled()
        found = found if found is not None else _get(aws, name)
        client = SageMaker(aws)
        wanted = found.previous
        if not wanted or wanted == found.config or client.config(wanted) is None:
            raise InputError(
                f"{name!r} has no config before {found.config} to go back to",
                hint="deploy the bundle that you want instead",
            )
        scaled = Autoscaling(aws, f"endpoint/{name}/variant/{VARIANT}", INSTANCE_COUNT).target()
        request: dict[str, Any] = {
            "EndpointName": name,
            "EndpointConfigName": wanted,
            "RetainAllVariantProperties": scaled is not None,
        }
        if scaled is not None:
            kept = [{"VariantPropertyType": "DataCaptureConfig"}]
            request["ExcludeRetainedVariantProperties"] = kept
        client.update_endpoint(request)
        after = Watch(aws, name, patience, say).updated(found, wanted)
        if after is None or after.config != wanted or after.status != "InService":
            state = after.status if after else "gone"
            raise ConditionFailed(f"endpoint {name!r} is {state} and does not run {wanted}")
        client.set_tags(found.arn, {PREVIOUS_TAG: found.config} | _bundle_tag(client, wanted))
        return SageMakerStatusChange(name, found.config, wanted)


@dataclass(frozen=True)
class SageMakerStatusChange:
    """An endpoint that went from one config to another."""

    name: str
    left: str
    runs: str


def mode(aws: Aws, name: str) -> str:
    """Return a deployment's kind of target, as its endpoint's config tells it; batch without an endpoint.

    Raises InputError when there is neither endpoint nor model of ours.
    """
    found = observe.endpoint(aws, name)
    if found is None:
        if observe.models(aws, name):
            return "sagemaker-batch"
        raise _nothing(aws, name)
    config: Any = SageMaker(aws).config(found.config) or {}
    if "AsyncInferenceConfig" in config:
        return "sagemaker-async"
    variant: Any = (config.get("ProductionVariants") or ({},))[0]
    return "sagemaker-serverless" if "ServerlessConfig" in variant else "sagemaker-realtime"


def _bundle_tag(client: SageMaker, config: str) -> dict[str, str]:
    """Return the tag that names the bundle a config serves."""
    described: Any = client.config(config) or {}
    variant: Any = (described.get("ProductionVariants") or ({},))[0]
    model = str(variant.get("ModelName", ""))
    digest = observe.digest_of(observe.data_of(client.model(model) or {})) if model else ""
    return {DIGEST_TAG: digest[:SHORT]} if digest else {}


def logs(aws: Aws, name: str, *, lines: int) -> tuple[ServerLog, ...]:
    """Return the last lines of the containers that spoke last: of the endpoint, else of the batch jobs."""
    group = f"/aws/sagemaker/Endpoints/{name}"
    client = Logs(aws)
    streams = client.streams(group)
    if not streams:
        group = "/aws/sagemaker/TransformJobs"
        streams = client.streams(group, prefix=f"{name}-")
    return tuple(
        ServerLog(8080, f"{group}/{stream}", client.tail(group, stream, lines))
        for stream in streams
    )


def _get(aws: Aws, name: str) -> Endpoint:
    found = observe.endpoint(aws, name)
    if found is None:
        raise _nothing(aws, name)
    return found


def _nothing(aws: Aws, name: str) -> InputError:
    return InputError(
        f"there is no endpoint {name!r} in {aws.region} (from {aws.region_source})",
        hint="give the region it is in with --region",
    )
