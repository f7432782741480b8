"""README's first command, as a user runs it: the whole job, from training data to the report."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TARGETS = (
    "sagemaker ml.c7i.large",
    "sagemaker ml.c5.large",
    "serverless 2 GB",
    "ec2-fleet c7i.large",
)


@pytest.mark.slow
@pytest.mark.optimize
@pytest.mark.serve
@pytest.mark.report
@pytest.mark.timeout(900)
def test_the_main_job_ends_in_a_report_that_adds_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples/quickstart/run.py", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Run " in done.stdout
    assert str(tmp_path / "report" / "index.html") in done.stdout
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    found = report["candidates"]
    for target in TARGETS:
        precisions = {c["precision"] for c in found if c["name"].startswith(target)}
        assert precisions == {"fp32", "int8"}, target
    for candidate in found:
        assert candidate["provenance"] == "simulated"
        total = sum(Decimal(line["usd"]) for line in candidate["line_items"])
        per_thousand = total * 1000 / candidate["successes"]
        assert abs(per_thousand - Decimal(candidate["usd_per_thousand"])) < Decimal("1e-12")
        assert candidate["successes"] + candidate["failures"] == report["trace"]["requests"]
    assert all((tmp_path / "report" / name).is_file() for name in ("index.html", "report.md"))
