"""Service quotas, as far as the caller may read them."""

from __future__ import annotations

from deployer.aws.session import Aws, ClientError, translated


def sagemaker_quotas(aws: Aws) -> dict[str, float] | None:
    """Return the applied quotas by name; None when they cannot be asked."""
    client = aws.client("service-quotas")
    found: dict[str, float] = {}
    with translated("reading service quotas"):
        try:
            for page in client.get_paginator("list_service_quotas").paginate(
                ServiceCode="sagemaker"
            ):
                found |= {row["QuotaName"]: float(row["Value"]) for row in page["Quotas"]}
        except ClientError:  # not every caller may read quotas: the plan then says so
            return None
    return found


def quota(aws: Aws, service: str, code: str) -> float | None:
    """Return an applied quota by its code; None when it cannot be asked."""
    with translated(f"reading quota {code}"):
        try:
            answer = aws.client("service-quotas").get_service_quota(
                ServiceCode=service, QuotaCode=code
            )
        except ClientError:  # as above
            return None
    return float(answer["Quota"]["Value"])
