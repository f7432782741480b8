"""Service times are drawn as the profile measured them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from deployer.errors import InputError
from deployer.profiles import Profile, ServiceTime
from deployer.simulation import distributions

EMPIRICAL = ServiceTime("empirical", 13.0, ((0.0, 10.0), (0.5, 12.0), (1.0, 20.0)))


def draws_ms(of: distributions.Distributions, size: int, at: list[float]) -> list[float]:
    return [distributions.draw_s(of, size, u) * 1000 for u in at]


def test_the_empirical_law_interpolates_its_quantiles(make_profile: Callable[..., Profile]) -> None:
    found = distributions.from_profile(make_profile(service_time_ms={1: EMPIRICAL}), 1)
    assert draws_ms(found, 1, [0.0, 0.25, 0.5, 0.75]) == pytest.approx([10, 11, 12, 16])


def test_a_step_in_the_quantiles_is_no_trouble_at_either_end(
    make_profile: Callable[..., Profile],
) -> None:
    flat = ServiceTime("empirical", 7.0, ((0.0, 7.0), (1.0, 7.0)))
    found = distributions.from_profile(make_profile(service_time_ms={1: flat}), 1)
    assert draws_ms(found, 1, [0.0, math.nextafter(1.0, 0.0)]) == pytest.approx([7, 7])


def test_a_batch_size_between_two_measured_ones_lies_between_them(
    make_profile: Callable[..., Profile],
) -> None:
    times = {1: EMPIRICAL, 5: ServiceTime("deterministic", 40.0)}
    found = distributions.from_profile(make_profile(service_time_ms=times, max_batch=5), 5)
    assert draws_ms(found, 5, [0.3]) == pytest.approx([40])
    assert draws_ms(found, 2, [0.0, 0.5]) == pytest.approx([10 + 30 / 4, 12 + 28 / 4])
    assert found.mean_s[3] * 1000 == pytest.approx((13 + 40) / 2)


def test_the_exponential_law_has_its_mean(make_profile: Callable[..., Profile]) -> None:
    times = {1: ServiceTime("exponential", 10.0), 3: ServiceTime("exponential", 20.0)}
    found = distributions.from_profile(make_profile(service_time_ms=times, max_batch=3), 3)
    grid = (np.arange(100_000) + 0.5) / 100_000
    assert np.mean(draws_ms(found, 2, list(grid))) == pytest.approx(15.0, rel=1e-4)


def test_batches_that_were_not_measured_are_refused(make_profile: Callable[..., Profile]) -> None:
    with pytest.raises(InputError, match="measures batches up to 1, the server forms 4"):
        distributions.from_profile(make_profile(max_batch=4), 4)


def test_laws_that_cannot_be_interpolated_are_refused(make_profile: Callable[..., Profile]) -> None:
    times = {1: ServiceTime("exponential", 10.0), 4: ServiceTime("deterministic", 20.0)}
    with pytest.raises(InputError, match="mixes the exponential distribution"):
        distributions.from_profile(make_profile(service_time_ms=times, max_batch=4), 4)
