"""The two least-privilege policies of a pipeline: what planning asks of IAM, and what deploying asks. Pure.

``plan`` reads; ``deploy`` is what the deploying role needs on top of it, so that each fits into a managed policy:
to make, update, roll back and destroy one deployment by the SDK route, push its image, and take the CDK's roles.
Statements name the deployment's own resources. ``*`` stands only where AWS knows no narrower resource: lists,
metrics, quotas, Application Auto Scaling's reads, a registry password. Names of resources in SageMaker's ARNs are in
lower case. ``deployer reap`` looks at every endpoint of the account, and invoking asks for
``sagemaker:InvokeEndpoint``: neither is in these.

Sources: AWS's Service Authorization Reference (the tests ask a copy of it), and for what calls do in the caller's
name the guides of Application Auto Scaling for SageMaker and of the CDK's bootstrap stack. Nothing of it was tried
in a real account.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from deployer.errors import InputError
from deployer.spec import naming
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved, Statement
from deployer.spec.target import Ec2Fleet

CDK_QUALIFIER = "hnb659fds"
"""In the names of the roles that ``cdk bootstrap`` makes unless told otherwise."""

_SERVICE_LINKED = "sagemaker.application-autoscaling.amazonaws.com"
PULL = ("ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer")
PUSH = (
    "ecr:BatchCheckLayerAvailability", "ecr:CompleteLayerUpload", "ecr:CreateRepository",
    "ecr:DescribeRepositories", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:TagResource",
    "ecr:UploadLayerPart",
)  # fmt: skip


@dataclass(frozen=True)
class Scope:
    """One deployment in one account and region; words in capitals stand for what is not known.

    ``caller`` is the role that the policy is for, as an ARN ends (``role/NAME``, ``user/NAME``). ``image`` is an
    image that is given, ``role_arn`` an execution role that is given, ``alarms`` the user's own. ``fleet``: it is for
    an EC2 fleet, see ``fleet_policies``, not for SageMaker.
    """

    name: str = "NAME"
    account: str = "ACCOUNT_ID"
    region: str = "REGION"
    partition: str = "aws"
    caller: str = "role/CALLER_ROLE"
    bucket: str = ""
    image: str = ""
    role_arn: str = ""
    kms_key_arn: str = ""
    alarms: tuple[str, ...] = field(default=())
    fleet: bool = False

    def arn(self, service: str, rest: str) -> str:
        """Return an ARN of this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{rest}"

    def role(self, rest: str) -> str:
        """Return an ARN of IAM, which knows no region."""
        return f"arn:{self.partition}:iam::{self.account}:{rest}"

    @property
    def lower(self) -> str:
        """The name in lower case, as SageMaker's ARNs and ECR's repositories have it."""
        return self.name if self.name == Scope.name else self.name.lower()

    @property
    def bucket_arn(self) -> str:
        """The bucket of the deployment's objects."""
        name = self.bucket or naming.bucket(self.account, self.region)
        return f"arn:{self.partition}:s3:::{name}"

    @property
    def execution_role(self) -> str:
        """The role that the containers run as."""
        return self.role_arn or self.role(f"role/{naming.role(self.name, self.region)}")

    def hosted(self, *kinds: str) -> tuple[str, ...]:
        """Return the ARNs of the deployment's SageMaker resources of these kinds."""
        return tuple(
            self.arn("sagemaker", f"{kind}/{self.lower}" + ("" if kind == "endpoint" else "-*"))
            for kind in kinds
        )


def scope(
    source: DeploymentSpec | Resolved | ResolvedFleet | None,
    *,
    account: str = "",
    region: str = "",
    caller: str = "",
) -> Scope:
    """Return the scope of a specification or a resolved document; None leaves words in capitals.

    Raises InputError for a target that is not in AWS, and for an account or region other than it names.
    """
    spec = source if isinstance(source, DeploymentSpec) or source is None else source.spec
    if account and not (account.isdigit() and len(account) == 12):
        raise InputError(f"{account!r} is no number of an account: it has 12 digits")
    if caller and "/" not in caller:
        caller = f"role/{caller}"
    named = (("account", account), ("caller", caller))
    given: dict[str, Any] = {key: value for key, value in named if value}
    if spec is None:
        return Scope(region=region or Scope.region, **given)
    fleet = isinstance(spec.target, Ec2Fleet)
    if not fleet and not spec.target.kind.startswith("sagemaker-"):
        raise InputError(
            f"{spec.name!r} has the target {spec.target.kind}; the policies are for AWS's"
        )
    place = None if isinstance(source, DeploymentSpec) or source is None else source.place
    stated = place.region if place else spec.target.region
    if region and stated and region != stated:
        raise InputError(f"{spec.name!r} is for {stated}, not for {region}")
    if place and account and account != place.account:
        raise InputError(f"{spec.name!r} is resolved for {place.account}, not for {account}")
    if place:
        given |= {"account": place.account, "partition": place.partition}
    return Scope(
        name=spec.name,
        region=region or stated or Scope.region,
        bucket=spec.target.bucket,
        image=spec.target.image_uri,
        role_arn=spec.target.role_arn,
        kms_key_arn=spec.target.kms_key_arn,
        alarms=spec.rollout.alarms,
        fleet=fleet,
        **given,
    )


