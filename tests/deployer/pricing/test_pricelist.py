"""Products in the shape of AWS's answers: the EC2 one has real field names and values, the rest vary it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import InputError, NotSupported, UnknownPrice
from deployer.pricing import pricelist, snapshot
from deployer.pricing.book import Sku

TERM, RATE = "JRTCKXETXF", "6YS6EN2CT7"

EC2_SKU = Sku("ec2", "us-east-1", "c5.xlarge")
EC2_ATTRIBUTES = {
    "capacitystatus": "Used",
    "instanceType": "c5.xlarge",
    "licenseModel": "No License required",
    "location": "US East (N. Virginia)",
    "locationType": "AWS Region",
    "memory": "8 GiB",
    "operatingSystem": "Linux",
    "operation": "RunInstances",
    "preInstalledSw": "NA",
    "servicecode": "AmazonEC2",
    "tenancy": "Shared",
    "usagetype": "BoxUsage:c5.xlarge",
    "vcpu": "4",
}
HOST_SKU = Sku("sagemaker-hosting", "us-east-1", "ml.c5.xlarge")
HOST_ATTRIBUTES = {
    "component": "Hosting",
    "instanceName": "ml.c5.xlarge",
    "instanceType": "ml.c5.xlarge-Hosting",
    "memory": "8 GiB",
    "operation": "RunInstance",
    "regionCode": "us-east-1",
    "usagetype": "USE1-Host:ml.c5.xlarge",
    "vCpu": "4",
}


def product(
    attributes: Mapping[str, str],
    usd: str = "0.1700000000",
    *,
    unit: str = "Hrs",
    family: str = "Compute Instance",
    code: str = "SKU0001",
) -> dict[str, Any]:
    key = f"{code}.{TERM}"
    dimension = {
        "appliesTo": [],
        "beginRange": "0",
        "description": "per hour",
        "endRange": "Inf",
        "pricePerUnit": {"USD": usd},
        "rateCode": f"{key}.{RATE}",
        "unit": unit,
    }
    term = {
        "effectiveDate": "2020-06-01T00:00:00Z",
        "offerTermCode": TERM,
        "priceDimensions": {f"{key}.{RATE}": dimension},
        "sku": code,
        "termAttributes": {},
    }
    return {
        "product": {"productFamily": family, "attributes": dict(attributes), "sku": code},
        "serviceCode": "AmazonEC2",
        "publicationDate": "2020-06-18T22:18:09Z",
        "terms": {"OnDemand": {key: term}, "Reserved": {}},
    }


def dimensions(item: dict[str, Any]) -> dict[str, Any]:
    (term,) = item["terms"]["OnDemand"].values()
    found: dict[str, Any] = term["priceDimensions"]
    return found


def only_dimension(item: dict[str, Any]) -> dict[str, Any]:
    (found,) = dimensions(item).values()
    assert isinstance(found, dict)
    return found


def hosting(usd: str = "0.2040000000", **changes: str) -> dict[str, Any]:
    code = changes.pop("code", "SKU0001")
    return product(HOST_ATTRIBUTES | changes, usd, family="ML Instance", code=code)


def test_ec2_product_is_read_by_location_where_it_has_no_region_code() -> None:
    price = pricelist.read(EC2_SKU, [product(EC2_ATTRIBUTES)])
    assert (price.usd, price.unit, price.as_of) == (Decimal("0.17"), "instance-hour", "2020-06-18")
    assert price.source == "AWS Price List, product SKU0001"


def test_hosting_product_is_read() -> None:
    assert pricelist.read(HOST_SKU, [hosting()]).usd == Decimal("0.204")


def test_other_components_of_the_same_instance_are_passed_over() -> None:
    others = [hosting("0.1", component=c) for c in ("Notebook", "Training", "AsyncInf")]
    assert pricelist.read(HOST_SKU, [*others, hosting()]).usd == Decimal("0.204")
    with pytest.raises(UnknownPrice, match="holds 0: none"):
        pricelist.read(HOST_SKU, others)


@pytest.mark.parametrize(
    "change",
    [
        {"operatingSystem": "Windows"},
        {"tenancy": "Dedicated"},
        {"preInstalledSw": "SQL Std"},
        {"capacitystatus": "UnusedCapacityReservation"},
        {"marketoption": "CapacityBlock"},
        {"instanceType": "c5.2xlarge"},
        {"regionCode": "eu-west-1"},
        {"location": "EU (Ireland)"},
    ],
    ids=lambda change: "-".join(change),
)
def test_ec2_product_of_another_kind_is_passed_over(change: dict[str, str]) -> None:
    with pytest.raises(UnknownPrice, match=r"exactly one product for ec2/us-east-1/c5.xlarge"):
        pricelist.read(EC2_SKU, [product(EC2_ATTRIBUTES | change, "0.0000000000")])


def test_several_matches_are_refused_by_name() -> None:
    with pytest.raises(UnknownPrice, match="holds 2: A, B"):
        pricelist.read(HOST_SKU, [hosting(code="B"), hosting(code="A")])


def test_first_tier_is_taken() -> None:
    item = hosting("0.3000000000")
    later = copy.deepcopy(only_dimension(item)) | {
        "beginRange": "1000000",
        "pricePerUnit": {"USD": "0.0200000000"},
    }
    dimensions(item)["cheap tier first"] = later
    assert pricelist.read(HOST_SKU, [item]).usd == Decimal("0.3")


def test_two_first_tiers_are_refused() -> None:
    item = hosting()
    dimensions(item)["again"] = copy.deepcopy(only_dimension(item))
    with pytest.raises(UnknownPrice, match="2 first tiers"):
        pricelist.read(HOST_SKU, [item])


def test_two_on_demand_terms_are_refused() -> None:
    item = hosting()
    terms = item["terms"]["OnDemand"]
    terms["another"] = copy.deepcopy(next(iter(terms.values())))
    with pytest.raises(UnknownPrice, match="2 on-demand terms"):
        pricelist.read(HOST_SKU, [item])


@pytest.mark.parametrize("usd", ["0.0000000000", "-1", "NaN", "Infinity"])
def test_price_that_is_not_positive_is_refused(usd: str) -> None:
    with pytest.raises(UnknownPrice, match="has the price"):
        pricelist.read(HOST_SKU, [hosting(usd)])


def test_price_that_is_no_number_is_refused() -> None:
    with pytest.raises(UnknownPrice, match="'free', which is no number"):
        pricelist.read(HOST_SKU, [hosting("free")])


def test_yuan_is_refused() -> None:
    item = hosting()
    only_dimension(item)["pricePerUnit"] = {"CNY": "1.4300000000"}
    with pytest.raises(UnknownPrice, match="priced in CNY, not in USD"):
        pricelist.read(HOST_SKU, [item])


def test_other_unit_is_refused() -> None:
    item = hosting()
    only_dimension(item)["unit"] = "Quantity"
    with pytest.raises(UnknownPrice, match="per 'Quantity', not per 'Hrs'"):
        pricelist.read(HOST_SKU, [item])


def test_serverless_is_read_by_the_end_of_its_usage_type() -> None:
    def memory(size: int, usd: str) -> dict[str, Any]:
        attributes = {
            "regionCode": "us-east-1",
            "usagetype": f"USE1-ServerlessInf:Mem-{size}GB",
        }
        return product(attributes, usd, unit="seconds", family="ML Serverless")

    sku = Sku("sagemaker-serverless", "us-east-1", "Mem-3GB")
    price = pricelist.read(sku, [memory(2, "0.00004"), memory(3, "0.0000600000")])
    assert (str(price.usd), price.unit) == ("0.00006", "second")


@pytest.mark.parametrize(
    ("item", "group"), [("data-in", "Hosting:IN"), ("data-out", "Hosting:OUT")]
)
def test_endpoint_data_is_read_by_its_group(item: str, group: str) -> None:
    products = [
        product({"regionCode": "us-east-1", "group": g}, "0.016", unit="GB", family="ML Data")
        for g in ("Hosting:IN", "Hosting:OUT")
    ]
    products[0 if group.endswith("OUT") else 1]["terms"] = {}
    price = pricelist.read(Sku("sagemaker", "us-east-1", item), products)
    assert (price.usd, price.unit) == (Decimal("0.016"), "GB")


def test_service_without_a_certain_query_is_not_supported() -> None:
    with pytest.raises(NotSupported, match="elb/us-east-1/application-load-balancer"):
        pricelist.read(Sku("elb", "us-east-1", "application-load-balancer"), [])


@pytest.mark.parametrize("missing", ["product", "terms", "publicationDate"])
def test_malformed_product_is_an_error_not_a_crash(missing: str) -> None:
    item = hosting()
    del item[missing]
    with pytest.raises(UnknownPrice, match=f"malformed: KeyError\\('{missing}'\\)"):
        pricelist.read(HOST_SKU, [item])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["product", "terms", "OnDemand", "attributes", "sku", "priceDimensions"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["product", "terms", "publicationDate"]), json_values))
def test_any_json_is_read_or_refused_as_an_unknown_price(item: dict[str, Any]) -> None:
    with pytest.raises(UnknownPrice):
        pricelist.read(HOST_SKU, [item])


def test_bulk_offer_file_gives_the_same_price() -> None:
    item = hosting()
    code = item["product"]["sku"]
    document = {
        "publicationDate": item["publicationDate"],
        "products": {code: item["product"]},
        "terms": {"OnDemand": {code: item["terms"]["OnDemand"]}, "Reserved": {}},
    }
    products = list(pricelist.bulk_products(document))
    assert pricelist.read(HOST_SKU, products) == pricelist.read(HOST_SKU, [item])


@pytest.mark.parametrize("document", [{}, {"terms": {}}, {"terms": {"OnDemand": []}}])
def test_other_document_is_no_offer_file(document: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not an AWS bulk offer file"):
        list(pricelist.bulk_products(document))


def test_refresh_replaces_what_it_can_read_and_says_what_it_cannot() -> None:
    book = snapshot.load()
    asked: list[tuple[str, Mapping[str, str]]] = []

    def fetch(service: str, attributes: Mapping[str, str]) -> Iterable[dict[str, Any]]:
        asked.append((service, attributes))
        return [hosting("0.2100000000")]

    gone = Sku("sagemaker-hosting", "us-east-1", "ml.m5.large")
    load_balancer = Sku("elb", "us-east-1", "application-load-balancer")
    result = pricelist.refresh(book, [HOST_SKU, gone, load_balancer], fetch, "2026-12-01")
    assert result.book.lookup(*_parts(HOST_SKU)).usd == Decimal("0.21")
    assert result.book.lookup(*_parts(gone)) == book.lookup(*_parts(gone))
    assert set(result.failed) == {gone, load_balancer}
    assert result.book.taken == "2026-12-01"
    assert asked[0] == (
        "AmazonSageMaker",
        {"regionCode": "us-east-1", "instanceName": "ml.c5.xlarge", "component": "Hosting"},
    )


def test_refresh_that_reads_nothing_leaves_the_book_alone() -> None:
    book = snapshot.load()
    result = pricelist.refresh(book, [HOST_SKU], lambda *_: [], "2026-12-01")
    assert result.book is book
    assert not result.updated


def _parts(sku: Sku) -> tuple[str, str, str]:
    return sku.service, sku.region, sku.item
