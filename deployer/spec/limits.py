"""What a target takes at run time: sizes of bodies and how long an answer may take, with AWS's words as source.

A request beyond them fails by itself while the deployment runs on, so a plan, a client and the simulator read the
same numbers here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
    Target,
)

MIB = 2**20
REALTIME_BYTES = 6 * MIB
"""Source: InvokeEndpoint, BodyBlob max 6,291,456 in botocore's model; newer pages of the guide say 25 MB."""
SERVERLESS_BYTES = 4 * MIB
"""Source: SageMaker developer guide, serverless endpoints ("maximum payload size 4 MB")."""
ASYNC_BYTES = 2**30
"""Source: SageMaker developer guide, asynchronous inference ("payload sizes up to 1 GB")."""
BATCH_BYTES = 100 * MIB
"""Source: CreateTransformJob, MaxPayloadInMB at most 100; the specification's ``max_payload_mb`` is the limit."""
ENDPOINT_ANSWER_S = 60.0
"""Source: InvokeEndpoint ("a customer's model containers must respond to requests within 60 seconds")."""
ASYNC_ANSWER_S = 900.0
"""Source: InvokeEndpointAsync, InvocationTimeoutSeconds: default 15 minutes."""
ASYNC_WAIT_S = 6 * 3600.0
"""Source: InvokeEndpointAsync, RequestTTLSeconds: default 6 hours in the queue."""
SQS_BYTES = MIB
"""Source: SQS developer guide, message quotas ("1 MiB", raised from 256 KiB in August 2025)."""


@dataclass(frozen=True)
class RunLimits:
    """Limits of one request; infinity where there is none.

    ``request_bytes`` and ``response_bytes`` of a body, ``answer_s`` from when the container has the request,
    ``wait_s`` in the queue of a target that has one. ``source`` is whose limit it is.
    """

    request_bytes: float
    response_bytes: float
    answer_s: float
    wait_s: float
    source: str


def of(target: Target) -> RunLimits:
    """Return the limits of a target. The server of the bundle has limits of its own beside them."""
    match target:
        case SageMakerRealtime():
            return RunLimits(
                REALTIME_BYTES, REALTIME_BYTES, ENDPOINT_ANSWER_S, math.inf, "InvokeEndpoint"
            )
        case SageMakerServerless():
            source = "SageMaker's serverless endpoints"
            return RunLimits(
                SERVERLESS_BYTES, SERVERLESS_BYTES, ENDPOINT_ANSWER_S, math.inf, source
            )
        case SageMakerAsync():
            return RunLimits(
                ASYNC_BYTES, math.inf, ASYNC_ANSWER_S, ASYNC_WAIT_S, "InvokeEndpointAsync"
            )
        case SageMakerBatch():
            most = target.max_payload_mb * MIB
            return RunLimits(most, math.inf, math.inf, math.inf, "target.max_payload_mb")
        case Ec2Fleet(queue=queue) if queue is not None:
            return RunLimits(SQS_BYTES, math.inf, math.inf, float(queue.retention_s), "SQS")
        case Ec2Fleet(listener=listener):
            answer_s = float(listener.idle_timeout_s) if listener else ENDPOINT_ANSWER_S
            return RunLimits(
                math.inf, math.inf, answer_s, math.inf, "the load balancer's idle timeout"
            )
        case Local():
            return RunLimits(math.inf, math.inf, math.inf, math.inf, "none")
        case _:
            assert_never(target)
