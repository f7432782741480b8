"""A worker gives way to the front only while there is a crowd."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.serve

PLAY = """
import os
from inference_code.engine.manners import Manners
manners, seen = Manners(), []
for size in [1, *[4] * 15, 1, *[2] * 16, 8, 1, 1]:
    manners.saw(size)
    seen.append(os.sched_getscheduler(0) == os.SCHED_BATCH)
print(seen.index(True), seen[32:])
"""


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux only")
def test_a_crowd_makes_a_worker_patient_and_a_lone_client_makes_it_prompt() -> None:
    found = subprocess.run([sys.executable, "-c", PLAY], capture_output=True, text=True, check=True)
    assert found.stdout.split(" ", 1) == ["32", "[True, True, False, False]\n"]