def plan(on: Scope) -> Iterator[Statement]:
    """Yield what planning and looking ask for."""
    kinds = ("endpoint", "endpoint-config", "model", "transform-job")
    describe = tuple(f"sagemaker:Describe{_camel(kind)}" for kind in kinds)
    yield Statement("ReadHosting", (*describe, "sagemaker:ListTags"), on.hosted(*kinds))
    yield Statement(
        "ListAndMeasure",  # AWS knows no resource for these
        (
            "application-autoscaling:DescribeScalableTargets",
            "application-autoscaling:DescribeScalingPolicies",
            "application-autoscaling:DescribeScheduledActions",
            "cloudwatch:GetMetricStatistics",
            "logs:DescribeLogGroups",
            "sagemaker:ListEndpointConfigs",
            "sagemaker:ListModels",
            "sagemaker:ListTransformJobs",
            "servicequotas:ListServiceQuotas",
        ),
        ("*",),
    )
    yield from bundles_and_alarms(on)
    role = ("iam:GetRole", "iam:GetRolePolicy", "iam:ListRolePolicies", "iam:ListRoleTags")
    yield Statement("ReadRole", role, (on.execution_role,))
    yield Statement("AskAboutMyself", ("iam:SimulatePrincipalPolicy",), (on.role(on.caller),))
    registry = repository(on)
    if registry:
        yield Statement("ReadImage", PULL, (registry,))
    yield Statement(
        "ReadLogs",
        ("logs:DescribeLogStreams", "logs:GetLogEvents", "logs:ListTagsForResource"),
        (
            on.arn("logs", f"log-group:{naming.endpoint_logs(on.name)}"),
            on.arn("logs", f"log-group:{naming.endpoint_logs(on.name)}:*"),
            on.arn("logs", f"log-group:{naming.JOB_LOGS}"),
            on.arn("logs", f"log-group:{naming.JOB_LOGS}:log-stream:{on.name}-*"),
        ),
    )
    yield cdk(on, "LookUpWithCdk", "lookup")


def bundles_and_alarms(on: Scope) -> Iterator[Statement]:
    """Yield what reading the bundles and the alarms of any deployment asks for."""
    bucket = ("s3:GetBucketTagging", "s3:ListBucket", "s3:ListBucketMultipartUploads")
    yield Statement("ReadBucket", bucket, (on.bucket_arn,))
    objects = f"{on.bucket_arn}/{naming.objects(on.name)}*"
    yield Statement("ReadObjects", ("s3:GetObject",), (objects,))
    alarms = on.arn("cloudwatch", f"alarm:deployer/{on.name}/*")
    yield Statement("ReadAlarms", ("cloudwatch:ListTagsForResource",), (alarms,))
    # Composite alarms are shown only to those who may describe all.
    watched = "*" if on.alarms else alarms
    yield Statement("WatchAlarms", ("cloudwatch:DescribeAlarms",), (watched,))


