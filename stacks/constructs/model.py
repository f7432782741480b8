"""The model: an image, the bundle's bytes by digest, and where the container's network lies."""

from __future__ import annotations

from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from deployer.spec.hosting import InstanceHosting, Network
from deployer.spec.resolved import Resolved


class Model(Construct):
    """An immutable model; its name ends in a hash of all that it holds."""

    def __init__(self, scope: Construct, id: str, *, resolved: Resolved, role_arn: str) -> None:
        super().__init__(scope, id)
        network = _network(resolved)
        self.resource = sagemaker.CfnModel(
            self,
            "Resource",
            model_name=resolved.model_name,
            execution_role_arn=role_arn,
            primary_container=_container(resolved),
            enable_network_isolation=True if network.isolated else None,
            vpc_config=sagemaker.CfnModel.VpcConfigProperty(
                subnets=list(network.subnets), security_group_ids=list(network.security_groups)
            )
            if network.subnets
            else None,
        )


def _network(resolved: Resolved) -> Network:
    target = resolved.spec.target
    network = target.network if isinstance(target, InstanceHosting) else None
    return network or Network()


def _container(resolved: Resolved) -> sagemaker.CfnModel.ContainerDefinitionProperty:
    artifact = resolved.artifact
    source = None
    if artifact.files:
        source = sagemaker.CfnModel.ModelDataSourceProperty(
            s3_data_source=sagemaker.CfnModel.S3DataSourceProperty(
                s3_uri=artifact.s3_uri, s3_data_type="S3Prefix", compression_type="None"
            )
        )
    environment = resolved.spec.target.environment
    return sagemaker.CfnModel.ContainerDefinitionProperty(
        image=resolved.image.uri,
        model_data_url=None if artifact.files else artifact.s3_uri,
        model_data_source=source,
        environment=dict(environment) or None,
    )
