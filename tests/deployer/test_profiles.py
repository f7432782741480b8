from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer import api, profiles
from deployer.bundle import archive
from deployer.errors import InputError
from deployer.profiles import Profile, ServiceTime

PROFILE = Profile(
    name="digits",
    bundle_digest="d" * 64,
    precision="int8",
    hardware={"cpu": "a CPU", "cores": "2"},
    workers=2,
    threads=1,
    service_time_ms={
        1: ServiceTime("deterministic", 10.0),
        4: ServiceTime("empirical", 20.0, ((0.0, 18.0), (0.5, 20.0), (1.0, 25.0))),
        8: ServiceTime("exponential", 30.0),
    },
    request_bytes=100,
    response_bytes=10,
    memory_mb=50.5,
    startup_s=1.25,
    date="2026-11-20T00:00:00+00:00",
    max_batch=4,
)


def test_a_profile_reads_back_as_it_was_saved(tmp_path: Path) -> None:
    PROFILE.save(tmp_path / "profile.json")
    assert profiles.load(tmp_path / "profile.json") == PROFILE


def test_the_largest_body_is_written_where_it_is_known_and_older_files_are_read(
    tmp_path: Path,
) -> None:
    assert "max_body_bytes" not in PROFILE.to_json()
    known = replace(PROFILE, max_body_bytes=2**20)
    known.save(tmp_path / "profile.json")
    assert profiles.load(tmp_path / "profile.json").max_body_bytes == 2**20
    assert profiles.from_json(document()).max_body_bytes is None


def test_capacity_is_that_of_the_best_batch_that_may_occur() -> None:
    assert PROFILE.capacity_rps == pytest.approx(2 * 4 * 1000 / 20)
    assert replace(PROFILE, max_batch=8).capacity_rps == pytest.approx(2 * 8 * 1000 / 30)
    assert replace(PROFILE, max_batch=1).capacity_rps == pytest.approx(2 * 1000 / 10)


def document(**changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(PROFILE.to_json())), **changes}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "must be an object"),
        ({}, "schema_version is None"),
        (document(max_body_bytes=0), "max_body_bytes must be at least 1, not 0"),
        (document(colour="red"), "unknown key 'colour'"),
        (document(service_time_ms={}), "batch size 1"),
        (document(service_time_ms={"2": {"law": "deterministic", "mean": 1}}), "batch size 1"),
        (document(service_time_ms={"1": {"law": "normal", "mean": 1}}), "distribution 'normal'"),
        (document(service_time_ms={"1": {"law": "deterministic", "mean": -1}}), "mean"),
        (document(service_time_ms={"1": {"law": "deterministic", "mean": float("nan")}}), "mean"),
        (document(service_time_ms={"1": {"law": "deterministic"}}), "mean"),
        (document(service_time_ms={"x": {"law": "deterministic", "mean": 1}}), "'x'"),
        (
            document(
                service_time_ms={
                    "1": {"law": "empirical", "mean": 1, "quantiles": [[0, 2], [1, 1]]}
                }
            ),
            "quantiles",
        ),
        (document(workers=0), "workers"),
        (document(memory_mb=-1), "memory_mb"),
        (document(startup_s=float("inf")), "startup_s"),
        ({k: v for k, v in document().items() if k != "threads"}, "threads"),
    ],
)
def test_a_wrong_profile_is_refused_by_its_key(data: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        profiles.from_json(data)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_sizes": ()},
        {"batch_sizes": (0,)},
        {"seconds": 0},
        {"seconds": 1e9},
        {"threads": 0},
        {"budget_s": 0},
        {"budget_s": 1e9},
    ],
)
def test_bad_measuring_options_are_refused_before_anything_runs(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="must"):
        profiles.measure(tmp_path, **options)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not an unpacked bundle"):
        profiles.measure(tmp_path)


SLEEPER = """
import time
from inference_code.handler import Handler as Base


class Handler(Base):
    batches = True

    def load(self, context):
        pass

    def predict(self, items):
        time.sleep(0.004 + 0.002 * len(items))
        return list(items)
"""


@pytest.mark.serve
def test_measured_service_times_are_those_of_the_handler(
    echo_bundle: Callable[..., Path],
) -> None:
    """A handler that sleeps 4 ms, and 2 ms more for each request, is measured as just that."""
    profile = api.profile(echo_bundle(handler=SLEEPER), batch_sizes=(1, 4, 64), seconds=0.4)
    assert sorted(profile.service_time_ms) == [1, 4, 8]  # 8 is the bundle's max_batch
    for size, taken in profile.service_time_ms.items():
        expected = 4 + 2 * size
        assert expected <= taken.mean < expected + 8
        quantiles = dict(taken.quantiles)
        assert quantiles[0.0] <= taken.mean <= quantiles[1.0]
    assert profile.startup_s > 0
    assert profile.memory_mb > 5
    assert profile.max_body_bytes == 6 * 2**20
    assert profile.hardware["cores"]


@pytest.mark.serve
def test_a_handler_that_fails_is_told_with_its_own_words(
    echo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    archive.unpack(echo_bundle("broken"), tmp_path / "model")
    with pytest.raises(InputError, match="these weights are broken"):
        profiles.measure(tmp_path / "model", seconds=0.1)


SLOW = """
import time
from inference_code.handler import Handler as Base


class Handler(Base):
    batches = False

    def load(self, context):
        pass

    def predict(self, items):
        time.sleep(0.65)
        return list(items)
"""


@pytest.mark.serve
def test_a_slow_handler_is_timed_at_the_one_size_that_it_serves(
    echo_bundle: Callable[..., Path],
) -> None:
    """0.65 s a request, one at a time: sizes that the server never makes cost no time."""
    heard: list[str] = []
    began = time.monotonic()
    profile = api.profile(echo_bundle(handler=SLOW), seconds=2.0, say=heard.append)
    assert time.monotonic() - began < 20
    assert list(profile.service_time_ms) == [1]
    assert profile.max_batch == 1
    assert profile.service_time_ms[1].mean == pytest.approx(651, abs=10)
    assert heard[0].endswith("2 s for each batch size, 600 s in all at most")
    assert re.fullmatch(r"batches of 1: 65\d ms ± [01]\.\d% in [5-9] runs", heard[1])


@pytest.mark.serve
def test_a_size_that_does_not_fit_into_the_budget_is_left_out_unless_it_is_needed(
    echo_bundle: Callable[..., Path],
) -> None:
    wait = "1.2 if len(items) == 4 else 0.01"
    bundle = echo_bundle(handler=SLEEPER.replace("0.004 + 0.002 * len(items)", wait))
    heard: list[str] = []
    profile = api.profile(bundle, batch_sizes=(1, 4), seconds=0.1, budget_s=2.5, say=heard.append)
    assert list(profile.service_time_ms) == [1, 8]
    assert heard[-1] == "batches of 4: left out, the budget of 2.5 s is spent"
    slow = echo_bundle(handler=SLOW)
    with pytest.raises(
        InputError, match=r"take 0\.6\d s each: 5 do not fit into the budget of 3 s"
    ):
        api.profile(slow, seconds=0.1, budget_s=3)
