import json

import pytest

from inference_code.bench.tuning import choose, splits


def tried(*rates):
    return [{"workers": 2**at, "answers_per_s": rate} for at, rate in enumerate(rates)]


@pytest.mark.parametrize("cores", [1, 2, 6, 16])
def test_every_split_uses_all_cores(cores):
    assert all(workers * threads == cores for workers, threads in splits(cores))
    assert splits(cores)[0] == (1, cores)
    assert splits(cores)[-1] == (cores, 1)


def test_the_fastest_split_wins():
    assert choose(tried(100.0, 150.0, 120.0))["workers"] == 2


def test_a_tie_goes_to_fewer_workers():
    assert choose(tried(99.0, 100.0))["workers"] == 1


@pytest.mark.serve
def test_tune_measures_each_split(command, model_dir):
    folder = model_dir(samples={"a.json": b'{"x": 1}'})
    done = command(
        "tune", "--model-dir", str(folder), "--seconds", "0.1", "--cores", "2", "--max-batch", "4"
    )
    found = json.loads(done.stdout)
    assert [(each["workers"], each["threads"]) for each in found["tried"]] == [(1, 2), (2, 1)]
    assert all(each["answers_per_s"] > 0 for each in found["tried"])
    assert (found["workers"], found["threads"]) in [(1, 2), (2, 1)]


@pytest.mark.serve
def test_tune_says_what_is_missing(command, model_dir):
    done = command("tune", "--model-dir", str(model_dir()), "--seconds", "0.1", "--cores", "1")
    assert done.returncode == 2
    assert "put a sample request" in done.stderr
