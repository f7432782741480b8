"""A worker is timed while all the others work."""

import multiprocessing
import os

import pytest

from inference_code.bench.company import busy
from inference_code.bench.timing import Spell, bench
from inference_code.engine.settings import read_settings
from inference_code.errors import StartupError

NOTES_ITS_PROCESS = """
import os
def model_fn(model_dir): return model_dir + "/../processes"
def predict_fn(data, model):
    with open(model, "a") as file:
        file.write(f"{os.getpid()}\\n")
    return data
"""


@pytest.mark.serve
def test_all_workers_are_busy_while_one_is_timed(model_dir):
    folder = model_dir(NOTES_ITS_PROCESS, {"a.json": b'{"x": 1}'})
    found = bench(read_settings(folder, {"workers": 3}), [1], Spell(0.2))
    answered_by = [int(line) for line in (folder.parent / "processes").read_text().split()]
    assert found["workers"] == 3
    timed = max(i for i, process in enumerate(answered_by) if process == os.getpid())
    before_the_end = answered_by[:timed]
    assert len(set(before_the_end)) == 3
    assert not multiprocessing.active_children()


@pytest.mark.serve
def test_a_worker_that_cannot_start_is_an_error(model_dir):
    folder = model_dir("def model_fn(model_dir): raise OSError('no weights')")
    with (
        pytest.raises(StartupError, match="another worker could not load"),
        busy(read_settings(folder, {"workers": 2}), 1),
    ):
        pass
