"""A search within a budget: what it finds, what it refuses to call better, and how it ends."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from deployer.errors import InputError, Interrupted
from deployer.optimization import advice, ladder, probe, recipe
from deployer.optimization.finalists import Point, against, front, rivals, thinned
from deployer.optimization.isolation import Isolation, Limits, Lost
from deployer.optimization.recipe import Recipe
from deployer.optimization.report import RungResult
from deployer.optimization.resume import FOLDER
from deployer.optimization.timing import Speedup

pytestmark = pytest.mark.optimize

SIZE = 512


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers; one channel between the second and the third is 5000 times as large as the rest."""
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("deep") / "model.onnx"
    weights = [rng.normal(0, (2 / SIZE) ** 0.5, (SIZE, SIZE)).astype(np.float32) for _ in range(3)]
    weights[1][:, 3] *= 5000
    weights[2][3] /= 5000
    value, nodes = "x", []
    for place in range(3):
        names = [f"p{place}", f"r{place}" if place < 2 else "y"]
        nodes.append(
            onnx.helper.make_node("MatMul", [value, f"w{place}"], names[:1], name=f"layer{place}")
        )
        value = names[1]
        nodes.append(onnx.helper.make_node("Relu" if place < 2 else "Identity", names[:1], [value]))
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", SIZE])
        for name in "xy"
    ]
    known = [onnx.numpy_helper.from_array(w, f"w{place}") for place, w in enumerate(weights)]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], known)
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
    return path


def climb(model: Path, out: Path, **more: Any) -> Any:
    rng = np.random.default_rng(2)
    sets = (rng.normal(size=(count, SIZE)).astype(np.float32) for count in (32, 60))
    calibration, evaluation = ({"x": rows} for rows in sets)
    given = {"rungs": ["int8-static-minmax"], "metric": "cosine"} | more
    return ladder.climb(model, calibration=calibration, evaluation=evaluation, out=out, **given)


