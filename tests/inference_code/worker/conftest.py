"""The driver of ``tests/fakes/queue.py``, and moto's server for single tests."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "fakes" / "queue.py"


@pytest.fixture(scope="session")
def fake_queue() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fake_queue", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_queue"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def aws(fake_queue: ModuleType, tmp_path: Path) -> Iterator[Any]:
    with fake_queue.aws(tmp_path) as found:
        yield found
