"""IAM on this machine: what a call of boto3's asks for, and whether policy documents allow it.

Which actions and resources a call asks for is written here by hand, from AWS's Service Authorization Reference.
Only what the project's policies use is understood: Allow, wildcards, and three operators of conditions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ACCOUNT, REGION = "123456789012", "us-east-1"
_S3 = {
    "HeadBucket": "ListBucket", "ListObjectsV2": "ListBucket",
    "ListMultipartUploads": "ListBucketMultipartUploads", "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject", "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject", "CopyObject": "PutObject",
    "ListParts": "ListMultipartUploadParts", "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}  # fmt: skip
_HOSTED = {
    "EndpointConfigName": "endpoint-config", "EndpointName": "endpoint", "ModelName": "model",
    "TransformJobName": "transform-job",
}  # fmt: skip


@dataclass(frozen=True)
class Need:
    """One thing that a caller must be allowed: an action on a resource, with what IAM knows of the request."""

    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


def needs(service: str, operation: str, params: Mapping[str, Any]) -> tuple[Need, ...]:
    """Return what a call asks for; KeyError for a call that nobody has thought about."""
    rules = {
        "sagemaker": _sagemaker, "s3": _s3, "iam": _iam, "cloudwatch": _cloudwatch, "logs": _logs,
        "application-autoscaling": _scaling, "ecr": _ecr, "service-quotas": _quotas,
        "sts": _sts,
    }  # fmt: skip
    return tuple(rules[service](operation, params))


def allowed(documents: Sequence[Mapping[str, Any]], need: Need) -> bool:
    """Whether a statement of the documents allows what is needed."""
    rows = [row for document in documents for row in document["Statement"]]
    assert all(row["Effect"] == "Allow" for row in rows)
    return any(_allows(row, need) for row in rows)


def _allows(row: Mapping[str, Any], need: Need) -> bool:
    return (
        any(_like(action, need.action, re.IGNORECASE) for action in row["Action"])
        and any(_like(resource, need.resource) for resource in row["Resource"])
        and all(
            _holds(operator, value, need.context.get(key))
            for operator, pairs in row.get("Condition", {}).items()
            for key, value in pairs.items()
        )
    )


def _holds(operator: str, wanted: str, found: str | None) -> bool:
    if found is None:
        return False
    same = {"StringEquals": found == wanted, "Bool": found == wanted}
    return _like(wanted, found) if operator == "StringLike" else same[operator]


def _like(pattern: str, text: str, flags: int = 0) -> bool:
    parts = (
        {"*": ".*", "?": "."}.get(part, re.escape(part)) for part in re.split(r"([*?])", pattern)
    )
    return re.fullmatch("".join(parts), text, flags | re.DOTALL) is not None


def _sagemaker(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    action = f"sagemaker:{operation}"
    if operation in ("ListTags", "AddTags"):
        yield Need(action, params["ResourceArn"].lower())
        return
    if operation.startswith("List"):
        yield Need(action)
        return
    # Creating and updating an endpoint asks for its config, too; what else is named needs no right.
    both = operation in ("CreateEndpoint", "UpdateEndpoint")
    key = next(key for key in _HOSTED if key in params and (not both or key == "EndpointName"))
    kinds = [key, "EndpointConfigName"] if both else [key]
    for each in kinds:
        yield Need(action, arn("sagemaker", f"{_HOSTED[each]}/{params[each].lower()}"))
    if params.get("Tags"):
        yield Need("sagemaker:AddTags", arn("sagemaker", f"{_HOSTED[key]}/{params[key].lower()}"))
    if "ExecutionRoleArn" in params:
        passed = {"iam:PassedToService": "sagemaker.amazonaws.com"}
        yield Need("iam:PassRole", params["ExecutionRoleArn"], passed)


def _s3(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    bucket = f"arn:aws:s3:::{params['Bucket']}"
    action = f"s3:{_S3.get(operation, operation)}"
    if operation == "DeleteObjects":
        for row in params["Delete"]["Objects"]:
            yield Need("s3:DeleteObject", f"{bucket}/{row['Key']}")
        return
    yield Need(action, f"{bucket}/{params['Key']}" if "Key" in params else bucket)
    if params.get("Tagging") and "Key" in params:
        yield Need("s3:PutObjectTagging", f"{bucket}/{params['Key']}")
    if operation == "CopyObject":
        source = f"arn:aws:s3:::{params['CopySource']['Bucket']}/{params['CopySource']['Key']}"
        yield Need("s3:GetObject", source)


def _iam(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    if operation == "SimulatePrincipalPolicy":
        yield Need(f"iam:{operation}", params["PolicySourceArn"].replace(":sts:", ":iam:"))
        return
    role = f"arn:aws:iam::{ACCOUNT}:role/{params['RoleName']}"
    yield Need(f"iam:{operation}", role)
    if params.get("Tags"):
        yield Need("iam:TagRole", role)


def _cloudwatch(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    action = f"cloudwatch:{operation}"
    if operation == "GetMetricStatistics":
        yield Need(action)
    elif operation == "DescribeAlarms" and "CompositeAlarm" in params["AlarmTypes"]:
        # Alarms of ours are never composite: those that a narrow right hides are not missed.
        ours = all(name.startswith("deployer/") for name in params["AlarmNames"])
        names = params["AlarmNames"] if ours else ["*"]
        yield from (Need(action, arn("cloudwatch", f"alarm:{n}") if ours else "*") for n in names)
    elif operation == "DescribeAlarms":
        yield Need(action, arn("cloudwatch", f"alarm:{params['AlarmNamePrefix']}"))
    elif operation == "ListTagsForResource":
        yield Need(action, params["ResourceARN"])
    else:
        names = params.get("AlarmNames") or [params["AlarmName"]]
        for name in names:
            yield Need(action, arn("cloudwatch", f"alarm:{name}"))
            if params.get("Tags"):
                yield Need("cloudwatch:TagResource", arn("cloudwatch", f"alarm:{name}"))


def _logs(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    if operation == "DescribeLogGroups":
        yield Need("logs:DescribeLogGroups")
        return
    if "resourceArn" in params:
        yield Need(f"logs:{operation}", params["resourceArn"])
        return
    where = f"log-group:{params['logGroupName']}"
    stream = params.get("logStreamName")
    yield Need(f"logs:{operation}", arn("logs", f"{where}:log-stream:{stream}" if stream else where))  # fmt: skip


def _scaling(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    action = f"application-autoscaling:{operation}"
    if operation.startswith("Describe"):
        yield Need(action)
        return
    target = arn("application-autoscaling", "scalable-target/0ab1234c5d6e")
    yield Need(
        action,
        target,
        {
            "application-autoscaling:service-namespace": params["ServiceNamespace"],
            "application-autoscaling:scalable-dimension": params["ScalableDimension"],
        },
    )
    if (
        operation == "RegisterScalableTarget"
    ):  # in the caller's name, as the guide for SageMaker says
        endpoint = params["ResourceId"].split("/")[1].lower()
        for act in ("DescribeEndpoint", "UpdateEndpointWeightsAndCapacities"):
            yield Need(f"sagemaker:{act}", arn("sagemaker", f"endpoint/{endpoint}"))
        service = "sagemaker.application-autoscaling.amazonaws.com"
        yield Need(
            "iam:CreateServiceLinkedRole",
            f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}/"
            "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
            {"iam:AWSServiceName": service},
        )
        if params.get("Tags"):
            context = {f"aws:RequestTag/{key}": value for key, value in params["Tags"].items()}
            yield Need("application-autoscaling:TagResource", target, context)
    if params.get("PolicyType") == "TargetTrackingScaling":
        alarm = f"alarm:TargetTracking-{params['ResourceId']}-AlarmHigh-0ab1"
        for act in ("PutMetricAlarm", "DescribeAlarms", "DeleteAlarms"):
            yield Need(f"cloudwatch:{act}", arn("cloudwatch", alarm))


def _ecr(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    yield Need(f"ecr:{operation}", arn("ecr", f"repository/{params['repositoryName']}"))


def _quotas(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    yield Need(f"servicequotas:{operation}")


def _sts(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    assert operation == "GetCallerIdentity"  # AWS: no permissions are required
    return iter(())
