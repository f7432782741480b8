"""What AWS says of the account before anything is made: reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployer.aws.metrics import CloudWatch
from deployer.aws.quotas import sagemaker_quotas
from deployer.aws.roles import Roles
from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.deployments.aws import images
from deployer.deployments.sagemaker.requests import hosting
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import Image, Resolved
from deployer.spec.target import SageMakerBatch


@dataclass(frozen=True)
class Facts:
    """What was found; None where it could not be asked.

    ``refused`` are the actions on the role that the caller may not do, ``role_exists`` is about a given role
    only, ``alarms`` maps the given alarms that exist to their state.
    """

    quotas: Mapping[str, float] | None
    instance_types: tuple[str, ...]
    image_architectures: tuple[str, ...]
    role_exists: bool
    refused: tuple[str, ...] | None
    alarms: Mapping[str, str]


def find_image(aws: Aws, spec: DeploymentSpec) -> tuple[Image, tuple[str, ...]]:
    """Return the image pinned by its digest, and the architectures it is said to have.

    Raises InputError when there is none. One that is not in ECR, or that may not be read, is taken as it is
    named.
    """
    target = hosting(spec)
    kind = target.instance_type
    return images.find(aws, spec.name, target.image_uri, kind)


def gather(aws: Aws, resolved: Resolved, architectures: tuple[str, ...]) -> Facts:
    """Read what the checks need."""
    batch = isinstance(resolved.spec.target, SageMakerBatch)
    roles = Roles(aws)
    role = resolved.role
    caller = _principal(aws.caller)
    actions = ["iam:PassRole"]
    if role.made:
        actions += ["iam:CreateRole", "iam:PutRolePolicy"]
    passed_to = {"iam:PassedToService": "sagemaker.amazonaws.com"}
    named = CloudWatch(aws).named_alarms(resolved.spec.rollout.alarms)
    return Facts(
        quotas=sagemaker_quotas(aws),
        instance_types=SageMaker(aws).instance_types(
            "CreateTransformJob" if batch else "CreateEndpointConfig"
        ),
        image_architectures=architectures,
        role_exists=role.made or roles.role(role.name) is not None,
        refused=roles.simulate(caller, actions, role.arn, passed_to),
        alarms={str(row["AlarmName"]): str(row.get("StateValue", "")) for row in named},
    )


def _principal(caller: str) -> str:
    """Return what IAM can simulate: for an assumed role, the role behind the session."""
    if ":assumed-role/" not in caller:
        return caller
    head, _, rest = caller.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.partition('/')[0]}"
