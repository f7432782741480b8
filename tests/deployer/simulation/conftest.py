"""Profiles and specifications that the simulator's tests vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deployer.profiles import Profile, ServiceTime
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.target import Local

NO_LIMIT = 10**9


@pytest.fixture(scope="session")
def make_profile() -> Callable[..., Profile]:
    """A server with one worker, deterministic 10 ms, no batches and no queue limit, unless told otherwise."""

    def make(**changes: Any) -> Profile:
        values: dict[str, Any] = {
            "name": "digits",
            "bundle_digest": "0" * 64,
            "precision": "fp32",
            "hardware": {"cpu": "a test CPU", "cores": "2"},
            "workers": 1,
            "threads": 1,
            "service_time_ms": {1: ServiceTime("deterministic", 10.0)},
            "request_bytes": 1000,
            "response_bytes": 100,
            "memory_mb": 200.0,
            "startup_s": 2.0,
            "date": "2026-01-01T00:00:00+00:00",
            "max_batch": 1,
            "queue_limit": NO_LIMIT,
        }
        return Profile(**(values | changes))

    return make


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., DeploymentSpec]:
    """A deployment with one local instance, unless told otherwise."""

    def make(**changes: Any) -> DeploymentSpec:
        values = {"name": "digits", "bundle": "digits.tar.gz", "target": Local()}
        return DeploymentSpec(**(values | changes))

    return make
