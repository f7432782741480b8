"""The embedded prices agree with what their sources say, and the file cannot be altered unnoticed."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pytest

from deployer.errors import InputError, UnknownPrice
from deployer.pricing import snapshot
from deployer.pricing.book import Price, Sku

BOOK = snapshot.load()
REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
TEXT = resources.files("deployer.pricing").joinpath("snapshot.json").read_text(encoding="utf-8")

# Copied by hand from the sources named, so that a slip in making the snapshot is seen.
SAMPLE = [
    # karpenter-provider-aws, generated 2026-07-20
    ("ec2", "us-east-1", "c5.large", "0.085", "instance-hour", "2026-07-20", "karpenter"),
    ("ec2", "us-east-1", "c7i.large", "0.08925", "instance-hour", "2026-07-20", "karpenter"),
    ("ec2", "us-east-1", "t3.medium", "0.0416", "instance-hour", "2026-07-20", "karpenter"),
    # AWS Price List GetProducts, component Hosting, 2026-05-20
    ("sagemaker-hosting", "us-east-1", "ml.c5.large", "0.102", "instance-hour", "2026-05-20", "Hosting"),
    ("sagemaker-hosting", "us-east-1", "ml.m5.large", "0.115", "instance-hour", "2026-05-20", "Hosting"),
    ("sagemaker-hosting", "us-east-1", "ml.g5.xlarge", "1.408", "instance-hour", "2026-05-20", "Hosting"),
    ("sagemaker-hosting", "us-east-1", "ml.g6.12xlarge", "5.752", "instance-hour", "2026-05-20", "Hosting"),
    ("sagemaker-hosting", "us-west-2", "ml.c4.large", "0.12", "instance-hour", "2026-05-20", "Hosting"),
    ("sagemaker-hosting", "eu-west-1", "ml.c4.large", "0.136", "instance-hour", "2026-05-20", "Hosting"),
    ("sagemaker-serverless", "us-east-1", "Mem-2GB", "0.00004", "second", "2026-02-15", "infracost"),
    ("sagemaker-serverless", "us-east-1", "Mem-3GB", "0.00006", "second", "2026-09-09", "Mem-3GB"),
    ("sagemaker", "us-east-1", "data-in", "0.016", "GB", "2026-02-15", "infracost"),
    ("sagemaker", "us-east-1", "data-out", "0.016", "GB", "2026-02-15", "infracost"),
    ("sagemaker", "eu-west-1", "data-out", "0.016", "GB", "2023-12", "sagemaker-ssh-helper"),
    ("elb", "us-east-1", "application-load-balancer", "0.0225", "hour", "2024-07-01", "lb_test"),
    ("elb", "us-east-1", "application-load-balancer-lcu", "0.008", "LCU-hour", "2024-07-01", "lb_test"),
    ("ebs", "us-east-1", "gp3-storage", "0.08", "GB-month", "2024-07-01", "ebs_volume_test"),
    ("vpc", "us-east-1", "public-ipv4-address", "0.005", "hour", "2024-07-01", "eip_test"),
    ("vpc", "us-east-1", "nat-gateway", "0.045", "hour", "2024-07-01", "nat_gateway_test"),
    ("data-transfer", "eu-west-1", "internet-out-first-10TB", "0.09", "GB", "2024-09-25", "data_transfer"),
    ("sqs", "us-west-2", "standard-requests-tier1", "0.4", "1M requests", "2026-09-11", "2026-09-11"),
    ("s3", "us-east-1", "standard-get-select", "0.0004", "1000 requests", "2024-07-01", "s3_bucket_test"),
    # infracost goldens: $1.00 a month, $0.03 per 10k requests, $0.50 per 1M requests
    ("kms", "us-east-1", "customer-managed-key", "1", "key-month", "2024-07-01", "kms_key_test"),
    ("kms", "us-east-1", "requests", "0.03", "10000 requests", "2024-07-01", "kms_key_test"),
    ("sns", "us-east-1", "standard-publishes", "0.5", "1M requests", "2024-12-04", "sns_topic_test"),
    ("ec2", "us-east-1", "t4g-unlimited-cpu-credit", "0.04", "vCPU-hour", "2026-09-20", "CPUCredits:t4g"),
    # extracts of AWS's price lists of us-west-2 and eu-west-1
    ("cloudwatch", "us-west-2", "logs-ingested", "0.5", "GB", "2026-09-18", "$0.50 per GB"),
    ("elb", "us-west-2", "application-load-balancer", "0.0225", "hour", "2026-08-08", "0.0225 USD/h"),
    ("vpc", "us-west-2", "vpc-endpoint-interface", "0.01", "hour", "2026-08-08", "USW2-VpcEndpoint-Hours"),
    ("cloudwatch", "eu-west-1", "logs-ingested", "0.57", "GB", "2026-09-22", "$0.57 per GB"),
    ("ebs", "eu-west-1", "gp3-storage", "0.088", "GB-month", "2026-05-01", "$0.088 per GB-month"),
    ("elb", "eu-west-1", "application-load-balancer", "0.0252", "hour", "2026-03-23", "$0.0252"),
    ("vpc", "eu-west-1", "nat-gateway", "0.048", "hour", "2026-05-01", "$0.048 per NAT Gateway Hour"),
    ("vpc", "eu-west-1", "vpc-endpoint-interface", "0.011", "hour", "2026-05-01", "$0.011 per VPC Endpoint"),
    ("s3", "eu-west-1", "standard-get-select", "0.0004", "1000 requests", "2026-09-28", "$0.004 per 10,000"),
    ("sqs", "eu-west-1", "fifo-requests-tier3", "0.35", "1M requests", "2026-09-11", "3.5e-07"),
    # the dearest of five zones: use1-az1 0.0419, az2 0.0309, az4 0.0298, az5 0.03, az6 0.0267
    ("ec2-spot", "us-east-1", "c5.large", "0.0419", "instance-hour", "2026-07-09", "the dearest of 5 zones"),
    ("ec2-spot", "eu-west-1", "m5.large", "0.0581", "instance-hour", "2026-07-09", "the dearest of 3 zones"),
]  # fmt: skip


@pytest.mark.parametrize("row", SAMPLE, ids=lambda row: "/".join(row[:3]))
def test_price_agrees_with_its_source(row: tuple[str, ...]) -> None:
    service, region, item, usd, unit, as_of, source = row
    found = BOOK.lookup(service, region, item)
    assert (found.usd, found.unit, found.as_of) == (Decimal(usd), unit, as_of)
    assert source in found.source


@pytest.mark.parametrize(
    ("service", "region", "item", "reason"),
    [
        ("sagemaker-hosting", "us-east-1", "ml.t3.medium", "publishes no hosting price"),
        ("sagemaker-hosting", "us-west-2", "ml.m6i.large", "publishes no hosting price"),
        ("sagemaker-hosting", "us-east-1", "ml.c6a.large", "does not host"),
        ("sagemaker-hosting", "us-east-1", "ml.r8g.large", "anomaly"),
        ("sagemaker-hosting", "us-east-1", "ml.eia2.medium", "not a host"),
        ("sagemaker-hosting", "us-east-1", "ml.c7g.medium", "list of instance types"),
        ("sagemaker-serverless", "us-east-1", "Mem-4GB", "only the 2 GB and 3 GB"),
        ("sagemaker-serverless", "eu-west-1", "Mem-2GB", "us-east-1 only"),
        ("sagemaker-serverless-pc", "us-east-1", "Usage-2GB", "per GB"),
        ("cloudwatch", "us-west-2", "alarm-high-resolution", "do not say which"),
        ("sagemaker-async", "us-east-1", "ml.c5.large", "not assumed equal"),
        ("sagemaker", "us-west-2", "data-in", "no source in us-west-2"),
        ("elb", "eu-west-1", "network-load-balancer", "us-east-1 only"),
        ("elb", "ap-south-1", "application-load-balancer", "us-west-2 and eu-west-1 only"),
        ("ebs", "us-west-2", "gp2-storage", "us-east-1 only"),
        ("ebs", "eu-west-1", "gp3-iops-above-3000", "us-east-1 only"),
        ("cloudwatch", "us-west-2", "logs-insights-scanned", "us-east-1 only"),
        ("ec2-spot", "us-east-1", "c7i.xlarge", "a dated snapshot of a few types"),
        ("ec2", "eu-west-1", "g6.xlarge", "lists no g6"),
    ],
)
def test_price_that_nobody_has_is_absent_with_a_reason(
    service: str, region: str, item: str, reason: str
) -> None:
    with pytest.raises(UnknownPrice, match=reason):
        BOOK.lookup(service, region, item)


def test_every_price_is_positive_dated_and_sourced() -> None:
    for price in BOOK:
        assert price.usd > 0
        assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", price.as_of), price
        assert price.source.strip(), price
        assert price.as_of <= BOOK.taken


def test_what_every_bill_needs_is_priced_in_three_regions() -> None:
    needed = {
        "cloudwatch": {"custom-metric-first-10k", "alarm-standard"}
        | {"dashboard-above-3-free", "logs-ingested", "logs-archived"},
        "ecr": {"storage"},
        "s3": {"standard-storage-first-50TB", "standard-put-copy-post-list", "standard-get-select"},
        "ebs": {"gp3-storage"},
        "elb": {"application-load-balancer", "application-load-balancer-lcu"},
        "vpc": {"nat-gateway", "nat-gateway-data", "public-ipv4-address"}
        | {"vpc-endpoint-interface", "vpc-endpoint-interface-data-first-1PB"},
        "sqs": {"standard-requests-tier1"},
        "kms": {"customer-managed-key", "requests"},
        "sns": {"standard-publishes"},
    }
    for service, items in needed.items():
        for item in items:
            prices = [BOOK.lookup(service, region, item) for region in REGIONS]
            assert len({price.unit for price in prices}) == 1, item


def test_a_spot_price_lies_below_the_on_demand_price() -> None:
    spot = BOOK.search(service="ec2-spot")
    assert {price.sku.region for price in spot} == set(REGIONS)
    for price in spot:
        on_demand = BOOK.prices.get(Sku("ec2", price.sku.region, price.sku.item))
        assert on_demand is None or price.usd < on_demand.usd, price
        assert "a snapshot of a moving price" in price.source


def test_three_regions_are_covered() -> None:
    hosting = {p.sku.region for p in BOOK.search(service="sagemaker-hosting")}
    assert hosting == set(REGIONS)


def test_hosting_costs_more_than_the_same_instance_on_ec2() -> None:
    """Each family's ratio lies between 1.14 and 1.41 where both are priced: a shifted column would not."""
    for region in REGIONS:
        for hosting in BOOK.search(service="sagemaker-hosting", region=region):
            ec2 = BOOK.prices.get(Sku("ec2", region, hosting.sku.item.removeprefix("ml.")))
            if ec2 is not None:
                assert Decimal("1.14") < hosting.usd / ec2.usd < Decimal("1.41"), hosting


