"""Runs, deployments and a price book that a pencil can follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deployer.cost.candidates import Entry
from deployer.pricing import snapshot
from deployer.pricing.book import PriceBook
from deployer.runs import CapacityTimeline, Run
from deployer.spec.assumptions import Assumptions
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.target import SageMakerRealtime, Target
from deployer.traffic.trace import TrafficTrace

MakeRun = Callable[..., Run]
BARE = Assumptions(image_gb=0.0, bundle_gb=0.0, volume_gb=0.0, detailed_metrics=0)
"""No image, bundle, volume or metric in the bill: what a pencil adds up is instances and data."""


@pytest.fixture(scope="session")
def book() -> PriceBook:
    """The embedded price book."""
    return snapshot.load()


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    """A run at a constant rate; the first ``refused`` requests get 503, ``late`` of the rest take 1 s."""

    def make(
        *,
        rps: float = 10.0,
        duration_s: float = 86400.0,
        latency_s: float = 0.010,
        request_bytes: int = 3000,
        response_bytes: int = 1200,
        instances: float = 1,
        refused: int = 0,
        late: int = 0,
        **fields: Any,
    ) -> Run:
        count = round(rps * duration_s)
        intended = np.arange(count) / max(rps, 1e-9)
        latency = np.full(count, latency_s)
        status = np.full(count, 200, np.int16)
        status[:refused] = 503
        latency[refused : refused + late] = 1.0
        values: dict[str, Any] = {
            "provenance": "simulated",
            "capacity": CapacityTimeline.fixed(instances),
        }
        return Run(
            duration_s=duration_s,
            intended_s=intended,
            done_s=intended + latency,
            status=status,
            request_bytes=np.full(count, request_bytes, np.int64),
            response_bytes=np.full(count, response_bytes, np.int64),
            **(values | fields),
        )

    return make


@pytest.fixture(scope="session")
def make_entry(make_run: MakeRun) -> Callable[..., Entry]:
    """An entry over an hour at 10 requests a second; ``seeds`` successes lost give one run each."""

    def make(
        name: str, target: Target | None = None, *, runs: tuple[Run, ...] | None = None, **run: Any
    ) -> Entry:
        where = SageMakerRealtime("ml.c5.large") if target is None else target
        spec = DeploymentSpec("candidate", "model.tar.gz", where, assumptions=BARE)
        return Entry(
            name, spec, runs=(make_run(duration_s=3600.0, **run),) if runs is None else runs
        )

    return make


@pytest.fixture(scope="session")
def hour() -> TrafficTrace:
    """An hour of 10 requests a second."""
    return TrafficTrace("an hour", np.arange(36_000) / 10, 3600.0)
