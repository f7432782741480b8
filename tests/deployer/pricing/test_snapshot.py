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
        ("sagemaker-async", "us-east-1", "ml.c5.large", "not assumed equal"),
        ("sagemaker", "us-west-2", "data-in", "no source in us-west-2"),
        ("elb", "eu-west-1", "application-load-balancer", "us-east-1 only"),
        ("ebs", "us-west-2", "gp3-storage", "us-east-1 only"),
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


def test_three_regions_are_covered() -> None:
    hosting = {p.sku.region for p in BOOK.search(service="sagemaker-hosting")}
    assert hosting == {"us-east-1", "us-west-2", "eu-west-1"}


def test_hosting_costs_more_than_the_same_instance_on_ec2() -> None:
    """Each family's ratio lies between 1.14 and 1.41 where both are priced: a shifted column would not."""
    for region in ("us-east-1", "us-west-2", "eu-west-1"):
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
