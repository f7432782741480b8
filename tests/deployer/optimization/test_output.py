"""The workspace: gone after use, and gone at the next use when its process was killed."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from deployer.errors import EnvironmentProblem
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


def test_folder_of_one_killed_while_it_claimed_it_is_removed_too(tmp_path: Path) -> None:
    left = tmp_path / ".out-abcdefgh"
    left.mkdir()
    (left / ".claim").touch()
    with workspace(tmp_path / "out"):
        assert not left.exists()


def test_second_climb_to_one_folder_at_once_is_refused_by_name(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def try_it() -> str:
        with pytest.raises(EnvironmentProblem) as caught, workspace(out):
            pass
        assert caught.value.hint == "wait until it ends, or choose another folder with -o"
        return caught.value.message

    with workspace(out) as first, ThreadPoolExecutor() as pool:
        told = f"another climb writes to {str(out)!r} at this moment (it works in {first.name!r})"
        assert pool.submit(try_it).result() == told
        with workspace(tmp_path / "other"):
            assert first.is_dir()
    with workspace(out):
        assert not first.exists()


def test_of_many_that_start_at_once_one_is_taken(tmp_path: Path) -> None:
    started = Barrier(8)

    def try_it() -> bool:
        started.wait()
        try:
            with workspace(tmp_path / "out"):
                time.sleep(0.2)
        except EnvironmentProblem:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(future.result() for future in [pool.submit(try_it) for _ in range(8)]) == 1


def test_disk_that_fills_up_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    def fill() -> None:
        with workspace(tmp_path / "out") as folder:
            (folder / "rung.onnx").write_bytes(b"x" * 3000)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # of each file, in bytes
    try:
        with pytest.raises(EnvironmentProblem) as caught:
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot write beside" in caught.value.message
    assert "make room there" in (caught.value.hint or "")
    assert not list(tmp_path.glob("*out*"))


def test_folder_in_use_by_the_same_climb_is_left_alone(tmp_path: Path) -> None:
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