def test_shapes_are_known_for_the_types_of_the_quickstart() -> None:
    for name, vcpu, memory in (("c5.large", 2, 4), ("ml.c7i.large", 2, 4), ("ml.m5.xlarge", 4, 16)):
        shape = BOOK.shape(name)
        assert shape is not None
        assert (shape.vcpu, shape.memory_gib) == (vcpu, memory)


def test_file_is_what_the_writer_writes() -> None:
    assert snapshot.dumps(BOOK) == TEXT
    assert snapshot.loads(TEXT, "copy") == BOOK


@pytest.mark.parametrize(
    ("old", "new"), [('"0.102"', '"0.012"'), ('"2026-05-20"', '"2026-11-20"'), ("anomaly", "none")]
)
def test_altered_file_is_refused(old: str, new: str, tmp_path: Path) -> None:
    assert old in TEXT
    path = tmp_path / "prices.json"
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(InputError, match="does not match its sha256"):
        snapshot.load(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "schema_version is None"),
        ('{"schema_version": 2}', "schema_version is 2, not 1"),
    ],
)
def test_file_of_another_form_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(InputError, match=problem):
        snapshot.load(path)


def test_well_signed_but_malformed_file_is_refused(tmp_path: Path) -> None:
    data = {k: v for k, v in json.loads(TEXT).items() if k not in ("sha256", "gaps")}
    data["sha256"] = snapshot._digest(data)
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match="malformed: KeyError\\('gaps'\\)"):
        snapshot.load(path)


def test_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read prices"):
        snapshot.load(tmp_path / "none.json")


def test_new_price_replaces_the_old_one_and_only_that(tmp_path: Path) -> None:
    sku = Sku("ec2", "us-east-1", "c5.large")
    new = Price(sku, "instance-hour", Decimal("0.09"), "a live read", "2026-12-01")
    merged = snapshot.with_prices(BOOK, [new], "2026-12-02")
    assert merged.lookup("ec2", "us-east-1", "c5.large") == new
    assert merged.taken == "2026-12-02"
    assert merged.digest != BOOK.digest
    assert {k: v for k, v in merged.prices.items() if k != sku} == {
        k: v for k, v in BOOK.prices.items() if k != sku
    }
    path = tmp_path / "prices.json"
    path.write_text(snapshot.dumps(merged))
    assert snapshot.load(path) == merged
