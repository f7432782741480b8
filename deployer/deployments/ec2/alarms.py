"""The alarms that stop a rollout of a fleet: pure.

An alarm needs requests to judge: below ``LEAST_REQUESTS`` a minute a share of errors says nothing and is 0.
"""

from __future__ import annotations

from deployer.spec import naming
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import LOAD_BALANCER, TARGET_GROUP
from deployer.spec.resolved import Alarm, Expression, Input, Metric
from deployer.spec.target import Ec2Fleet

LEAST_REQUESTS = 20


def balancer_metric(name: str, statistic: str) -> Metric:
    """Return a metric of the load balancer's one target group."""
    where = {"LoadBalancer": LOAD_BALANCER, "TargetGroup": TARGET_GROUP}
    if name == "RequestCountPerTarget":
        where = {"TargetGroup": TARGET_GROUP}
    return Metric("AWS/ApplicationELB", name, statistic, where)


def generated(spec: DeploymentSpec, target: Ec2Fleet, queue: str) -> tuple[Alarm, ...]:
    """Return the alarms to make: of a queue, given up messages; else the p99 where an objective is set, and errors."""
    if not spec.rollout.generated_alarms:
        return ()
    if target.queue is not None:
        where = {"QueueName": naming.dead_letters(queue)}
        metric = Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", where)
        text = f"Messages of {queue} were given up"
        return (Alarm(f"{naming.alarms(spec.name)}dead-letters", text, metric, 0.0),)
    words = (("5xx", "HTTPCode_Target_5XX_Count"), ("unreachable", "HTTPCode_ELB_5XX_Count"))
    return (*_slow(spec), *(_share(spec, word, metric) for word, metric in words))


def _slow(spec: DeploymentSpec) -> tuple[Alarm, ...]:
    if spec.slo.p99_ms is None:
        return ()
    text = f"The p99 of {spec.name} is above {spec.slo.p99_ms:g} ms"
    latency = balancer_metric("TargetResponseTime", "p99")
    name, limit = f"{naming.alarms(spec.name)}p99", spec.slo.p99_ms / 1000
    return (Alarm(name, text, latency, limit, periods=2, low_samples="ignore"),)


def _share(spec: DeploymentSpec, word: str, metric: str) -> Alarm:
    """An alarm on a share of the requests: answers 5xx of the servers, or of the load balancer."""
    percent = spec.rollout.max_error_percent
    return Alarm(
        f"{naming.alarms(spec.name)}{word}",
        f"More than {percent:g}% of the requests fail ({metric})",
        Expression(
            f"percent of requests ({metric})",
            f"IF(requests >= {LEAST_REQUESTS}, 100 * FILL(errors, 0) / requests, 0)",
            (
                Input("errors", _errors(metric)),
                Input("requests", balancer_metric("RequestCount", "Sum")),
            ),
        ),
        percent,
    )


def _errors(metric: str) -> Metric:
    if metric.startswith("HTTPCode_ELB"):
        return Metric("AWS/ApplicationELB", metric, "Sum", {"LoadBalancer": LOAD_BALANCER})
    return balancer_metric(metric, "Sum")
