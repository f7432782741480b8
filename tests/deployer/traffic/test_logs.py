"""Traces from ALB access logs and CloudWatch counts."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.errors import InputError
from deployer.traffic import logs

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
same_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def stamp(offset_s: float) -> str:
    moment = START + timedelta(seconds=offset_s)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def alb_line(
    created_s: float, received: int = 300, sent: int = 80, agent: str = "curl/8.5.0"
) -> str:
    """One entry as a load balancer writes it: answered 40 ms after it was received."""
    return (
        f"https {stamp(created_s + 0.04)} app/models/50dc6c495c0c9188 203.0.113.7:2817 10.0.0.1:8080 "
        f'0.000 0.039 0.000 200 200 {received} {sent} "POST https://m.example.com:443/invocations '
        f'HTTP/1.1" "{agent}" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:'
        f'us-east-1:123456789012:targetgroup/models/73e2d6bc24d8a067 "Root=1-5833-23a8c" "m.example.com" '
        f'"arn:aws:acm:us-east-1:123456789012:certificate/1" 0 {stamp(created_s)} "forward" "-" "-" '
        '"10.0.0.1:8080" "200" "-" "-" TID_12'
    )


def write(path: Path, *lines: str) -> Path:
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("name", ["day.log", "day.log.gz"])
def test_alb_requests_arrive_when_the_load_balancer_received_them(
    tmp_path: Path, name: str
) -> None:
    # entries are written when answered, so a slow request stands after a later one
    path = write(tmp_path / name, alb_line(1.5, 400, 90), alb_line(0.25), alb_line(10.75, 1, 2))
    trace = logs.read(path, log_format="alb")
    assert trace.arrival_s.tolist() == [0.0, 1.25, 10.5]
    assert trace.payload_bytes is not None
    assert trace.response_bytes is not None
    assert trace.payload_bytes.tolist() == [300, 400, 1]
    assert trace.response_bytes.tolist() == [80, 90, 2]
    assert (trace.name, trace.duration_s) == ("day", 10.5)
    assert trace.start == START + timedelta(seconds=0.25)


def test_a_folder_of_logs_is_one_trace(tmp_path: Path) -> None:
    (tmp_path / "01").mkdir()
    write(tmp_path / "01" / "b.log.gz", alb_line(5.0))
    write(tmp_path / "a.log", alb_line(7.0), "", alb_line(6.0))
    (tmp_path / "notes.txt").write_text("not a log")
    assert logs.alb(tmp_path).arrival_s.tolist() == [0.0, 1.0, 2.0]


def test_quotes_and_spaces_within_a_field_do_not_shift_the_others(tmp_path: Path) -> None:
    agent = r"Mozilla/5.0 (X11; \"Linux\") \x22odd\x22"
    path = write(tmp_path / "a.log", alb_line(0.0, agent=agent), alb_line(1.0, agent=""))
    assert logs.alb(path).arrival_s.tolist() == [0.0, 1.0]


@same_folder
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=20))
def test_any_order_of_entries_gives_the_sorted_trace(
    tmp_path: Path, entries: list[tuple[int, int]]
) -> None:
    lines = [alb_line(micros / 1e6, received=size) for micros, size in entries]
    trace = logs.alb(write(tmp_path / "a.log", *lines))
    times = np.array(sorted(micros for micros, _ in entries))
    assert trace.arrival_s == pytest.approx((times - times[0]) / 1e6, abs=2e-6)
    assert trace.payload_bytes is not None
    assert sorted(trace.payload_bytes.tolist()) == sorted(size for _, size in entries)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("http 2026-03-01T12:00:00Z app/x", "a.log:2: 3 fields"),
        (alb_line(0).replace(stamp(0), "yesterday"), "a.log:2: 'yesterday' is not an ISO 8601"),
        (alb_line(0, received=-1), "a.log:2: received_bytes must be a whole number, not '-1'"),
    ],
)
def test_an_entry_that_cannot_be_read_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(InputError, match=re.escape(complaint)):
        logs.alb(write(tmp_path / "a.log", alb_line(0.0), line))


def test_files_that_are_no_logs_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        logs.alb(tmp_path / "missing.log")
    with pytest.raises(InputError, match=r"holds no \.log"):
        logs.alb(tmp_path)
    (tmp_path / "cut.log.gz").write_bytes(gzip.compress(alb_line(0).encode())[:-10])
    with pytest.raises(InputError, match="cannot read"):
        logs.alb(tmp_path / "cut.log.gz")
    (tmp_path / "empty.log").write_text("")
    with pytest.raises(InputError, match="holds no request"):
        logs.alb(tmp_path / "empty.log")
    with pytest.raises(InputError, match="'nginx' is not one of alb, cloudwatch"):
        logs.read(tmp_path / "empty.log", log_format="nginx")


def statistics(*points: tuple[float, Any]) -> dict[str, Any]:
    return {
        "Label": "RequestCount",
        "Datapoints": [
            {"Timestamp": stamp(at), "Sum": value, "Unit": "Count"} for at, value in points
        ],
    }


def write_json(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def per_minute(trace_s: np.ndarray, minutes: int) -> list[int]:
    return np.histogram(trace_s, bins=minutes, range=(0, 60 * minutes))[0].tolist()


def test_statistics_come_in_any_order_and_leave_out_empty_minutes(tmp_path: Path) -> None:
    data = statistics((180.0, 2.0), (0.0, 10.0), (60.0, 5.0))
    trace = logs.read(write_json(tmp_path / "m.json", data), log_format="cloudwatch", seed=3)
    assert per_minute(trace.arrival_s, 4) == [10, 5, 0, 2]
    assert trace.duration_s == 240.0
    assert trace.start == START
    assert trace.origin == "CloudWatch m.json: counts per 60 s spread (poisson, seed 3)"


def test_metric_data_is_read_as_well(tmp_path: Path) -> None:
    results = [{"Id": "m1", "Timestamps": [stamp(60), stamp(0)], "Values": [4.0, 7.0]}]
    path = write_json(tmp_path / "m.json", {"MetricDataResults": results, "Messages": []})
    assert per_minute(logs.cloudwatch(path).arrival_s, 2) == [7, 4]


def test_csv_is_read_as_well_and_times_without_a_zone_are_utc(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("timestamp,value\n2026-03-01 12:00:00,3.0\n2026-03-01 12:01:00,6.0\n")
    trace = logs.cloudwatch(path, spacing="uniform")
    assert trace.start == START
    sevenths = [60 + 60 * k / 7 for k in range(1, 7)]
    assert trace.arrival_s.tolist() == pytest.approx([15, 30, 45, *sevenths])


@same_folder
@given(
    st.lists(st.integers(0, 200), min_size=2, max_size=30),
    st.sampled_from([1, 60, 300, 3600]),
    st.integers(0, 99),
)
def test_every_minute_keeps_its_count(
    tmp_path: Path, counts: list[int], interval_s: int, seed: int
) -> None:
    counts[0] += 1
    data = statistics(*((float(i * interval_s), count) for i, count in enumerate(counts)))
    trace = logs.cloudwatch(write_json(tmp_path / "m.json", data), seed=seed)
    bins = np.histogram(trace.arrival_s, len(counts), (0, len(counts) * interval_s))[0]
    assert bins.tolist() == counts


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({}, "neither Datapoints nor MetricDataResults"),
        ([], "neither Datapoints nor MetricDataResults"),
        (statistics((0.0, 1.0)), "at least two data points"),
        (statistics((0.0, 1.0), (60.0, 1.5)), "Datapoints[1]: count must be a whole number"),
        (statistics((0.0, 1.0), (60.0, -1)), "Datapoints[1]: count must be a whole number"),
        (statistics((0.0, 1.0), (60.0, True)), "Datapoints[1]: count must be a whole number"),
        (statistics((0.0, 1.0), (60.0, 10**400)), "Datapoints[1]: count must be a whole number"),
        (statistics((0.0, 1.0), (60.0, None)), "Datapoints[1]: count must be a whole number"),
        (statistics((0.0, 1.0), (60.0, 1), (60.0, 2)), "comes twice"),
        (statistics((0.0, 1), (60.0, 1), (150.0, 2)), "off the interval of 60 s"),
        (statistics((0.0, 0), (60.0, 0)), "all counts are 0"),
        ({"Datapoints": [{"Timestamp": stamp(0), "Average": 1.0}]}, "needs Timestamp and Sum"),
        ({"MetricDataResults": []}, "exactly one metric"),
        ({"MetricDataResults": [{"Timestamps": [stamp(0)], "Values": []}]}, "one length"),
    ],
)
def test_counts_that_make_no_sense_are_named(tmp_path: Path, data: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=re.escape(complaint)):
        logs.cloudwatch(write_json(tmp_path / "m.json", data))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("time,value\n", "m.csv:1: the header must be timestamp,value"),
        ("timestamp,value\n2026-03-01,1,2\n", "m.csv:2: 3 columns"),
        ("timestamp,value\nnoon,1\n", "m.csv:2: 'noon' is not an ISO 8601 time"),
        ("timestamp,value\n2026-03-01,x\n", "m.csv:2: count must be a whole number"),
    ],
)
def test_csv_counts_that_make_no_sense_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(complaint)):
        logs.cloudwatch(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Datapoints", "Timestamp", "Sum", "MetricDataResults", "Values"]),
            inner,
        )
    ),
    max_leaves=10,
)


@same_folder
@given(json_values)
def test_any_document_is_a_trace_or_one_input_error(tmp_path: Path, data: Any) -> None:
    with contextlib.suppress(InputError):
        assert len(logs.cloudwatch(write_json(tmp_path / "m.json", data))) > 0


@same_folder
@given(st.text(st.sampled_from('alb 0123456789-:."TZ\\\n'), max_size=200))
def test_any_text_is_a_log_or_one_input_error(tmp_path: Path, text: str) -> None:
    with contextlib.suppress(InputError):
        assert len(logs.alb(write(tmp_path / "a.log", alb_line(0.0), text))) > 0
