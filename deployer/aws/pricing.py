"""AWS Price List pages, raw."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from deployer.aws import session
from deployer.errors import DeployerError

ENDPOINT_REGION = "us-east-1"
"""Where the API answers, for prices of every region: it exists in three regions only."""


def client() -> Any:
    """Return a Price List client; needs ``pricing:GetProducts``."""
    return session.client("pricing", ENDPOINT_REGION)


def products(
    client: Any, service_code: str, attributes: Mapping[str, str]
) -> Iterator[Mapping[str, Any]]:
    """Yield the products of a service whose attributes equal ``attributes``, over all pages.

    Raises EnvironmentProblem when AWS cannot be asked and DeployerError when it refuses or its answer
    is not JSON.
    """
    filters = [
        {"Type": "TERM_MATCH", "Field": field, "Value": value}
        for field, value in sorted(attributes.items())
    ]
    with session.translated(f"reading prices of {service_code}"):
        pages = client.get_paginator("get_products").paginate(
            ServiceCode=service_code, Filters=filters, FormatVersion="aws_v1"
        )
        for page in pages:
            for item in page["PriceList"]:
                yield _parse(service_code, item)


def _parse(service_code: str, item: str) -> Mapping[str, Any]:
    try:
        product: Mapping[str, Any] = json.loads(item)
    except ValueError as error:
        raise DeployerError(
            f"reading prices of {service_code}: a product is not JSON: {error}"
        ) from error
    return product
