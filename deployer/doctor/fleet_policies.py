"""The two policies for an EC2 fleet: what planning asks of IAM, and what deploying asks on top of it. Pure.

CloudFormation makes the fleet, in the role of ``cdk bootstrap``: the caller takes the CDK's roles, keeps the bundle,
reads what there is, and removes the stack and the buckets that outlive it. Sending messages to a queue, which
``deployer invoke`` does, and ``deployer reap``, which reads every stack, are in neither.
"""

from __future__ import annotations

from collections.abc import Iterator

from deployer.doctor import policies
from deployer.doctor.policies import Scope
from deployer.spec import naming
from deployer.spec.resolved import Statement


def plan(on: Scope) -> Iterator[Statement]:
    """Yield what planning and looking ask for."""
    stack = on.arn("cloudformation", f"stack/{naming.stack(on.name)}/*")
    events = ("cloudformation:DescribeStackEvents", "cloudformation:DescribeStacks")
    yield Statement("ReadStack", events, (stack,))
    yield Statement(
        "ListAndMeasure",  # AWS knows no resource for these
        (
            "autoscaling:DescribeAutoScalingGroups",
            "ec2:DescribeInstanceTypes",
            "ec2:DescribeSubnets",
            "elasticloadbalancing:DescribeTargetHealth",
            "logs:DescribeLogGroups",
            "tag:GetResources",
        ),
        ("*",),
    )
    vcpus = on.arn("servicequotas", "ec2/*")
    yield Statement("ReadQuotas", ("servicequotas:GetServiceQuota",), (vcpus,))
    amis = f"arn:{on.partition}:ssm:{on.region}::parameter/aws/service/ami-amazon-linux-latest/*"
    yield Statement("FindMachineImage", ("ssm:GetParameter",), (amis,))
    yield from policies.bundles_and_alarms(on)
    yield Statement("ReadRole", ("iam:GetRole", "iam:ListRoleTags"), (on.execution_role,))
    repository = policies.repository(on)
    if repository:
        yield Statement("ReadImage", policies.PULL, (repository,))
    group = on.arn("logs", f"log-group:{naming.fleet_logs(on.name)}")
    reads = ("logs:DescribeLogStreams", "logs:GetLogEvents")
    yield Statement("ReadLogs", reads, (group, f"{group}:log-stream:*"))
    queue = naming.group(on.name)
    queues = tuple(on.arn("sqs", name) for name in (queue, naming.dead_letters(queue)))
    yield Statement("ReadQueues", ("sqs:GetQueueAttributes", "sqs:GetQueueUrl"), queues)
    yield policies.cdk(on, "LookUpWithCdk", "lookup")


def deploy(on: Scope) -> Iterator[Statement]:
    """Yield what deploying, pushing an image and destroying ask for on top of it."""
    stack = on.arn("cloudformation", f"stack/{naming.stack(on.name)}/*")
    yield Statement("RemoveStack", ("cloudformation:DeleteStack",), (stack,))
    yield from policies.storage(on)
    # CloudFormation names the bucket of the access logs, which outlives the stack.
    logs = f"arn:{on.partition}:s3:::{naming.stack(on.lower)}-balancer*"
    own = ("s3:DeleteBucket", "s3:ListBucket", "s3:ListBucketMultipartUploads")
    yield Statement("RemoveAccessLogs", own, (logs,))
    removal = ("s3:AbortMultipartUpload", "s3:DeleteObject")
    yield Statement("EmptyAccessLogs", removal, (f"{logs}/*",))
    repository = policies.repository(on)
    if repository and not on.image:
        yield Statement("PushImage", policies.PUSH, (repository,))
        yield Statement("LogInToRegistry", ("ecr:GetAuthorizationToken",), ("*",))
    yield policies.cdk(on, "DeployWithCdk", "deploy", "file-publishing")
