"""New files and folders appear whole or not at all: on errors, on Ctrl-C, on a full disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.bundle.staging import new_file, new_folder
from deployer.errors import EnvironmentProblem, InputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_done(tmp_path: Path) -> None:
    with new_file(tmp_path / "new/file") as file:
        file.write(b"whole")
        assert "file" not in names(tmp_path / "new")
    assert (tmp_path / "new/file").read_bytes() == b"whole"
    assert names(tmp_path / "new") == ["file"]


def test_a_file_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with new_file(tmp_path / "file") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def fail_in_file(path: Path, error: type[BaseException]) -> None:
    with new_file(path) as file:
        file.write(b"half")
        raise error


def fail_in_folder(path: Path, error: type[BaseException]) -> None:
    with new_folder(path) as draft:
        (draft / "half").write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_file_that_was_there(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(error):
        fail_in_file(tmp_path / "file", error)
    assert (tmp_path / "file").read_bytes() == b"before"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_no_folder(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        fail_in_folder(tmp_path / "folder", error)
    assert names(tmp_path) == []


def lose_the_race(target: Path) -> None:
    with new_folder(target) as draft:
        (draft / "mine").write_text("mine")
        target.mkdir()
        (target / "theirs").write_text("theirs")


def test_a_folder_that_filled_up_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="cannot write"):
        lose_the_race(tmp_path / "folder")
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["theirs"]


@pytest.mark.parametrize("kind", ["file", "full folder", "link", "dangling link"])
def test_a_name_that_is_taken_is_refused(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    match kind:
        case "file":
            target.write_text("x")
        case "full folder":
            target.mkdir()
            (target / "x").touch()
        case "link":
            (tmp_path / "real").mkdir()
            target.symlink_to("real")
        case _:
            target.symlink_to("nowhere")
    with pytest.raises(InputError, match="is there already"), new_folder(target):
        pytest.fail("the folder was opened")


@pytest.fixture
def locked_folder() -> Iterator[Path]:
    """A folder that may not be written, by root neither: the test runs as nobody where it began as root."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "locked"
        folder.mkdir(mode=0o555)
        began = os.geteuid()
        if began == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(began)


def test_a_folder_that_may_not_be_written_is_one_clear_error(locked_folder: Path) -> None:
    for target in (locked_folder / "file", locked_folder / "new" / "file"):
        for opener in (new_file, new_folder):
            with pytest.raises(EnvironmentProblem) as caught, opener(target):
                pytest.fail("it was opened")
            assert str(caught.value) == f"cannot write {str(target)!r}: Permission denied"
            assert caught.value.hint
    assert names(locked_folder) == []


def test_a_file_where_a_folder_should_be_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(EnvironmentProblem, match="cannot write"),
        new_file(tmp_path / "file" / "x"),
    ):
        pytest.fail("it was opened")
    assert names(tmp_path) == ["file"]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """No file of this process may grow past 64 KiB for a moment: the kernel refuses the write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with (
            pytest.raises(EnvironmentProblem, match="File too large"),
            new_file(tmp_path / "file") as file,
        ):
            file.write(bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == []


WRITE_FOREVER = """
import sys
from pathlib import Path
from deployer.bundle.staging import new_file, new_folder
with new_folder(Path(sys.argv[1]) / "folder") as draft, new_file(draft / "inner") as file:
    with new_file(Path(sys.argv[1]) / "file") as other:
        print("writing", flush=True)
        while True:
            file.write(b"x"); other.write(b"x"); file.seek(0); other.seek(0)
"""


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOREVER, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        assert len(names(tmp_path)) == 2
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    assert names(tmp_path) == []
