"""Four files or none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.cost.report import CostReport
from deployer.distribution import install_hint
from deployer.errors import EnvironmentProblem
from deployer.report.write import write

FILES = ["index.html", "report.csv", "report.json", "report.md"]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_folder_gets_the_four_files(report: CostReport, tmp_path: Path) -> None:
    paths = write(report, tmp_path / "a" / "report")
    assert _names(tmp_path / "a" / "report") == FILES
    assert _names(tmp_path / "a") == ["report"]
    assert sorted(path.name for path in paths.values()) == FILES
    assert set(paths) == {"html", "markdown", "json", "csv"}


def test_files_can_be_read_by_whom_the_umask_lets(report: CostReport, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write(report, tmp_path / "report")
    finally:
        os.umask(before)
    assert (tmp_path / "report").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "report" / "index.html").stat().st_mode & 0o777 == 0o644


def test_existing_report_is_replaced_and_other_files_stay(
    report: CostReport, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    write(report, tmp_path)
    write(replace(report, name="second"), tmp_path)
    assert _names(tmp_path) == sorted([*FILES, "mine.txt"])
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert json.loads((tmp_path / "report.json").read_text())["name"] == "second"


def test_failure_half_way_leaves_the_old_report_whole(report: CostReport, tmp_path: Path) -> None:
    write(report, tmp_path)
    (tmp_path / "report.csv").unlink()
    (tmp_path / "report.csv").mkdir()
    before = {name: (tmp_path / name).read_bytes() for name in FILES if name != "report.csv"}
    with pytest.raises(EnvironmentProblem, match=r"report\.csv is a folder there"):
        write(replace(report, name="second"), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert _names(tmp_path) == FILES


def test_failure_half_way_removes_what_was_new(report: CostReport, tmp_path: Path) -> None:
    (tmp_path / "report.csv").mkdir()
    with pytest.raises(EnvironmentProblem):
        write(report, tmp_path)
    assert _names(tmp_path) == ["report.csv"]


def test_file_in_place_of_the_folder_is_one_clear_error(report: CostReport, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file")
    with pytest.raises(EnvironmentProblem, match="cannot write the report to") as caught:
        write(report, tmp_path / "report")
    assert caught.value.hint == "name a folder that you may write to: -o DIR"
    assert _names(tmp_path) == ["report"]
    assert (tmp_path / "report").read_text() == "a file"


@pytest.mark.skipif(
    not Path("/proc/version").exists(), reason="needs a folder that nobody may write to"
)
def test_folder_that_cannot_be_made_is_one_clear_error(report: CostReport) -> None:
    with pytest.raises(EnvironmentProblem, match="cannot write the report to '/proc/report'"):
        write(report, Path("/proc/report"))


def test_report_that_cannot_be_told_writes_nothing(report: CostReport, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write(replace(report, measured=({"max_lag_ms": float("nan")},)), tmp_path / "report")
    assert _names(tmp_path) == []


def test_equal_reports_give_equal_bytes(report: CostReport, tmp_path: Path) -> None:
    one, two = write(report, tmp_path / "one"), write(report, tmp_path / "two")
    for kind, path in one.items():
        assert path.read_bytes() == two[kind].read_bytes()


def test_hostile_names_are_written(hostile: CostReport, tmp_path: Path) -> None:
    assert set(write(hostile, tmp_path / "report")) == {"html", "markdown", "json", "csv"}


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_missing_package_is_named_with_the_way_to_get_it(
    report: CostReport, tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [
        m for m in sys.modules if m.startswith(("deployer.report.charts", "deployer.report.plots"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("deployer.report.charts", raising=False)
    for name in [m for m in sys.modules if m.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        EnvironmentProblem, match=f"needs {package}, which is not installed"
    ) as caught:
        write(report, tmp_path / "report")
    assert caught.value.hint == install_hint("report")
    assert _names(tmp_path) == []


def test_table_json_and_markdown_need_no_extra() -> None:
    code = (
        "import sys\n"
        "import deployer.report.markdown, deployer.report.rows, deployer.report.terminal\n"
        "import deployer.report.write\n"
        "print([m for m in ('jinja2', 'markupsafe', 'matplotlib') if m in sys.modules])\n"
    )
    root = str(Path(__file__).parents[3])
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.decode().strip() == "[]"