def deploy(on: Scope) -> Iterator[Statement]:
    """Yield what deploying, pushing an image and destroying ask for on top of it."""
    hosting = on.hosted("endpoint", "endpoint-config", "model")
    kinds = ("EndpointConfig", "Endpoint", "Model")
    acts = [f"sagemaker:{verb}{kind}" for kind in kinds for verb in ("Create", "Delete")]
    acts += ["sagemaker:AddTags", "sagemaker:UpdateEndpoint"]
    yield Statement(
        "Host", (*acts, "sagemaker:UpdateEndpointWeightsAndCapacities"), hosting
    )  # fmt: skip
    jobs = ("sagemaker:StopTransformJob",)
    yield Statement("StopJobs", jobs, on.hosted("transform-job"))
    yield Statement(
        "Scale",
        tuple(
            f"application-autoscaling:{act}"
            for act in (
                "DeleteScalingPolicy", "DeleteScheduledAction", "DeregisterScalableTarget",
                "PutScalingPolicy", "PutScheduledAction", "RegisterScalableTarget",
            )
        ),
        (on.arn("application-autoscaling", "scalable-target/*"),),
        {"StringEquals/application-autoscaling:service-namespace": "sagemaker"},
    )  # fmt: skip
    tagged = ("application-autoscaling:TagResource",)
    scalable = (on.arn("application-autoscaling", "scalable-target/*"),)
    yield Statement("TagScaling", tagged, scalable, {"StringEquals/aws:RequestTag/deployer:name": on.name})  # fmt: skip
    service = "aws-service-role/sagemaker.application-autoscaling.amazonaws.com"
    linked = f"role/{service}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    once = {"StringLike/iam:AWSServiceName": _SERVICE_LINKED}
    yield Statement("ScaleOnce", ("iam:CreateServiceLinkedRole",), (on.role(linked),), once)
    # Application Auto Scaling makes the alarms of target tracking in the caller's name.
    tracking = f"alarm:TargetTracking-endpoint/{on.name}/*"
    alarms = (
        on.arn("cloudwatch", f"alarm:deployer/{on.name}/*"),
        on.arn("cloudwatch", tracking),
    )
    acts = ["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"]
    yield Statement("Alarm", tuple(acts), alarms)
    if not on.alarms:
        yield Statement("WatchTracking", ("cloudwatch:DescribeAlarms",), alarms[1:])
    yield from storage(on)
    role = on.execution_role
    if not on.role_arn:
        own = ("CreateRole", "DeleteRole", "DeleteRolePolicy", "PutRolePolicy", "TagRole")
        yield Statement("OwnRole", tuple(f"iam:{act}" for act in own), (role,))
    passed = {"StringEquals/iam:PassedToService": "sagemaker.amazonaws.com"}
    yield Statement("PassRole", ("iam:PassRole",), (role,), passed)
    registry = repository(on)
    if registry and not on.image:
        yield Statement("PushImage", PUSH, (registry,))
        yield Statement("LogInToRegistry", ("ecr:GetAuthorizationToken",), ("*",))
    group = on.arn("logs", f"log-group:{naming.endpoint_logs(on.name)}")
    mark = ("logs:DeleteLogGroup", "logs:TagResource")
    yield Statement("DeleteLogs", mark, (group, f"{group}:*"))
    yield cdk(on, "DeployWithCdk", "deploy", "file-publishing")


def storage(on: Scope) -> Iterator[Statement]:
    """Yield what keeping bundles in the bucket asks for."""
    acts = ("CreateBucket", "DeleteBucket", "PutBucketPublicAccessBlock", "PutBucketTagging")
    yield Statement("OwnBucket", tuple(f"s3:{act}" for act in acts), (on.bucket_arn,))
    objects = f"{on.bucket_arn}/{naming.objects(on.name)}*"
    writes = (
        "AbortMultipartUpload", "DeleteObject", "GetObjectTagging", "ListMultipartUploadParts",
        "PutObject", "PutObjectTagging",
    )  # fmt: skip
    yield Statement("WriteObjects", tuple(f"s3:{act}" for act in writes), (objects,))
    if on.kms_key_arn:
        use = ("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey")
        yield Statement("UseKey", use, (on.kms_key_arn,))
        only = {"Bool/kms:GrantIsForAWSResource": "true"}
        yield Statement("GrantKey", ("kms:CreateGrant",), (on.kms_key_arn,), only)


def cdk(on: Scope, sid: str, *words: str) -> Statement:
    """The roles of ``cdk bootstrap`` do the CDK's work; the caller only takes them."""
    roles = (f"role/cdk-{CDK_QUALIFIER}-{word}-role-{on.account}-{on.region}" for word in words)
    return Statement(sid, ("sts:AssumeRole",), tuple(on.role(role) for role in roles))


def repository(on: Scope) -> str:
    """Return the ARN of the image's repository; empty when the image that is given is not in ECR."""
    if not on.image:
        return on.arn("ecr", f"repository/deployer/{on.lower}")
    host, _, rest = on.image.partition("/")
    words = host.split(".")
    if len(words) < 4 or words[1:3] != ["dkr", "ecr"]:
        return ""
    name = rest.partition("@")[0].partition(":")[0]
    return f"arn:{on.partition}:ecr:{words[3]}:{words[0]}:repository/{name}"


def _camel(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.split("-"))