def test_search_finds_what_the_ladder_lacks_and_tells_how_it_looked(
    deep: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    out = tmp_path / "out"
    report = climb(deep, out, minutes=5, progress=said.append)
    document = json.loads((out / "ladder.json").read_text())
    told = document["details"]["search"]
    rows = [rung for rung in document["rungs"] if rung["name"].startswith("int8-search-")]
    assert [row["name"] for row in rows] == told["finalists"][: len(rows)]
    assert told["tried"] == len(told["candidates"]) >= sum(map(len, recipe.FAMILIES.values()))
    assert told["confidence"] == pytest.approx(1 - 0.05 / len(told["finalists"]))
    assert told["ended"] == "all that were planned"
    assert any("s left" in line for line in said)
    # The plain rung is wrong and mixing leaves a layer in FP32: what evens the channel out needs neither.
    assert report.rungs[1].status == "refused"
    best = next(row for row in rows if row["name"] == report.best.name)
    assert best["status"] == "kept"
    assert best["recipe"]["calibration"].split()[0] in ("equalized", "lean")
    assert best["recipe"]["threads"] == told["threads"]["fastest"]
    assert set(told["threads"]["measured"]) == {str(n) for n in advice.counts()}
    for measured in told["threads"]["measured"].values():
        assert measured["fp32_ms"].keys() == measured["candidate_ms"].keys()
    assert not [path for path in tmp_path.iterdir() if path.name != "out"]


def test_budget_ends_the_search_in_the_middle_of_a_candidate(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    report = ladder.climb(
        classifier,
        calibration=calibration,
        evaluation=evaluation,
        out=tmp_path / "out",
        rungs=["int8-dynamic"],
        minutes=0.01,
    )
    told = report.details["search"]
    assert told["ended"].startswith("the time ")
    assert told["tried"] < sum(map(len, recipe.FAMILIES.values()))
    assert told["seconds"] <= 0.6
    fp32, rung, *found = (rung.name for rung in report.rungs)
    assert (fp32, rung) == ("fp32", "int8-dynamic")
    assert set(found) <= set(told["finalists"])  # a fast machine gets as far as one
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_stopped_search_is_taken_up(deep: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def stop(line: str) -> None:
        if "int8-search-s8s8-minmax, 16 rows" in line:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="1 finished rungs are kept"):
        climb(deep, out, minutes=1, rungs=["int8-equalized-static"], progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in out.iterdir()] == [FOLDER]
    said: list[str] = []

    def again(line: str) -> None:
        said.append(line)
        if "int8-search-equalized" in line:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        climb(deep, out, minutes=1, rungs=["int8-equalized-static"], progress=again)
    taken = [line.split(",")[0].strip() for line in said if "(taken up)" in line]
    assert taken == [
        *(Recipe("u8s8", c).name for c in recipe.FAMILIES["u8s8"]),
        "int8-search-s8s8-minmax",
    ]


def test_search_starts_from_the_alternative_that_is_best(deep: Path, tmp_path: Path) -> None:
    twin = {"twin": deep}
    report = climb(deep, tmp_path / "out", minutes=0.02, rungs=[], alternatives=twin)
    tried = report.details["search"]["candidates"]
    assert report.rungs[2].name == "twin-int8"
    assert report.rungs[2].status == "kept"
    assert tried
    assert all(one["recipe"]["source"] == "twin" for one in tried)
    assert any("error" in one for one in tried)
    assert not list((tmp_path / "out/rungs").glob("*.prepared"))


@pytest.mark.parametrize("minutes", [-1.0, float("nan"), float("inf")])
def test_budget_is_a_number_from_0_up(minutes: float, deep: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="minutes must be"):
        climb(deep, tmp_path / "out", minutes=minutes)


def test_recorded_clock_and_a_search_exclude_each_other(deep: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no clock to measure by") as caught:
        climb(deep, tmp_path / "out", minutes=1, latencies=tmp_path / "latencies.json")
    assert "--latencies" in (caught.value.hint or "")


def test_piece_has_no_time_after_the_end(tmp_path: Path) -> None:
    late = Isolation(tmp_path, tmp_path / "out", Limits()).until(0.0)
    with pytest.raises(Lost, match="no time left"):
        late.run("rank")


def point(name: str, error: float, speed: float, kernel: str = "equalized") -> Point:
    return Point(Recipe(kernel, name), error, speed)


def test_front_holds_the_fast_and_the_near_and_nothing_the_ladder_has_judged() -> None:
    fastest, nearest = point("0.9", 0.3, 1.4), point("0.6", 0.01, 1.1)
    known = point("minmax", 0.1, 1.3, "u8s8")  # int8-static-minmax
    beaten = point("0.8", 0.2, 1.2)  # by the one that is known
    hardly_nearer = point("0.7", 0.28, 1.35)
    slow = point("0.5", 0.001, 1.02)  # 2% faster than the ladder's best, which timing cannot tell
    points = [slow, beaten, nearest, hardly_nearer, known, fastest]
    assert front(points) == [fastest, nearest]
    assert front([slow]) == []


def test_finalists_are_few_and_hold_both_ends() -> None:
    points = [point("0.5", 1 / n, 1 / n) for n in range(1, 11)]
    assert thinned(points, 4) == [points[0], points[3], points[6], points[9]]
    assert thinned(points[:3], 4) == points[:3]


def result(name: str, low: float, median: float, high: float) -> RungResult:
    times = {"batch 1": 1.0}
    speedup = Speedup(median, low, high, times, times, 61)
    return RungResult(name, "int8", "kept", "faster", speedup=speedup)


def test_speed_inside_the_noise_is_no_better() -> None:
    best = result("int8-static-minmax", 2.9, 3.0, 3.1)
    assert against(result("a", 3.11, 3.2, 3.3), best).status == "kept"
    assert against(result("a", 3.02, 3.09, 3.1), result("b", 2.9, 3.0, 3.01)).status == "refused"
    same = against(result("a", 3.09, 3.2, 3.3), best)
    assert same.status == "refused"
    assert "not to be told from int8-static-minmax's 3.00x (2.90 to 3.10)" in same.reason


def test_rivals_are_those_that_count_as_equally_fast() -> None:
    near, far = result("a", 2.9, 2.95, 3.1), result("b", 2.0, 2.5, 3.0)
    fastest = result("c", 2.9, 3.0, 3.1)
    assert rivals([near, far, fastest, replace(fastest, name="d", speedup=None)]) == [near, fastest]
    assert rivals([]) == []


def test_rows_to_fit_and_rows_to_judge_by_have_none_in_common() -> None:
    rows = {"x": np.arange(50)}
    assert [probe.largest_part(count) for count in (1, 2, 7, 16, 50)] == [1, 1, 3, 8, 24]
    fitted, judged = probe.parts(rows, 24, seed=0)
    assert not set(fitted["x"]) & set(judged["x"])
    assert len(fitted["x"]) == len(judged["x"]) == 24
    assert np.array_equal(fitted["x"], probe.parts(rows, 24, seed=0)[0]["x"])
    assert not np.array_equal(fitted["x"], probe.parts(rows, 24, seed=1)[0]["x"])


def record(milliseconds: float) -> dict[str, Any]:
    return {"candidate_ms": {"batch 1": milliseconds, "batch 8": 4 * milliseconds}}


def test_advice_on_threads_is_the_fewest_that_are_as_fast() -> None:
    told = advice.told("rung", {1: record(6.0), 2: record(3.5), 4: record(3.45)})
    assert told["fastest"] == 2  # four are 1.4% faster, which timing cannot tell
    assert told["most_per_core"] == 1  # 6 against 7 and 13.8 ms of a core
    assert "`deployer package --threads 2`" in told["advice"]
    assert "answers soonest on 2 threads (7 ms: " in told["advice"]  # sqrt(3.5 * 14)


def test_one_usable_core_leaves_one_number_of_threads() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert advice.counts() == [1]
    finally:
        os.sched_setaffinity(0, before)


def test_recipes_go_through_their_file_unchanged(tmp_path: Path) -> None:
    recipes = [
        Recipe("u8s8", "p99.9", ("a", "b"), True),
        Recipe("lean", "0.5", source="student"),
    ]
    assert recipe.load(tmp_path) == []
    recipe.save(recipes, tmp_path)
    assert recipe.load(tmp_path) == recipes
    assert recipes[0].name == "int8-search-u8s8-p99.9-2-bias"
    assert recipes[1].name == "int8-search-student-lean-0.5"
    assert [r.same for r in (*recipes, Recipe("u8s8", "minmax"))] == [
        None,
        None,
        "int8-static-minmax",
    ]
