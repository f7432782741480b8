"""How a deployment is: variants, alarms, jobs and what it has cost, asked of AWS alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from deployer.aws.autoscaling import registered
from deployer.aws.metrics import CloudWatch
from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.cost.materials import SERVICES
from deployer.deployments.aws.alarms import alarms_of
from deployer.deployments.sagemaker import observe
from deployer.deployments.sagemaker.nouns import READY, SageMakerStatus, VariantStatus
from deployer.deployments.sagemaker.observe import Endpoint
from deployer.errors import UnknownPrice
from deployer.pricing.book import PriceBook
from deployer.spec.naming import EXPIRES_TAG
from deployer.spec.resolved import VARIANT


def status(aws: Aws, name: str, book: PriceBook) -> SageMakerStatus:
    """Ask AWS how a deployment is. Raises InputError when there is none of ours under that name."""
    found = observe.endpoint(aws, name)
    if found is None:
        return _batch_status(aws, name)
    config = SageMaker(aws).config(found.config) or {}
    variant: Any = (config.get("ProductionVariants") or ({},))[0]
    mode = "sagemaker-async" if "AsyncInferenceConfig" in config else "sagemaker-realtime"
    spent, basis = _spent(aws, found, mode, str(variant.get("InstanceType", "")), book)
    scaled = registered(aws, f"endpoint/{name}/variant/{VARIANT}")
    target = scaled[0].target() if scaled else None
    bounds = (int(target["MinCapacity"]), int(target["MaxCapacity"])) if target else None
    alarms = alarms_of(aws, name)
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
        raise observe.nothing(aws, name)
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
    aws: Aws, found: Endpoint, mode: str, instance_type: str, book: PriceBook
) -> tuple[Decimal | None, str]:
    """Instance-hours since creation times the mode's price: every instance reports its CPU once a minute."""
    if not instance_type:
        return None, "a serverless endpoint is billed by its work: see the bill"
    try:
        price = book.lookup(SERVICES[mode], aws.region, instance_type).usd
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
