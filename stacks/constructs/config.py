"""The endpoint config: one variant, what is captured, measured and encrypted."""

from __future__ import annotations

from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from deployer.spec.hosting import EndpointHosting, Hosting
from deployer.spec.instances import local_disks
from deployer.spec.resolved import VARIANT, Resolved
from deployer.spec.target import SageMakerAsync, SageMakerRealtime, SageMakerServerless

_Config = sagemaker.CfnEndpointConfig


class EndpointConfig(Construct):
    """An immutable config; its name ends in a hash of all that it holds."""

    def __init__(self, scope: Construct, id: str, *, resolved: Resolved) -> None:
        super().__init__(scope, id)
        target = resolved.spec.target
        self.resource = _Config(
            self,
            "Resource",
            endpoint_config_name=resolved.config_name,
            production_variants=[_variant(resolved)],
            kms_key_id=_volume_key(resolved),
            data_capture_config=_capture(resolved),
            async_inference_config=_async(resolved),
            metrics_config=_metrics(target) if isinstance(target, EndpointHosting) else None,
        )


def _volume_key(resolved: Resolved) -> str | None:
    """The storage of instances is encrypted; serverless has none, and AWS takes no key for disks of their own."""
    target = resolved.spec.target
    if isinstance(target, SageMakerServerless) or local_disks(target.instance_type):
        return None
    return _key(resolved)


def _key(resolved: Resolved) -> str | None:
    target = resolved.spec.target
    return (target.kms_key_arn or None) if isinstance(target, Hosting) else None


def _variant(
    resolved: Resolved,
) -> sagemaker.CfnEndpointConfig.ProductionVariantProperty:
    target = resolved.spec.target
    if isinstance(target, SageMakerServerless):
        return _Config.ProductionVariantProperty(
            variant_name=VARIANT,
            model_name=resolved.model_name,
            initial_variant_weight=1,
            serverless_config=_Config.ServerlessConfigProperty(
                memory_size_in_mb=target.memory_mb,
                max_concurrency=target.max_concurrency,
                provisioned_concurrency=resolved.instances
                if target.provisioned_concurrency
                else None,
            ),
        )
    assert isinstance(target, SageMakerRealtime | SageMakerAsync)
    return _Config.ProductionVariantProperty(
        variant_name=VARIANT,
        model_name=resolved.model_name,
        initial_variant_weight=1,
        instance_type=target.instance_type,
        initial_instance_count=resolved.instances,
        volume_size_in_gb=target.volume_gb,
        container_startup_health_check_timeout_in_seconds=target.health_check_timeout_s,
        model_data_download_timeout_in_seconds=target.download_timeout_s,
        routing_config=_routing(target),
    )


def _routing(
    target: SageMakerRealtime | SageMakerAsync,
) -> sagemaker.CfnEndpointConfig.RoutingConfigProperty | None:
    if not isinstance(target, SageMakerRealtime) or target.routing == "random":
        return None  # SageMaker's default
    return _Config.RoutingConfigProperty(routing_strategy="LEAST_OUTSTANDING_REQUESTS")


def _capture(resolved: Resolved) -> sagemaker.CfnEndpointConfig.DataCaptureConfigProperty | None:
    target = resolved.spec.target
    if not isinstance(target, SageMakerRealtime) or target.capture is None:
        return None
    return _Config.DataCaptureConfigProperty(
        enable_capture=True,
        initial_sampling_percentage=target.capture.percent,
        destination_s3_uri=resolved.capture_s3_uri,
        capture_options=[
            _Config.CaptureOptionProperty(capture_mode=mode) for mode in ("Input", "Output")
        ],
        kms_key_id=_key(resolved),
    )


def _async(resolved: Resolved) -> sagemaker.CfnEndpointConfig.AsyncInferenceConfigProperty | None:
    target = resolved.spec.target
    if not isinstance(target, SageMakerAsync):
        return None
    topics = (target.output.success_topic_arn, target.output.error_topic_arn)
    return _Config.AsyncInferenceConfigProperty(
        client_config=_Config.AsyncInferenceClientConfigProperty(
            max_concurrent_invocations_per_instance=target.max_concurrent
        ),
        output_config=_Config.AsyncInferenceOutputConfigProperty(
            s3_output_path=resolved.output_s3_uri,
            s3_failure_path=resolved.failure_s3_uri,
            kms_key_id=_key(resolved),
            notification_config=_Config.AsyncInferenceNotificationConfigProperty(
                success_topic=topics[0] or None, error_topic=topics[1] or None
            )
            if any(topics)
            else None,
        ),
    )


def _metrics(target: EndpointHosting) -> sagemaker.CfnEndpointConfig.MetricsConfigProperty | None:
    if target.metrics is None:
        return None
    return _Config.MetricsConfigProperty(
        enable_enhanced_metrics=target.metrics.enhanced,
        enable_detailed_observability=target.metrics.scrape,
        metric_publish_frequency_in_seconds=target.metrics.period_s,
    )
