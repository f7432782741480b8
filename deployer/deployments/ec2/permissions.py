"""What an instance of the fleet may do, and nothing else: pure.

What takes no resource: ``ecr:GetAuthorizationToken`` and the channels of the Session Manager.
"""

from __future__ import annotations

from collections.abc import Iterator

from deployer.deployments.aws.permissions import pull
from deployer.spec import naming
from deployer.spec.resolved import Artifact, Image, Place, Statement
from deployer.spec.target import Ec2Fleet


def statements(
    name: str,
    target: Ec2Fleet,
    place: Place,
    image: Image,
    artifact: Artifact,
    group: str,
    queue: str,
) -> tuple[Statement, ...]:
    """Return the instance role's statements; ``group`` and ``queue`` are names."""
    return tuple(_statements(name, target, place, image, artifact, group, queue))


def _statements(
    name: str,
    target: Ec2Fleet,
    place: Place,
    image: Image,
    artifact: Artifact,
    group: str,
    queue: str,
) -> Iterator[Statement]:
    arn = f"arn:{place.partition}"
    here = f"{place.region}:{place.account}"
    # The slash ends the name: `model` may not read what is of `model-hf`.
    bundles = f"{arn}:s3:::{artifact.bucket}/{naming.bundles(name)}*"
    yield Statement("ReadBundle", ("s3:GetObject",), (bundles,))
    yield from pull(image, arn)
    streams = f"{arn}:logs:{here}:log-group:{naming.fleet_logs(name)}:log-stream:*"
    yield Statement("WriteLogs", ("logs:CreateLogStream", "logs:PutLogEvents"), (streams,))
    groups = f"{arn}:autoscaling:{here}:autoScalingGroup:*:autoScalingGroupName/{group}"
    yield Statement(
        "AnswerHook",
        ("autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"),
        (groups,),
    )
    stack = f"{arn}:cloudformation:{here}:stack/{naming.stack(name)}/*"
    yield Statement("SignalStack", ("cloudformation:SignalResource",), (stack,))
    yield Statement(
        "OpenSession",
        (
            "ssm:UpdateInstanceInformation",
            "ssmmessages:CreateControlChannel",
            "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel",
            "ssmmessages:OpenDataChannel",
        ),
        ("*",),
    )
    if target.kms_key_arn:
        yield Statement("UseKey", ("kms:Decrypt", "kms:GenerateDataKey"), (target.kms_key_arn,))
    if target.queue is not None:
        yield from _queue(name, target, arn, here, artifact, queue)


def _queue(
    name: str, target: Ec2Fleet, arn: str, here: str, artifact: Artifact, queue: str
) -> Iterator[Statement]:
    """Take messages, give up poison ones with their reason, write results."""
    assert target.queue is not None
    yield Statement(
        "TakeMessages",
        (
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
            "sqs:ReceiveMessage",
        ),
        (f"{arn}:sqs:{here}:{queue}",),
    )
    dead = f"{arn}:sqs:{here}:{naming.dead_letters(queue)}"
    yield Statement("GiveUpMessages", ("sqs:GetQueueUrl", "sqs:SendMessage"), (dead,))
    where = results_uri(name, target, artifact).removeprefix("s3://").rstrip("/")
    yield Statement("WriteResults", ("s3:GetObject", "s3:PutObject"), (f"{arn}:s3:::{where}/*",))


def results_uri(name: str, target: Ec2Fleet, artifact: Artifact) -> str:
    """Return where a queue's results go; empty without a queue."""
    if target.queue is None:
        return ""
    return target.queue.results_s3_uri or f"s3://{artifact.bucket}/{naming.objects(name)}results"
