"""What a full instance costs per thousand: the price that the quantization ladder is judged by."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

from deployer.errors import InputError
from deployer.pricing.book import Price


def usd_per_thousand_at(price: Price, workers: int = 1) -> Callable[[float], Decimal]:
    """Return the function from seconds per inference to USD per thousand on an instance kept busy.

    An instance with ``workers`` parallel servers answers ``workers / latency_s`` requests a second, so
    USD per thousand = USD per hour / 3600 * latency_s / workers * 1000. Idle time comes on top: this is
    the floor that a bill approaches, fit for comparing rungs on one machine.

    Raises InputError when the price is not per instance-hour, ``workers`` is below 1, or, when called,
    the latency is no positive number.
    """
    if price.unit != "instance-hour":
        raise InputError(f"price of {price.sku} is per {price.unit!r}, not per 'instance-hour'")
    if workers < 1:
        raise InputError(f"workers must be at least 1, not {workers!r}")

    def usd(latency_s: float) -> Decimal:
        if not (math.isfinite(latency_s) and latency_s > 0):
            raise InputError(f"latency_s must be a positive number of seconds, not {latency_s!r}")
        return price.usd * Decimal(repr(float(latency_s))) * 1000 / (3600 * workers)

    return usd
