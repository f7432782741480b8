"""What everything in AWS that belongs to a deployment is called, and the tags that say whose it is.

Both routes, both AWS targets, the policies and teardown find one another's things by these names alone.
"""

from __future__ import annotations

SHORT = 12
"""Hex digits of a hash in a name."""

NAME_TAG = "deployer:name"
DIGEST_TAG = "deployer:digest"
VERSION_TAG = "deployer:version"
EXPIRES_TAG = "deployer:expires"

PREVIOUS_TAG = "deployer:previous"
"""On the endpoint: the config that it ran before, which a rollback goes back to.

It is written before a change and must be true before it and after it, for whoever writes it may be cut off in
between: so it names two, and the first that the endpoint does not run is the one before.
"""

SHARED_TAG = "deployer:shared"
"""On a bucket that deployer made: it goes when it is empty."""

BUCKET_TAG = "deployer:bucket"
"""On the role: where the deployment's objects lie."""

STACK_TAG = "aws:cloudformation:stack-name"
"""On what CloudFormation made: only it may change or remove that."""

ENDPOINT_LOGS = "/aws/sagemaker/Endpoints/"
"""What the names of endpoints' log groups start with; SageMaker chose it."""

JOB_LOGS = "/aws/sagemaker/TransformJobs"
"""The one log group of all batch jobs; SageMaker chose it."""


def bucket(account: str, region: str) -> str:
    """Return the bucket that is used unless the specification names one."""
    return f"deployer-{account}-{region}"


def objects(name: str) -> str:
    """Return what the keys of a deployment's objects start with."""
    return f"deployer/{name}/"


def bundles(name: str) -> str:
    """Return what the keys of a deployment's bundles start with: one folder for each digest."""
    return f"{objects(name)}bundles/"


def bundle_key(name: str, digest: str, *, files: bool = False) -> str:
    """Return the key of a bundle's archive, or with ``files`` what the keys of its files start with."""
    return f"{bundles(name)}{digest}/" + ("model/" if files else "model.tar.gz")


def documents(name: str) -> str:
    """Return what the keys of the documents start with that a fleet has run."""
    return f"{objects(name)}documents/"


def stack(name: str) -> str:
    """Return the name of a deployment's CloudFormation stack, whichever the target."""
    return f"deployer-{name}"


def group(name: str) -> str:
    """Return the name of a fleet's Auto Scaling group, which its queue has too."""
    return stack(name)


def dead_letters(queue: str) -> str:
    """Return the name of a queue's dead-letter queue."""
    return f"{queue}-dead"


def role(name: str, region: str) -> str:
    """Return the name of the role that is made for a deployment: IAM has one name space for all regions."""
    return f"deployer-{name}-{region}"


def dashboard(name: str, region: str) -> str:
    """Return the name of a deployment's dashboard: CloudWatch has one name space for all regions."""
    return f"deployer-{name}-{region}"


def alarms(name: str) -> str:
    """Return what the names of a deployment's alarms start with; a slash is in no deployment's name."""
    return f"deployer/{name}/"


def fleet_logs(name: str) -> str:
    """Return the log group of a fleet; a slash is in no deployment's name."""
    return f"/deployer/{name}"


def endpoint_logs(name: str) -> str:
    """Return the log group of an endpoint."""
    return f"{ENDPOINT_LOGS}{name}"
