from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deployer.cost.objective import attainments, binding, explain_miss
from deployer.runs import CapacityTimeline, Run
from deployer.spec.deployment import Slo

Make = Callable[..., Run]


def test_refused_and_late_requests_count_as_misses(make_run: Make) -> None:
    run = make_run(duration_s=100.0, refused=30, late=20)
    assert attainments([run], Slo(p99_ms=100)) == {"p99_ms": 0.95}


def test_shares_are_over_all_runs(make_run: Make) -> None:
    runs = [make_run(duration_s=100.0, late=n) for n in (0, 40)]
    assert attainments(runs, Slo(p99_ms=100)) == {"p99_ms": 0.98}


def test_exactly_99_percent_meets_and_one_request_less_misses(make_run: Make) -> None:
    slo = Slo(p99_ms=100)
    assert explain_miss([make_run(duration_s=100.0, late=10)], slo) == ""
    assert explain_miss([make_run(duration_s=100.0, late=11)], slo).startswith(
        "98.9% within 100 ms, 99% wanted"
    )


def test_each_percentile_asks_for_its_share(make_run: Make) -> None:
    run = make_run(duration_s=100.0, late=300)
    assert explain_miss([run], Slo(p50_ms=100)) == ""
    assert explain_miss([run], Slo(p90_ms=100)).startswith("70.0% within 100 ms, 90% wanted")


def test_binding_objective_is_the_one_with_the_least_margin(make_run: Make) -> None:
    run = make_run(duration_s=100.0, late=50)
    shares = attainments([run], Slo(p50_ms=20, p90_ms=100, p99_ms=2000))
    assert shares == {"p50_ms": 0.95, "p90_ms": 0.95, "p99_ms": 1.0}
    assert binding(shares) == ("p99_ms", 1.0)
    assert binding({}) is None


def test_causes_are_split_and_sorted(make_run: Make) -> None:
    run = make_run(duration_s=100.0, refused=10, late=50)
    assert explain_miss([run], Slo(p99_ms=100)) == (
        "94.0% within 100 ms, 99% wanted: 5% late, 1% refused"
    )


def test_requests_without_an_answer_are_failed(make_run: Make) -> None:
    run = make_run(duration_s=100.0)
    run.status[:20] = 0
    assert explain_miss([run], Slo(p99_ms=100)).endswith("2% failed")


def test_the_main_reason_of_failures_and_of_refusals_is_named(make_run: Make) -> None:
    large = "request larger than 6,291,456 bytes (InvokeEndpoint)"
    reasons = {large: 15, "no answer within 60 s (InvokeEndpoint)": 5, "no instance in service": 30}
    statuses = dict(zip(reasons, (413, 504, 503), strict=True))
    details = {"failed_by": reasons, "failed_status": statuses}
    run = make_run(duration_s=100.0, refused=30, details=details)
    run.status[30:45], run.status[45:50] = 413, 504
    assert explain_miss([run], Slo(p99_ms=100)) == (
        "95.0% within 100 ms, 99% wanted: 3% refused: no instance in service, 2% failed: " + large
    )


def test_reasons_are_counted_over_all_runs(make_run: Make) -> None:
    counts = [{"a": 10, "b": 9}, {"a": 0, "b": 9}]
    runs = []
    for count in counts:
        details = {"failed_by": count, "failed_status": {"a": 413, "b": 504}}
        runs.append(make_run(duration_s=100.0, details=details))
        runs[-1].status[: sum(count.values())] = 504
    assert explain_miss(runs, Slo(p99_ms=100)).endswith("failed: b")


def test_cold_starts_are_named_as_the_cause(make_run: Make) -> None:
    run = make_run(duration_s=100.0, late=50, details={"cold_starts": 47})
    assert "5% late (47 cold starts)" in explain_miss([run], Slo(p99_ms=100))


@pytest.mark.parametrize(("serving", "named"), [(1.0, True), (2.0, False)])
def test_instances_still_starting_are_named_as_the_cause(
    serving: float, named: bool, make_run: Make
) -> None:
    steps = CapacityTimeline(np.array([0.0, 10.0]), np.array([2.0, 2.0]), np.array([serving, 2.0]))
    run = make_run(duration_s=100.0, late=50, capacity=steps)
    text = explain_miss([run], Slo(p99_ms=100))
    assert ("mostly while instances started" in text) is named


def test_no_objective_is_never_missed(make_run: Make) -> None:
    assert explain_miss([make_run(duration_s=10.0, refused=100)], Slo()) == ""


def test_run_that_offered_nothing_meets_no_objective(make_run: Make) -> None:
    run = make_run(rps=0.0, duration_s=10.0)
    assert attainments([run], Slo(p99_ms=100)) == {"p99_ms": 0.0}
    assert "no request was offered" in explain_miss([run], Slo(p99_ms=100))
