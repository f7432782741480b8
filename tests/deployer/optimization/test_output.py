"""The workspace: gone after use, and gone at the next use when its process was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployer.optimization import ladder
from deployer.optimization.output import workspace

pytestmark = pytest.mark.optimize

KILLED = """
import os, signal, sys
from pathlib import Path
from deployer.optimization.output import workspace
with workspace(Path(sys.argv[1])) as folder:
    (folder / "rung.onnx").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_folder_of_a_killed_climb_is_removed_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False)
    (left,) = tmp_path.iterdir()
    with workspace(out) as folder:
        assert not left.exists()
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    with workspace(tmp_path / "out") as first, workspace(tmp_path / "out") as second:
        assert first.is_dir()
        assert second.is_dir()
        assert first != second
    assert list(tmp_path.iterdir()) == []


def test_folders_of_other_names_are_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / ".out-mine"
    mine.mkdir()
    (mine / "notes").write_text("keep")
    with workspace(tmp_path / "out"):
        pass
    assert (mine / "notes").read_text() == "keep"


def test_rungs_of_the_climb_before_are_replaced_and_other_files_stay(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for rung in ("int8-dynamic", "int8-weights"):
        ladder.climb(
            classifier, calibration=calibration, evaluation=evaluation, rungs=[rung], out=out
        )
        (out / "rungs/mine.onnx").write_text("keep")
    found = {path.name for path in (out / "rungs").iterdir()}
    assert found == {"fp32.onnx", "int8-weights.onnx", "mine.onnx"}
