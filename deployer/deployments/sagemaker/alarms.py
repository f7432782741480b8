"""The alarms that stop a rollout: pure.

They are generated from the objective and the share of errors that the specification allows. An alarm without
data does not fire, so a rollout that no request met proves nothing: whoever deploys is told.
"""

from __future__ import annotations

from deployer.spec import naming
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.resolved import VARIANT, Alarm, Metric
from deployer.spec.rollout import AllAtOnce, waits_s
from deployer.spec.target import SageMakerAsync, SageMakerRealtime

PERIOD_S = 60
MARGIN_S = 3600
"""Time for the instances of a new fleet to start, on top of what a rollout waits by itself."""


def generated(spec: DeploymentSpec, endpoint: str) -> tuple[Alarm, ...]:
    """Return the alarms to make: errors, the model's own errors, and p99 where an objective is set."""
    target = spec.target
    if not spec.rollout.generated_alarms:
        return ()
    if isinstance(target, SageMakerAsync):
        metric = Metric("AWS/SageMaker", "InvocationFailures", "Sum", {"EndpointName": endpoint})
        text = f"Asynchronous requests to {endpoint} fail"
        return (Alarm(f"{naming.alarms(spec.name)}failures", text, metric, 0.0),)
    if not isinstance(target, SageMakerRealtime):
        return ()
    where = {"EndpointName": endpoint, "VariantName": VARIANT}
    share = spec.rollout.max_error_percent / 100
    found = [
        _errors(spec, f"{naming.alarms(spec.name)}5xx", "Invocation5XXErrors", share, where),
        _errors(
            spec, f"{naming.alarms(spec.name)}model-errors", "InvocationModelErrors", share, where
        ),
    ]
    if spec.slo.p99_ms is not None:
        latency = Metric("AWS/SageMaker", "ModelLatency", "p99", where, "Microseconds")
        text = f"The p99 of {endpoint} is above {spec.slo.p99_ms:g} ms"
        name = f"{naming.alarms(spec.name)}p99"
        limit = spec.slo.p99_ms * 1000
        found.append(Alarm(name, text, latency, limit, periods=2, low_samples="ignore"))
    return tuple(found)


def _errors(
    spec: DeploymentSpec, name: str, metric: str, share: float, where: dict[str, str]
) -> Alarm:
    # Each request counts 1 or 0 in these metrics, so that their average is the share that failed.
    text = f"More than {spec.rollout.max_error_percent:g}% of the requests fail ({metric})"
    return Alarm(name, text, Metric("AWS/SageMaker", metric, "Average", where), share)


def timeout_s(spec: DeploymentSpec) -> int | None:
    """Return how long a rollout may take: what is said, else its own waits and a margin, at most 8 hours.

    None leaves SageMaker's default to a rollout that waits for nothing.
    """
    rollout = spec.rollout
    if rollout.timeout_s is not None:
        return rollout.timeout_s
    if isinstance(rollout, AllAtOnce) and not rollout.bake_s:
        return None
    return min(28800, max(600, int(waits_s(rollout)) + MARGIN_S))
