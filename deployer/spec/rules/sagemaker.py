"""Rules of SageMaker's targets: what CreateEndpointConfig, CreateModel and CreateTransformJob refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployer.spec.deployment import DeploymentSpec
from deployer.spec.hosting import InstanceHosting
from deployer.spec.instances import local_disks
from deployer.spec.rules.facts import Facts
from deployer.spec.rules.rule import Wrong, rule
from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
)

BATCH_MB = 100
_ECR = re.compile(r"[0-9]{12}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/.+")


@rule(
    "volume-own-disks",
    "target.volume_gb",
    "target.instance_type",
    says="An instance type with disks of its own takes no volume_gb.",
    source="aws/sagemaker-python-sdk#4828, of ml.trn1: “this instance family does not support attaching an ebs volume, "
    "hence volume size argument throws a service exception”",
)
def volume(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """SageMaker attaches no volume beside local disks."""
    target = spec.target
    if not isinstance(target, SageMakerRealtime | SageMakerAsync) or target.volume_gb is None:
        return
    if local_disks(target.instance_type):
        yield Wrong(
            "target.volume_gb",
            f"{target.instance_type!r} has disks of its own, and SageMaker attaches no volume to it",
            "leave it out",
        )


@rule(
    "batch-tar",
    "target.model_data",
    says="Batch transform takes a tar only.",
    source="SageMaker, ContainerDefinition.ModelDataSource: “Currently you cannot use ModelDataSource in conjunction "
    "with SageMaker batch transform”",
)
def batch_tar(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Files one by one are of endpoints."""
    if isinstance(spec.target, SageMakerBatch) and spec.target.model_data == "files":
        yield Wrong("target.model_data", "batch transform takes a tar only", "leave it out")


@rule(
    "batch-volume",
    "target.volume_gb",
    says="Batch transform takes no volume_gb.",
    source="SageMaker, CreateTransformJob: TransformResources has no size of a volume",
)
def batch_volume(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A job's storage is SageMaker's choice."""
    if isinstance(spec.target, SageMakerBatch) and spec.target.volume_gb is not None:
        yield Wrong(
            "target.volume_gb", "batch transform chooses its storage itself", "leave it out"
        )


@rule(
    "batch-payload",
    "target.max_concurrent",
    "target.max_payload_mb",
    says=f"max_concurrent x max_payload_mb is at most {BATCH_MB} MB.",
    source="SageMaker, CreateTransformJob.MaxPayloadInMB: “the value of (MaxConcurrentTransforms * MaxPayloadInMB) "
    "also cannot exceed 100 MB”",
)
def batch_payload(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """What is under way to one instance is bounded."""
    target = spec.target
    if not isinstance(target, SageMakerBatch):
        return
    if target.max_payload_mb * target.max_concurrent > BATCH_MB:
        yield Wrong(
            "target.max_concurrent",
            f"{target.max_concurrent} requests of {target.max_payload_mb} MB are more than {BATCH_MB} MB",
            "lower one of the two",
        )


@rule(
    "provisioned-above-max",
    "target.provisioned_concurrency",
    "target.max_concurrency",
    says="provisioned_concurrency is at most max_concurrency.",
    source="SageMaker, ProductionVariantServerlessConfig.ProvisionedConcurrency: “Should be less than or equal to "
    "MaxConcurrency”",
)
def provisioned(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """More than may run cannot be kept warm."""
    target = spec.target
    if not isinstance(target, SageMakerServerless):
        return
    if target.provisioned_concurrency > target.max_concurrency:
        yield Wrong(
            "target.provisioned_concurrency",
            f"{target.provisioned_concurrency} is above target.max_concurrency {target.max_concurrency}",
        )


@rule(
    "sagemaker-network",
    "target.network",
    says="subnets and security_groups go together.",
    source="SageMaker, VpcConfig: Subnets and SecurityGroupIds are both required",
)
def network(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """One without the other is no place."""
    target = spec.target
    found = target.network if isinstance(target, InstanceHosting) else None
    if found is not None and bool(found.subnets) != bool(found.security_groups):
        yield Wrong("target.network", "subnets and security_groups go together")


@rule(
    "image-region",
    "target.image_uri",
    "target.region",
    says="On SageMaker an image in ECR is of the endpoint's own region.",
    source="SageMaker, ContainerDefinition.Image: “the Docker image for inference container in Amazon EC2 Container "
    "Registry must be in the same region as the model or endpoint you are creating”",
)
def image_region(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """CreateModel takes no image of another region."""
    target = spec.target
    if isinstance(target, Local | Ec2Fleet):
        return
    found = _ECR.fullmatch(target.image_uri)
    if found and found[1] != target.region:
        yield Wrong(
            "target.image_uri",
            f"is of {found[1]}, the target is in {target.region}",
            "push the image there: `deployer image push`",
        )


@rule(
    "image-registry",
    "target.image_uri",
    says="On SageMaker an image is in ECR.",
    source="SageMaker, ImageConfig.RepositoryAccessMode: “Platform - The model image is hosted in Amazon ECR”, the "
    "mode of a model that names none",
)
def image_registry(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Another registry would have to be in a VPC, which this tool does not say."""
    target = spec.target
    if isinstance(target, Local | Ec2Fleet) or not target.image_uri:
        return
    if not _ECR.fullmatch(target.image_uri):
        yield Wrong(
            "target.image_uri",
            f"{target.image_uri!r} is not in ECR, and SageMaker takes no other image",
            "push it there: `deployer image push`",
        )


RULES = (
    volume,
    batch_tar,
    batch_volume,
    batch_payload,
    provisioned,
    network,
    image_region,
    image_registry,
)
"""The rules of this area."""
