"""What a deployment of any target makes beside its instances: what a comparison prices without planning."""

from __future__ import annotations

from deployer.cost.materials import Made
from deployer.deployments.ec2 import inventory as fleets
from deployer.deployments.sagemaker import inventory as endpoints
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.target import Ec2Fleet, Local, SageMakerBatch


def made(spec: DeploymentSpec) -> Made:
    """Return what a deployment of ``spec`` makes beside its instances; nothing for local and batch targets.

    Raises SpecError for a policy that the target does not take.
    """
    match spec.target:
        case Local() | SageMakerBatch():
            return Made()
        case Ec2Fleet() as target:
            return fleets.made(spec, target)
        case _:
            return endpoints.made(spec)
