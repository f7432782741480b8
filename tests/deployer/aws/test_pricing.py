"""Against botocore's own validation of requests and answers (Stubber); no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from deployer.aws import pricing
from deployer.errors import DeployerError, EnvironmentProblem


@pytest.fixture
def stubbed() -> Iterator[tuple[Any, Stubber]]:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test")
    client = session.client("pricing", region_name="us-east-1")
    with Stubber(client) as stubber:
        yield client, stubber


def request(**extra: str) -> dict[str, Any]:
    return {
        "ServiceCode": "AmazonEC2",
        "FormatVersion": "aws_v1",
        "Filters": [
            {"Type": "TERM_MATCH", "Field": "instanceType", "Value": "c5.large"},
            {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "us-east-1"},
        ],
        **extra,
    }


WANTED = {"regionCode": "us-east-1", "instanceType": "c5.large"}


def page(*skus: str, token: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = {"PriceList": [json.dumps({"product": {"sku": s}}) for s in skus]}
    return answer | ({"NextToken": token} if token else {})


def test_products_follow_every_page(stubbed: tuple[Any, Stubber]) -> None:
    client, stubber = stubbed
    stubber.add_response("get_products", page("A", "B", token="more"), request())
    stubber.add_response("get_products", page("C"), request(NextToken="more"))
    found = [p["product"]["sku"] for p in pricing.products(client, "AmazonEC2", WANTED)]
    assert found == ["A", "B", "C"]
    stubber.assert_no_pending_responses()


def test_denied_access_names_the_code_and_what_to_check(stubbed: tuple[Any, Stubber]) -> None:
    client, stubber = stubbed
    stubber.add_client_error("get_products", "AccessDeniedException", "not yours", 400)
    with pytest.raises(EnvironmentProblem, match="AmazonEC2: AWS answered AccessDenied") as caught:
        list(pricing.products(client, "AmazonEC2", WANTED))
    assert "permissions" in str(caught.value.hint)


def test_other_refusal_is_told(stubbed: tuple[Any, Stubber]) -> None:
    client, stubber = stubbed
    stubber.add_client_error("get_products", "NotFoundException", "no such service", 400)
    with pytest.raises(DeployerError, match="NotFoundException: no such service"):
        list(pricing.products(client, "AmazonEC2", WANTED))


def test_answer_that_is_not_json_is_refused(stubbed: tuple[Any, Stubber]) -> None:
    client, stubber = stubbed
    stubber.add_response("get_products", {"PriceList": ["{"]}, request())
    with pytest.raises(DeployerError, match="a product is not JSON"):
        list(pricing.products(client, "AmazonEC2", WANTED))


def test_missing_credentials_are_an_environment_problem() -> None:
    with pytest.raises(EnvironmentProblem, match="credentials") as caught:
        list(pricing.products(pricing.client(), "AmazonEC2", WANTED))
    assert "configure credentials" in str(caught.value.hint)
