"""Resolved as the documents of the AWS API: pure, and all that the calls of this route say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.deployments.sagemaker.traffic_shifting import deployment_config
from deployer.errors import NotSupported
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.hosting import Capture, EndpointHosting, InstanceHosting, Network
from deployer.spec.instances import local_disks
from deployer.spec.resolved import (
    VARIANT,
    Alarm,
    Expression,
    Metric,
    Resolved,
    ScheduledAction,
    Stepping,
    Tracking,
)
from deployer.spec.target import SageMakerAsync, SageMakerRealtime, SageMakerServerless

Document = dict[str, Any]
ROUTING = {"least-outstanding": "LEAST_OUTSTANDING_REQUESTS", "random": "RANDOM"}


def hosting(spec: DeploymentSpec) -> Any:
    """Return the target, which is one of SageMaker's. Raises NotSupported for another."""
    if not spec.target.kind.startswith("sagemaker-"):
        raise NotSupported(f"target {spec.target.kind!r} is not SageMaker's")
    return spec.target


def tag_rows(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as most services take them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def model(resolved: Resolved) -> Document:
    """Return CreateModel."""
    target = hosting(resolved.spec)
    container: Document = {"Image": resolved.image.uri}
    if resolved.artifact.files:
        container["ModelDataSource"] = {
            "S3DataSource": {
                "S3Uri": resolved.artifact.s3_uri,
                "S3DataType": "S3Prefix",
                "CompressionType": "None",
            }
        }
    else:
        container["ModelDataUrl"] = resolved.artifact.s3_uri
    if target.environment:
        container["Environment"] = dict(sorted(target.environment.items()))
    request: Document = {
        "ModelName": resolved.model_name,
        "PrimaryContainer": container,
        "ExecutionRoleArn": resolved.role.arn,
        "Tags": tag_rows(resolved.tags),
    }
    network = target.network if isinstance(target, InstanceHosting) else None
    return request | _network(network)


def _network(network: Network | None) -> Document:
    found: Document = {}
    if network is not None and network.subnets:
        found["VpcConfig"] = {
            "Subnets": list(network.subnets),
            "SecurityGroupIds": list(network.security_groups),
        }
    if network is not None and network.isolated:
        found["EnableNetworkIsolation"] = True
    return found


def config(resolved: Resolved) -> Document:
    """Return CreateEndpointConfig."""
    target = hosting(resolved.spec)
    request: Document = {
        "EndpointConfigName": resolved.config_name,
        "ProductionVariants": [_variant(resolved)],
        "Tags": tag_rows(resolved.tags),
    }
    # It encrypts the instances' storage: serverless has none, and AWS refuses it for disks of their own.
    serverless = isinstance(target, SageMakerServerless)
    if target.kms_key_arn and not serverless and not local_disks(target.instance_type):
        request["KmsKeyId"] = target.kms_key_arn
    if isinstance(target, SageMakerRealtime) and target.capture is not None:
        request["DataCaptureConfig"] = _capture(resolved, target.capture, target.kms_key_arn)
    if isinstance(target, SageMakerAsync):
        request["AsyncInferenceConfig"] = _async(resolved, target)
    if isinstance(target, EndpointHosting) and target.metrics is not None:
        request["MetricsConfig"] = {
            "EnableEnhancedMetrics": target.metrics.enhanced,
            "EnableDetailedObservability": target.metrics.scrape,
            "MetricPublishFrequencyInSeconds": target.metrics.period_s,
        }
    return request


def _variant(resolved: Resolved) -> Document:
    target = hosting(resolved.spec)
    variant: Document = {
        "VariantName": VARIANT,
        "ModelName": resolved.model_name,
        "InitialVariantWeight": 1.0,
    }
    if isinstance(target, SageMakerServerless):
        limits = {"MemorySizeInMB": target.memory_mb, "MaxConcurrency": target.max_concurrency}
        if target.provisioned_concurrency:
            limits["ProvisionedConcurrency"] = resolved.instances
        return variant | {"ServerlessConfig": limits}
    variant |= {
        "InstanceType": target.instance_type,
        "InitialInstanceCount": resolved.instances,
    }
    optional = {
        "VolumeSizeInGB": target.volume_gb,
        "ContainerStartupHealthCheckTimeoutInSeconds": target.health_check_timeout_s,
        "ModelDataDownloadTimeoutInSeconds": target.download_timeout_s,
    }
    variant |= {key: value for key, value in optional.items() if value is not None}
    if isinstance(target, SageMakerRealtime) and target.routing != "random":
        variant["RoutingConfig"] = {"RoutingStrategy": ROUTING[target.routing]}
    return variant


def _capture(resolved: Resolved, capture: Capture, kms_key_arn: str) -> Document:
    document: Document = {
        "EnableCapture": True,
        "InitialSamplingPercentage": capture.percent,
        "DestinationS3Uri": resolved.capture_s3_uri,
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    }
    return document | ({"KmsKeyId": kms_key_arn} if kms_key_arn else {})


def _async(resolved: Resolved, target: SageMakerAsync) -> Document:
    output: Document = {
        "S3OutputPath": resolved.output_s3_uri,
        "S3FailurePath": resolved.failure_s3_uri,
    }
    topics = {
        "SuccessTopic": target.output.success_topic_arn,
        "ErrorTopic": target.output.error_topic_arn,
    }
    if any(topics.values()):
        output["NotificationConfig"] = {key: arn for key, arn in topics.items() if arn}
    if target.kms_key_arn:
        output["KmsKeyId"] = target.kms_key_arn
    client = {"MaxConcurrentInvocationsPerInstance": target.max_concurrent}
    return {"ClientConfig": client, "OutputConfig": output}


def create_endpoint(resolved: Resolved) -> Document:
    """Return CreateEndpoint."""
    request = {
        "EndpointName": resolved.endpoint_name,
        "EndpointConfigName": resolved.config_name,
        "Tags": tag_rows(resolved.tags),
    }
    return request | deployment_config(resolved)


def update_endpoint(resolved: Resolved, config_name: str | None = None) -> Document:
    """Return UpdateEndpoint; ``config_name`` is another config to go (back) to.

    A fleet that has scaled keeps its size, but never its old data capture.
    """
    request: Document = {
        "EndpointName": resolved.endpoint_name,
        "EndpointConfigName": config_name or resolved.config_name,
        "RetainAllVariantProperties": resolved.retain_capacity,
    }
    if resolved.retain_capacity:
        request["ExcludeRetainedVariantProperties"] = [{"VariantPropertyType": "DataCaptureConfig"}]
    return request | deployment_config(resolved)


def alarm(item: Alarm, tags: Mapping[str, str], action: str = "") -> Document:
    """Return PutMetricAlarm; ``action`` is the ARN of a policy to set off."""
    metric = single(item.metric)
    percentile = metric.statistic.startswith("p")
    request: Document = {
        "AlarmName": item.name,
        "AlarmDescription": item.description,
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": _dimensions(metric),
        "ExtendedStatistic" if percentile else "Statistic": metric.statistic,
        "Period": item.period_s,
        "EvaluationPeriods": item.periods,
        "DatapointsToAlarm": item.periods,
        "Threshold": item.threshold,
        "ComparisonOperator": item.comparison,
        "TreatMissingData": item.missing,
        "Tags": tag_rows(tags),
    }
    if item.low_samples:
        request["EvaluateLowSampleCountPercentile"] = item.low_samples
    if metric.unit:
        request["Unit"] = metric.unit
    if action:
        request["AlarmActions"] = [action]
    return request


def single(watched: Metric | Expression | None) -> Metric:
    """Return the one metric that something on SageMaker stands on: planning writes no expression for it."""
    assert isinstance(watched, Metric)
    return watched


def tracking(item: Tracking) -> Document:
    """Return PutScalingPolicy of a target-tracking policy, without the resource."""
    body: Document = {
        "TargetValue": item.target,
        "ScaleInCooldown": item.in_cooldown_s,
        "ScaleOutCooldown": item.out_cooldown_s,
    }
    if item.metric is None:
        body["PredefinedMetricSpecification"] = {"PredefinedMetricType": item.predefined}
    else:
        watched = single(item.metric)
        metric: Document = {
            "Namespace": watched.namespace,
            "MetricName": watched.name,
            "Dimensions": _dimensions(watched),
            "Statistic": watched.statistic,
        }
        if watched.unit:
            metric["Unit"] = watched.unit
        body["CustomizedMetricSpecification"] = metric
    return {
        "PolicyName": item.name,
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": body,
    }


def stepping(item: Stepping) -> Document:
    """Return PutScalingPolicy of a step policy, without the resource."""
    steps = []
    for row in item.ranges:
        step: Document = {"ScalingAdjustment": row.change}
        if row.lower is not None:
            step["MetricIntervalLowerBound"] = row.lower
        if row.upper is not None:
            step["MetricIntervalUpperBound"] = row.upper
        steps.append(step)
    return {
        "PolicyName": item.name,
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": steps,
            "Cooldown": item.cooldown_s,
            "MetricAggregationType": item.aggregation,
        },
    }


def schedule(item: ScheduledAction) -> Document:
    """Return PutScheduledAction, without the resource."""
    bounds = {"MinCapacity": item.capacity, "MaxCapacity": item.capacity}
    return {
        "ScheduledActionName": item.name,
        "Schedule": item.schedule,
        "Timezone": "UTC",
        "ScalableTargetAction": bounds,
    }


def trust(resolved: Resolved) -> Document:
    """Return the trust policy: SageMaker of this account alone may take the role."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sagemaker.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": resolved.place.account}},
            }
        ],
    }


def permissions(resolved: Resolved) -> Document:
    """Return the execution role's inline policy."""
    rows = [item.to_json() for item in resolved.role.statements]
    return {"Version": "2012-10-17", "Statement": rows}


def _dimensions(metric: Metric) -> list[dict[str, str]]:
    return [{"Name": key, "Value": value} for key, value in sorted(metric.dimensions.items())]
