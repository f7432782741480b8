"""What the execution role may do, and nothing else: pure.

Statements are as narrow as AWS allows. What takes no resource: ``ecr:GetAuthorizationToken``, the
``ec2:Describe...`` of a network, and ``cloudwatch:PutMetricData``, which takes a namespace instead.
"""

from __future__ import annotations

from collections.abc import Iterator

from deployer.deployments.aws.permissions import pull
from deployer.spec import naming
from deployer.spec.hosting import InstanceHosting, Network
from deployer.spec.resolved import Artifact, Image, Place, Statement
from deployer.spec.target import SageMakerAsync, SageMakerBatch, SageMakerRealtime, Target

_INTERFACES = (
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
)
_FIND = (
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)


def statements(
    name: str,
    target: Target,
    place: Place,
    image: Image,
    artifact: Artifact,
    writes: tuple[str, ...],
    alarms: tuple[str, ...] = (),
) -> tuple[Statement, ...]:
    """Return the execution role's statements.

    ``writes`` are the S3 addresses it writes under, ``alarms`` the user's own that stop a rollout.
    """
    return tuple(_statements(name, target, place, image, artifact, writes, alarms))


def _statements(
    name: str,
    target: Target,
    place: Place,
    image: Image,
    artifact: Artifact,
    writes: tuple[str, ...],
    alarms: tuple[str, ...],
) -> Iterator[Statement]:
    arn = f"arn:{place.partition}"
    bucket = f"{arn}:s3:::{artifact.bucket}"
    # Every version of this deployment, so that a rollback can still fetch its own.
    prefix = naming.bundles(name)
    yield Statement("ReadBundle", ("s3:GetObject",), (f"{bucket}/{prefix}*",))
    yield Statement(
        "ListBundle", ("s3:ListBucket",), (bucket,), {"StringLike/s3:prefix": f"{prefix}*"}
    )
    if writes:
        objects = tuple(f"{arn}:s3:::{uri.removeprefix('s3://').rstrip('/')}/*" for uri in writes)
        yield Statement("WriteOutput", ("s3:PutObject", "s3:AbortMultipartUpload"), objects)
    if isinstance(target, SageMakerAsync | SageMakerBatch):
        yield from _inputs(target, arn, artifact, name)
    yield from pull(image, arn)
    where = f"{arn}:logs:{place.region}:{place.account}:log-group:{log_group(name, target)}"
    yield Statement(
        "WriteLogs",
        (
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:DescribeLogStreams",
            "logs:PutLogEvents",
        ),
        (where, f"{where}:log-stream:*"),
    )
    yield Statement(
        "PublishMetrics",
        ("cloudwatch:PutMetricData",),
        ("*",),
        {"StringLike/cloudwatch:namespace": "*/[sS]age[mM]aker*"},
    )
    if isinstance(target, SageMakerRealtime | SageMakerAsync):
        where = f"{arn}:cloudwatch:{place.region}:{place.account}:alarm"
        watched = tuple(f"{where}:{alarm}" for alarm in (f"{naming.alarms(name)}*", *alarms))
        yield Statement("WatchRollout", ("cloudwatch:DescribeAlarms",), watched)
    yield from _options(target, place)


def log_group(name: str, target: Target) -> str:
    """Return the log group that the containers write to."""
    if isinstance(target, SageMakerBatch):
        return naming.JOB_LOGS
    return naming.endpoint_logs(name)


def _inputs(
    target: SageMakerAsync | SageMakerBatch, arn: str, artifact: Artifact, name: str
) -> Iterator[Statement]:
    """Where the inputs lie: under the deployment's own prefix, and where the specification says."""
    places = [f"{artifact.bucket}/{naming.objects(name)}input/"]
    if isinstance(target, SageMakerBatch) and target.input_s3_uri:
        places.append(target.input_s3_uri.removeprefix("s3://"))
    objects = tuple(f"{arn}:s3:::{place}*" for place in places)
    yield Statement("ReadInput", ("s3:GetObject",), objects)
    buckets = tuple(dict.fromkeys(f"{arn}:s3:::{place.partition('/')[0]}" for place in places))
    if isinstance(target, SageMakerBatch):
        yield Statement("ListInput", ("s3:ListBucket",), buckets)


def _options(target: Target, place: Place) -> Iterator[Statement]:
    key = target.kms_key_arn
    if key:
        writes = isinstance(target, SageMakerAsync | SageMakerBatch | SageMakerRealtime)
        actions = ("kms:Decrypt", "kms:GenerateDataKey") if writes else ("kms:Decrypt",)
        yield Statement("UseKey", actions, (key,))
        yield Statement(
            "GrantKey", ("kms:CreateGrant",), (key,), {"Bool/kms:GrantIsForAWSResource": "true"}
        )
    network = target.network if isinstance(target, InstanceHosting) else None
    if network is not None and network.subnets:
        yield from _network(network, place)
    if isinstance(target, SageMakerAsync):
        output = target.output
        topics = tuple(a for a in (output.success_topic_arn, output.error_topic_arn) if a)
        if topics:
            yield Statement("NotifyTopics", ("sns:Publish",), tuple(dict.fromkeys(topics)))


def _network(network: Network, place: Place) -> Iterator[Statement]:
    """The interfaces of the container, in these subnets and with these groups only."""
    ec2 = f"arn:{place.partition}:ec2:{place.region}:{place.account}"
    interfaces = f"{ec2}:network-interface/*"
    within = tuple(f"{ec2}:subnet/{subnet}" for subnet in network.subnets)
    groups = tuple(f"{ec2}:security-group/{group}" for group in network.security_groups)
    make = ("ec2:CreateNetworkInterface",)
    yield Statement("MakeInterface", make, (interfaces, *within, *groups))
    yield Statement("UseInterface", _INTERFACES, (interfaces,))
    yield Statement("FindNetwork", _FIND, ("*",))
