from __future__ import annotations

import os
import platform

from deployer import machine


def test_the_machine_describes_itself_in_words() -> None:
    words = machine.describe()
    assert set(words) == {"cpu", "cores", "features", "system", "python"}
    assert words["cpu"]
    assert words["python"] == platform.python_version()
    assert set(machine.features()) == set(words["features"].split())


def test_cores_are_those_this_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine.cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert machine.cores() == len(before)
