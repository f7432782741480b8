"""Read a trace from what AWS recorded: ALB access logs, or CloudWatch request counts.

An ALB access log has one line per request, with the moment the load balancer received it. CloudWatch has
counts per interval: JSON as ``aws cloudwatch get-metric-statistics`` or ``get-metric-data`` print it, or CSV
with the columns ``timestamp,value``; counts are spread within their interval by a stated law and seed. The
trace starts at the moment of the first request or interval; a time without an offset is UTC.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from deployer.errors import InputError
from deployer.traffic.arrivals import Spacing, spread
from deployer.traffic.trace import TrafficTrace

FORMATS = ("alb", "cloudwatch")

# Positions of the fields in a line, counted from 0. Source: Elastic Load Balancing user guide, access log
# entries. Fields added after these do not matter.
_RECEIVED_BYTES, _SENT_BYTES, _CREATED = 10, 11, 21
_FIELD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


def read(
    path: Path, *, log_format: str, seed: int = 0, spacing: Spacing = "poisson", cv: float = 1.0
) -> TrafficTrace:
    """Read a log in one of FORMATS; ``seed``, ``spacing`` and ``cv`` matter only for counts.

    Raises InputError naming the file and the line or entry that is wrong, or an unknown format.
    """
    if log_format == "alb":
        return alb(path)
    if log_format == "cloudwatch":
        return cloudwatch(path, seed=seed, spacing=spacing, cv=cv)
    raise InputError(f"log format {log_format!r} is not one of {', '.join(FORMATS)}")


def alb(path: Path) -> TrafficTrace:
    """Read ALB access logs: one file, plain or .gz, or a folder of them.

    Arrivals are request creation times from the first one on; sizes are received and sent bytes, headers
    included. Raises InputError naming file and line of what cannot be read.
    """
    rows = [row for file in _log_files(path) for row in _alb_rows(file)]
    if not rows:
        raise InputError(f"{path}: holds no request")
    created, received, sent = zip(*sorted(rows), strict=True)
    first = created[0]
    arrivals = np.array([(moment - first).total_seconds() for moment in created])
    return TrafficTrace(
        path.name.split(".")[0],
        arrivals,
        float(arrivals[-1]),
        np.array(received, dtype=np.int64),
        np.array(sent, dtype=np.int64),
        f"ALB access log {path.name}",
        first,
    )


def cloudwatch(
    path: Path, *, seed: int = 0, spacing: Spacing = "poisson", cv: float = 1.0
) -> TrafficTrace:
    """Read request counts per interval; the interval is the smallest distance of two timestamps.

    An interval without an entry counts 0, as CloudWatch leaves it out. Raises InputError naming the entry
    that is wrong: no number, no whole count, a time twice or off the interval.
    """
    text = _text(path)
    pairs = _csv_pairs(path, text) if path.suffix == ".csv" else _json_pairs(path, text)
    points = sorted(
        (_moment(where, time), _count(where, value), where) for where, time, value in pairs
    )
    if len(points) < 2:
        raise InputError(f"{path}: needs at least two data points to know their interval")
    starts = np.array([(moment - points[0][0]).total_seconds() for moment, _, _ in points])
    counts = np.array([count for _, count, _ in points], dtype=np.int64)
    interval_s = float(np.diff(starts).min())
    if interval_s == 0:
        twice = points[int(np.argmin(np.diff(starts))) + 1]
        raise InputError(f"{twice[2]}: time {twice[0].isoformat()} comes twice")
    _check_steps(points, starts, interval_s)
    if counts.sum() == 0:
        raise InputError(f"{path}: all counts are 0; a trace needs at least one arrival")
    arrivals = spread(starts, np.full(len(starts), interval_s), counts, spacing, cv, seed)
    law = f"gamma, cv {cv:g}" if spacing == "gamma" else spacing
    origin = f"CloudWatch {path.name}: counts per {interval_s:g} s spread ({law}, seed {seed})"
    return TrafficTrace(
        path.stem, arrivals, float(starts[-1]) + interval_s, origin=origin, start=points[0][0]
    )


def _log_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.name.endswith((".log", ".log.gz")))
    if not files:
        raise InputError(f"{path}: holds no .log or .log.gz file")
    return files


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        return raw.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {str(path)!r}: {error}") from error


def _alb_rows(path: Path) -> Iterator[tuple[datetime, int, int]]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        fields = [quoted or bare for quoted, bare in _FIELD.findall(line)]
        if len(fields) <= _CREATED:
            raise InputError(
                f"{where}: {len(fields)} fields, an ALB access log entry has more than {_CREATED}"
            )
        yield (
            _moment(where, fields[_CREATED]),
            _bytes(where, "received_bytes", fields[_RECEIVED_BYTES]),
            _bytes(where, "sent_bytes", fields[_SENT_BYTES]),
        )


def _bytes(where: str, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InputError(f"{where}: {key} must be a whole number, not {text!r}")
    return int(text)


def _moment(where: str, text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {text!r} is not an ISO 8601 time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _count(where: str, value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not (0 <= number < 1e15 and number == math.floor(number)):
        raise InputError(f"{where}: count must be a whole number from 0 up, not {value!r}")
    return int(number)


def _csv_pairs(path: Path, text: str) -> Iterator[tuple[str, str, str]]:
    lines = text.removesuffix("\n").split("\n")
    if [cell.strip() for cell in lines[0].split(",")] != ["timestamp", "value"]:
        raise InputError(f"{path}:1: the header must be timestamp,value")
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split(",")
        if len(cells) != 2:
            raise InputError(f"{path}:{number}: {len(cells)} columns, the header has 2")
        yield f"{path}:{number}", cells[0].strip(), cells[1].strip()


def _json_pairs(path: Path, text: str) -> Iterator[tuple[str, Any, Any]]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: is not JSON: {error}") from error
    if isinstance(data, dict) and isinstance(data.get("Datapoints"), list):
        for index, point in enumerate(data["Datapoints"]):
            where = f"{path}: Datapoints[{index}]"
            if not isinstance(point, dict) or "Timestamp" not in point or "Sum" not in point:
                raise InputError(
                    f"{where}: needs Timestamp and Sum", hint="ask for --statistics Sum"
                )
            yield where, point["Timestamp"], point["Sum"]
    elif isinstance(data, dict) and isinstance(data.get("MetricDataResults"), list):
        yield from _metric_data(path, data["MetricDataResults"])
    else:
        raise InputError(f"{path}: holds neither Datapoints nor MetricDataResults")


def _metric_data(path: Path, results: list[Any]) -> Iterator[tuple[str, Any, Any]]:
    if len(results) != 1 or not isinstance(results[0], dict):
        raise InputError(f"{path}: MetricDataResults must hold exactly one metric")
    times, values = results[0].get("Timestamps"), results[0].get("Values")
    if not isinstance(times, list) or not isinstance(values, list) or len(times) != len(values):
        raise InputError(f"{path}: Timestamps and Values must be lists of one length")
    for index, (time, value) in enumerate(zip(times, values, strict=True)):
        yield f"{path}: Values[{index}]", time, value


def _check_steps(
    points: list[tuple[datetime, int, str]], starts: np.ndarray, interval_s: float
) -> None:
    steps = starts / interval_s
    off = np.flatnonzero(np.abs(steps - np.round(steps)) > 1e-6)
    if len(off):
        moment, _, where = points[int(off[0])]
        raise InputError(f"{where}: {moment.isoformat()} is off the interval of {interval_s:g} s")
