"""The bundle's own code runs, in its own folder; what it prints and how it fails comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer import processes
from deployer.errors import EnvironmentProblem, InputError


def guest(folder: Path, body: str) -> Path:
    """A model folder whose serving code is ``body``."""
    package = folder / "code" / "inference_code"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(body)
    return folder


def test_the_folders_own_code_runs_in_its_folder_and_writes_no_byte_code(tmp_path: Path) -> None:
    body = "import json, os, sys; print(json.dumps({'args': sys.argv[1:], 'cwd': os.getcwd()}))"
    folder = guest(tmp_path / "model", body)
    answer = processes.call(folder, "bench", ["--seconds", "1"], timeout_s=20)
    assert answer["args"] == ["bench", "--model-dir", str(folder), "--seconds", "1"]
    assert answer["cwd"] == str(folder / "code")
    assert not list(folder.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise SystemExit('no such luck')", "exit status 1: no such luck"),
        ("print('hello')", "exit status 0: it said nothing"),
        ("print('[]')", "exit status 0"),
        ("import sys; print('{}'); sys.exit(3)", "exit status 3"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_failure_comes_with_the_last_words(tmp_path: Path, body: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        processes.call(guest(tmp_path / "model", body), "bench", timeout_s=20)


def test_a_check_may_fail_and_still_answer(tmp_path: Path) -> None:
    folder = guest(tmp_path / "model", "import sys; print('{\"ok\": false}'); sys.exit(1)")
    assert processes.call(folder, "check", timeout_s=20) == {"ok": False, "log": ""}


def test_what_hangs_is_given_up(tmp_path: Path) -> None:
    folder = guest(tmp_path / "model", "import time; time.sleep(60)")
    with pytest.raises(EnvironmentProblem, match=r"did not end within 0\.5 s"):
        processes.call(folder, "bench", timeout_s=0.5)


def test_what_a_container_tool_adds_to_a_programs_last_words_is_left_out() -> None:
    log = "ImportError: no click\nsubprocess exited with status 1\nError: exit status 1\n"
    assert processes.last_words(log) == "ImportError: no click"
    assert processes.last_words("Error: exit status 1") == "Error: exit status 1"
    assert processes.last_words(" \n") == "it said nothing"


def test_serving_code_started_here_reports_to_nobody(tmp_path: Path) -> None:
    body = "import json, os; print(json.dumps({'off': os.environ.get('ORT_DISABLE_TELEMETRY')}))"
    assert processes.call(guest(tmp_path / "m", body), "bench", timeout_s=20) == {"off": "1"}
