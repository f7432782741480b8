"""trace.csv: what is written reads back equal; what is wrong is named with file, line and column."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.errors import InputError
from deployer.traffic import files
from deployer.traffic.trace import TrafficTrace

same_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

ZONES = st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@st.composite
def traces(draw: st.DrawFn) -> TrafficTrace:
    seconds = st.floats(0, 1e9, allow_subnormal=True)
    times = sorted(draw(st.lists(seconds, min_size=1, max_size=30)))
    sizes = st.none() | st.lists(st.integers(0, 2**40), min_size=len(times), max_size=len(times))
    payload, response = (
        None if values is None else np.array(values, dtype=np.int64)
        for values in (draw(sizes), draw(sizes))
    )
    duration_s = times[-1] + draw(st.floats(0, 1e6))
    name, origin = draw(st.text()), draw(st.text())
    start = draw(
        st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=ZONES)
    )
    return TrafficTrace(name, np.array(times), duration_s, payload, response, origin, start)


@same_folder
@given(traces())
def test_a_saved_trace_reads_back_equal(tmp_path: Path, trace: TrafficTrace) -> None:
    path = tmp_path / "trace.csv"
    files.save(trace, path)
    again = files.load(path)
    assert again.digest == trace.digest
    assert (again.name, again.origin, again.start) == (trace.name, trace.origin, trace.start)
    assert [file.name for file in tmp_path.iterdir()] == ["trace.csv"]


def load(tmp_path: Path, text: str, **options: Any) -> TrafficTrace:
    path = tmp_path / "trace.csv"
    path.write_bytes(text.encode())
    return files.load(path, **options)


def test_the_plainest_trace_is_one_column(tmp_path: Path) -> None:
    trace = load(tmp_path, "arrival_s\n0.5\n2\n")
    assert trace.arrival_s.tolist() == [0.5, 2.0]
    assert (trace.duration_s, trace.name, trace.payload_bytes) == (2.0, "trace", None)


def test_spaces_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    trace = load(tmp_path, "\ufeff# duration_s=10\r\narrival_s, payload_bytes\r\n0.5, 7\r\n")
    assert trace.duration_s == 10.0
    assert trace.payload_bytes is not None
    assert trace.payload_bytes.tolist() == [7]


def test_counts_are_spread_with_the_law_and_seed_that_the_origin_names(tmp_path: Path) -> None:
    text = "start_s,interval_s,count\n0,60,20\n60,60,0\n120,30,5\n"
    trace = load(tmp_path, text, seed=9)
    assert np.histogram(trace.arrival_s, bins=[0, 60, 120, 150])[0].tolist() == [20, 0, 5]
    assert trace.duration_s == 150.0
    assert trace.origin == "trace.csv: counts spread within each interval (poisson, seed 9)"
    assert load(tmp_path, text, seed=9).digest == trace.digest
    assert load(tmp_path, text, seed=8).digest != trace.digest
    bursty = load(tmp_path, text, seed=9, spacing="gamma", cv=3.0)
    assert bursty.digest != trace.digest
    assert "gamma, cv 3, seed 9" in bursty.origin


@pytest.mark.parametrize("text", ["2026-03-02T10:00:00Z", "2026-03-02T12:30:00.000000+02:30"])
def test_a_comment_says_when_the_trace_starts(tmp_path: Path, text: str) -> None:
    for rows in ("arrival_s\n0\n", "start_s,interval_s,count\n0,60,5\n"):
        trace = load(tmp_path, f"# start={text}\n{rows}")
        assert trace.start == datetime(2026, 3, 2, 10, tzinfo=UTC)
        files.save(trace, tmp_path / "again.csv")
        assert "# start=2026-03-02T10:00:00Z\n" in (tmp_path / "again.csv").read_text()


def test_a_trace_without_a_start_is_written_without_one(tmp_path: Path) -> None:
    files.save(TrafficTrace("one", np.zeros(1), 1.0), tmp_path / "trace.csv")
    assert "start" not in (tmp_path / "trace.csv").read_text()


BAD = [
    (
        "# start=2026-03-02T10:00:00\narrival_s\n0\n",
        "trace.csv:1: start: '2026-03-02T10:00:00' is no",
    ),
    ("# duration_s=1\n# start=ten\narrival_s\n0\n", "trace.csv:2: start: 'ten' is no moment"),
    ('# name="a"\n# name="b"\narrival_s\n0\n', "trace.csv:2: comment 'name' comes twice"),
    ("# start=9999-12-31T23:59:59Z\narrival_s\n5\n", "beyond the year 9999"),
    ("", "trace.csv: is empty"),
    ("# duration_s=5\n", "trace.csv: is empty"),
    ("arrival_s\n", "trace.csv: holds no row"),
    ("arrival_s,size\n0,1\n", "trace.csv:1: unknown column 'size'"),
    ("time\n0\n", "trace.csv:1: unknown column 'time'"),
    ("payload_bytes\n0\n", "trace.csv:1: column 'arrival_s' is missing"),
    ("start_s,count\n0,1\n", "trace.csv:1: column 'interval_s' is missing"),
    ("start_s,arrival_s\n0,1\n", "trace.csv:1: unknown column 'arrival_s'"),
    ("arrival_s,arrival_s\n0,1\n", "trace.csv:1: a column is named twice"),
    ("arrival_s\nnan\n", "trace.csv:2: arrival_s must be a number from 0 up, not 'nan'"),
    ("arrival_s\n0\ninf\n", "trace.csv:3: arrival_s must be a number from 0 up, not 'inf'"),
    ("arrival_s\n-1\n", "trace.csv:2: arrival_s must be a number from 0 up, not '-1'"),
    ("arrival_s\n1_0\n", "trace.csv:2: arrival_s must be a number from 0 up, not '1_0'"),
    ("arrival_s\n'1'\n", "trace.csv:2: arrival_s must be a number from 0 up"),
    ("arrival_s\n1\n0.5\n", "trace.csv:3: arrival_s 0.5 is below the row above"),
    ("arrival_s\n1\n\n2\n", "trace.csv:3: empty line"),
    ("arrival_s\n1,2\n", "trace.csv:2: 2 columns, the header has 1"),
    ("arrival_s,payload_bytes\n1\n", "trace.csv:2: 1 columns, the header has 2"),
    ("arrival_s,payload_bytes\n1,1.5\n", "trace.csv:2: payload_bytes must be a whole number"),
    ("arrival_s,payload_bytes\n1,-5\n", "trace.csv:2: payload_bytes must be a whole number"),
    ("arrival_s,payload_bytes\n1,٣\n", "trace.csv:2: payload_bytes must be a whole number"),
    ("# duration_s=1\narrival_s\n0\n5\n", "trace.csv:4: arrival_s 5 lies after duration_s 1"),
    ("# duration_s=x\narrival_s\n0\n", "trace.csv:1: duration_s must be a number"),
    ("# colour=red\narrival_s\n0\n", "trace.csv:1: comment 'colour' is unknown"),
    ("# name=red\narrival_s\n0\n", "trace.csv:1: name must be JSON text, not 'red'"),
    ('arrival_s\n0\n# name="late"\n', "trace.csv:3: arrival_s must be a number"),
    ("start_s,interval_s,count\n0,0,1\n", "trace.csv:2: interval_s must be above 0"),
    ("start_s,interval_s,count\n0,60,1.5\n", "trace.csv:2: count must be a whole number"),
    ("start_s,interval_s,count\n0,60,1\n30,60,1\n", "trace.csv:3: start_s lies before the end"),
    ("start_s,interval_s,count\n0,60,0\n", "trace.csv: all counts are 0"),
    ("# duration_s=50\nstart_s,interval_s,count\n0,60,1\n", "ends after duration_s 50"),
]


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_what_is_wrong_is_named_with_file_line_and_column(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(InputError, match=re.escape(complaint)):
        load(tmp_path, text)


def test_what_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        files.load(tmp_path / "missing.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot read"):
        files.load(tmp_path / "binary.csv")


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    trace = TrafficTrace("one", np.zeros(1), 1.0)
    with pytest.raises(InputError, match="cannot write"):
        files.save(trace, tmp_path / "missing" / "trace.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        files.save(trace, tmp_path / "folder.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["folder.csv"]


@same_folder
@given(st.text(st.sampled_from("arrival_s,\n0123456789.-e#= nacou"), max_size=60))
def test_any_text_is_a_trace_or_one_input_error(tmp_path: Path, text: str) -> None:
    for header in ("", "arrival_s\n", "start_s,interval_s,count\n"):
        with contextlib.suppress(InputError):
            assert len(load(tmp_path, header + text)) > 0
