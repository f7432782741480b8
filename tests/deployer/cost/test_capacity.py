from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.cost.capacity import usd_per_thousand_at
from deployer.errors import InputError
from deployer.pricing.book import Price, PriceBook, Sku

C5 = Price(
    Sku("ec2", "us-east-1", "c5.large"), "instance-hour", Decimal("0.085"), "a table", "2026-07-20"
)


def test_ten_milliseconds_on_two_workers() -> None:
    # 200 answers a second, 720,000 an hour: 0.085 / 720
    assert usd_per_thousand_at(C5, workers=2)(0.010) == Decimal("0.085") / 720


@given(st.floats(1e-6, 60), st.integers(1, 64))
def test_cost_is_in_proportion_to_latency_over_workers(latency_s: float, workers: int) -> None:
    one = usd_per_thousand_at(C5)(latency_s)
    assert float(usd_per_thousand_at(C5, workers)(latency_s)) == pytest.approx(float(one) / workers)
    assert float(usd_per_thousand_at(C5)(2 * latency_s)) == pytest.approx(2 * float(one))


@pytest.mark.parametrize("latency_s", [0.0, -1.0, float("nan"), float("inf")])
def test_latency_that_is_no_time_is_refused(latency_s: float) -> None:
    with pytest.raises(InputError, match="latency_s must be a positive number"):
        usd_per_thousand_at(C5)(latency_s)


def test_price_per_anything_else_is_refused(book: PriceBook) -> None:
    with pytest.raises(InputError, match="per 'second', not per 'instance-hour'"):
        usd_per_thousand_at(book.lookup("sagemaker-serverless", "us-east-1", "Mem-2GB"))


def test_no_worker_is_refused() -> None:
    with pytest.raises(InputError, match="workers must be at least 1"):
        usd_per_thousand_at(C5, workers=0)
