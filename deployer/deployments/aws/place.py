"""Where a deployment goes: the account and region that the credentials are of, and the bucket there."""

from __future__ import annotations

from deployer.aws.session import Aws
from deployer.errors import InputError
from deployer.spec import naming
from deployer.spec.resolved import Place


def place_of(aws: Aws) -> Place:
    """Return account and region. Raises EnvironmentProblem for credentials that do not hold."""
    account, partition = aws.identity
    return Place(account, aws.region, aws.region_source, partition, aws.profile)


def bucket_of(aws: Aws) -> str:
    """Return the bucket that is used there unless a specification names one."""
    return naming.bucket(aws.identity[0], aws.region)


def refuse_other(aws: Aws, stated: Place) -> None:
    """Raise InputError when the credentials or the region are others than a document's."""
    place = place_of(aws)
    if (place.account, place.region) != (stated.account, stated.region):
        raise InputError(
            f"resolved for account {stated.account} in {stated.region}; these credentials are of "
            f"{place.account} in {place.region}",
            hint="use the other credentials, or plan again",
        )
