"""A Run counts every offered request, and its document is the same for the same run."""

import json
from pathlib import Path

import numpy as np
import pytest

from deployer import runs
from deployer.errors import InputError
from deployer.runs import NO_ANSWER, SAMPLES_LIMIT, CapacityTimeline, Run


def make_run(latency_s: list[float], status: list[int]) -> Run:
    intended = np.arange(len(latency_s), dtype=float)
    return Run(
        provenance="simulated",
        duration_s=float(len(latency_s)),
        intended_s=intended,
        done_s=intended + np.array(latency_s),
        status=np.array(status, dtype=np.int16),
        request_bytes=np.full(len(latency_s), 10),
        response_bytes=np.full(len(latency_s), 20),
        capacity=CapacityTimeline.fixed(2),
    )


def test_refused_and_unanswered_requests_count_as_misses_of_the_objective() -> None:
    run = make_run([0.01, 0.02, 0.5, 0.01, float("nan")], [200, 200, 200, 503, NO_ANSWER])
    assert run.attainment(0.1) == 2 / 5
    assert (run.offered, run.successes, run.failures, run.refused) == (5, 3, 2, 1)


def test_latency_is_that_of_successes_only() -> None:
    run = make_run([0.01, 9.0], [200, 500])
    assert run.latency().p50 == pytest.approx(10.0)
    assert run.latency().count == 1


def test_capacity_integrates_its_steps() -> None:
    capacity = CapacityTimeline(
        np.array([0.0, 100.0, 160.0]), np.array([1.0, 3.0, 2.0]), np.array([1.0, 1.0, 2.0])
    )
    assert capacity.billed_instance_s(200.0) == 100 * 1 + 60 * 3 + 40 * 2
    assert capacity.peak == 3


def test_document_is_valid_json_with_unknown_as_null() -> None:
    document = json.loads(make_run([0.01, float("nan")], [200, NO_ANSWER]).dumps())
    assert document["samples"]["done_s"][1] is None
    assert document["latency_ms"]["p99"] is None
    assert document["status_counts"] == {"0": 1, "200": 1}


def test_large_runs_keep_percentiles_instead_of_samples() -> None:
    n = SAMPLES_LIMIT + 1
    document = make_run([0.001 * (i % 100) for i in range(n)], [200] * n).to_json()
    assert "samples" not in document
    percentiles = dict(document["latency_percentiles_ms"])
    assert percentiles[50] == pytest.approx(49.0)
    assert percentiles[100] == pytest.approx(99.0)


def test_equal_runs_give_equal_bytes() -> None:
    args = ([0.01, 0.2, 0.3], [200, 503, 200])
    assert make_run(*args).dumps() == make_run(*args).dumps()


def test_a_run_with_samples_is_read_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    run = make_run([0.01, float("nan")], [200, NO_ANSWER])
    path.write_text(run.dumps())
    assert runs.load(path).dumps() == run.dumps()


@pytest.mark.parametrize("text", ["", "[]", '{"schema_version": 1}', '{"schema_version": 9}'])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"run\.json"):
        runs.load(path)
