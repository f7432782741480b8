from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import InputError, UnknownPrice
from deployer.pricing.book import Gap, InstanceShape, Price, PriceBook, Sku, index


def price(service: str, region: str, item: str, usd: str = "0.1") -> Price:
    return Price(Sku(service, region, item), "instance-hour", Decimal(usd), "a table", "2026-05-20")


BOOK = PriceBook(
    prices=index(
        [
            price("ec2", "us-east-1", "c5.large", "0.085"),
            price("ec2", "us-east-1", "c5.xlarge", "0.17"),
            price("ec2", "eu-west-1", "c5.large", "0.096"),
            price("ec2", "eu-west-1", "g5.xlarge", "1.123"),
            price("sagemaker-hosting", "us-east-1", "ml.c5.large", "0.102"),
        ]
    ),
    taken="2026-11-20",
    digest="d",
    gaps=(
        Gap("sagemaker-hosting", "*", "ml.t3.*", "SageMaker publishes no hosting price for it"),
        Gap("ec2", "eu-west-1", "g6.*", "the source lists none there"),
    ),
    instances={"c5.large": InstanceShape(2, 4)},
)


def test_lookup_returns_the_one_price_with_source_and_date() -> None:
    found = BOOK.lookup("ec2", "us-east-1", "c5.large")
    assert (found.usd, found.source, found.as_of) == (Decimal("0.085"), "a table", "2026-05-20")


def test_unknown_price_names_the_key_and_near_misses() -> None:
    with pytest.raises(UnknownPrice) as caught:
        BOOK.lookup("ec2", "us-east-1", "c5.larg")
    assert "ec2/us-east-1/c5.larg" in caught.value.message
    assert caught.value.hint == "near in us-east-1: c5.large, c5.xlarge"


def test_price_of_another_region_is_named_but_not_used() -> None:
    with pytest.raises(UnknownPrice) as caught:
        BOOK.lookup("ec2", "us-east-1", "g5.xlarge")
    assert "priced in eu-west-1; no price is carried between regions" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("region", "item", "reason"),
    [
        ("us-east-1", "ml.t3.medium", "SageMaker publishes no hosting price for it"),
        ("eu-west-1", "ml.t3.xlarge", "SageMaker publishes no hosting price for it"),
    ],
)
def test_known_gap_gives_its_reason(region: str, item: str, reason: str) -> None:
    with pytest.raises(UnknownPrice, match=reason):
        BOOK.lookup("sagemaker-hosting", region, item)


def test_gap_of_one_region_says_nothing_of_another() -> None:
    with pytest.raises(UnknownPrice) as caught:
        BOOK.lookup("ec2", "us-east-1", "g6.xlarge")
    assert caught.value.message == "no price for ec2/us-east-1/g6.xlarge"


def test_unknown_service_lists_the_known_ones() -> None:
    with pytest.raises(UnknownPrice) as caught:
        BOOK.lookup("lambda", "us-east-1", "c5.large")
    assert caught.value.hint == "services with prices: ec2, sagemaker-hosting"


def test_two_prices_for_one_key_are_refused() -> None:
    with pytest.raises(UnknownPrice, match=r"two prices for ec2/us-east-1/c5.large: 0.085.*0.09"):
        index(
            [
                price("ec2", "us-east-1", "c5.large", "0.085"),
                price("ec2", "us-east-1", "c5.large", "0.09"),
            ]
        )


@pytest.mark.parametrize("usd", ["0", "-0.1", "NaN", "Infinity"])
def test_price_that_is_not_positive_is_refused(usd: str) -> None:
    with pytest.raises(InputError, match="not a positive amount"):
        price("ec2", "us-east-1", "c5.large", usd)


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 5),
        ({"service": "ec2"}, 4),
        ({"service": "ec2", "region": "eu-west-1"}, 2),
        ({"item": "c5"}, 4),
        ({"item": "c5.*"}, 3),
        ({"item": "*.large"}, 3),
    ],
)
def test_search_takes_patterns_and_parts(filters: dict[str, str], count: int) -> None:
    found = BOOK.search(**filters)
    assert len(found) == count
    assert [p.sku for p in found] == sorted(p.sku for p in found)


def test_search_without_a_match_names_what_is_near() -> None:
    with pytest.raises(UnknownPrice) as caught:
        BOOK.search(service="ec2", item="c5.lrge")
    assert caught.value.message == "no price fits ec2/*/c5.lrge"
    assert "c5.large" in str(caught.value.hint)


def test_search_in_a_known_gap_gives_its_reason() -> None:
    with pytest.raises(UnknownPrice) as caught:
        BOOK.search(service="hosting", item="t3.medium")
    assert caught.value.hint == "sagemaker-hosting: SageMaker publishes no hosting price for it"


def test_shape_is_found_with_and_without_ml() -> None:
    assert BOOK.shape("ml.c5.large") == BOOK.shape("c5.large") == InstanceShape(2, 4)
    assert BOOK.shape("c9.large") is None


keys = st.sampled_from(sorted(BOOK.prices)) | st.builds(Sku, st.text(), st.text(), st.text())


@given(keys)
def test_lookup_answers_exactly_the_key_or_names_it(sku: Sku) -> None:
    if sku in BOOK.prices:
        assert BOOK.lookup(sku.service, sku.region, sku.item).sku == sku
        return
    with pytest.raises(UnknownPrice) as caught:
        BOOK.lookup(sku.service, sku.region, sku.item)
    assert str(sku) in caught.value.message
