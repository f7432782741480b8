"""Tools for images on the PATH of a test: real programs, which run containers as processes of this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("container_tool.py")
CONFIG = {
    "Entrypoint": ["python", "-m", "inference_code"],
    "Cmd": ["serve"],
    "Labels": {"com.amazonaws.sagemaker.capabilities.accept-bind-to-port": "true"},
}


class Tools:
    """The folder on the PATH: its settings, and the calls that were made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings: dict[str, Any] = {
            "info": {}, "images": {"echo:1": CONFIG}, "build": ["STEP 1"], "build_s": 0,
            "build_status": 0, "more_words": {}, "push": "", "digest": "",
            "facts": {"id": "a" * 64, "architecture": "amd64"},
        }  # fmt: skip

    def install(self, *names: str, **settings: Any) -> Tools:
        """Put programs of these names there."""
        self.settings.update(settings)
        (self.folder / "settings.json").write_text(json.dumps(self.settings))
        for name in names:
            program = self.folder / name
            program.write_text(f"#!{sys.executable}\n{SOURCE.read_text()}")
            program.chmod(0o755)
        return self

    @property
    def calls(self) -> list[list[str]]:
        """Every call, its tool's name first."""
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def called(self, verb: str) -> list[list[str]]:
        """The words of every call of one verb, without tool and verb."""
        return [call[2:] for call in self.calls if call[1] == verb]

    @property
    def context(self) -> dict[str, Any]:
        """What the last build was given."""
        found: dict[str, Any] = json.loads((self.folder / "context.json").read_text())
        return found


@pytest.fixture
def tools_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tools]:
    """Install programs by name, with settings; no other tool is found."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    assert os.environ["PATH"] == str(folder)
    return Tools(folder).install
