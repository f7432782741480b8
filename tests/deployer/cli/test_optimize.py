"""`deployer optimize` on every kind of model file, and what it says of wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

torch = pytest.importorskip("torch")

from deployer.cli.main import cli  # noqa: E402
from deployer.optimization.export import export  # noqa: E402

pytestmark = pytest.mark.optimize

MODULE = '''
"""A user's own models and metric."""
import torch

def wide():
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(nn.Linear(16, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 4))

def narrow():
    nn = torch.nn
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))

def right(outputs, labels):
    return float((outputs.argmax(1) == labels).mean())

def number():
    return 3
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: its own module, three sets of rows."""
    monkeypatch.chdir(tmp_path)
    name = f"nets_{tmp_path.name.replace('-', '_')}"  # a module is imported once per process
    Path(f"{name}.py").write_text(MODULE)
    rng = np.random.default_rng(0)
    known: dict[str, Any] = {}
    exec(MODULE, known)
    for file, rows in (("calibration", 32), ("evaluation", 300), ("training", 400)):
        inputs = rng.normal(size=(rows, 16)).astype(np.float32)
        right = known["wide"]()(torch.from_numpy(inputs)).argmax(1).numpy()
        held = {"x": inputs} | ({} if file == "calibration" else {"label": right})
        np.savez(f"{file}.npz", **held)
    return tmp_path


@pytest.fixture
def nets(folder: Path) -> str:
    return next(folder.glob("nets_*.py")).stem


@pytest.fixture
def wide() -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(16, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 4)
    )


def optimize(model: object, *words: object, rung: str = "int8-dynamic") -> Result:
    sets = ("--calibration", "calibration.npz", "--eval", "evaluation.npz", "-o", "out")
    given = ("optimize", model, *sets, *(("--rung", rung) if rung else ()), *words)
    return CliRunner().invoke(cli, [str(word) for word in given], prog_name="deployer")


def rungs() -> dict[str, Any]:
    return {rung["name"]: rung for rung in json.loads(Path("out/ladder.json").read_text())["rungs"]}


@pytest.mark.parametrize("kind", ["onnx", "pt2", "ts", "code"])
def test_every_kind_of_model_climbs(kind: str, wide: Any, nets: str) -> None:
    example = torch.randn(3, 16)
    model = f"m.{kind}" if kind != "code" else f"{nets}:wide"
    if kind == "onnx":
        export(wide, {"x": example.numpy()}, Path(model))
    elif kind == "pt2":
        free = ({0: torch.export.Dim.DYNAMIC},)
        torch.export.save(torch.export.export(wide, (example,), dynamic_shapes=free), model)
    elif kind == "ts":
        with pytest.warns(DeprecationWarning, match="torch.jit"):
            torch.jit.save(torch.jit.trace(wide, example), model)
    done = optimize(model, "--metric", "cosine", "--batch-sizes", "2", "--max-drop", "0.02")
    assert done.exit_code == 0, done.stderr
    assert list(rungs()) == ["fp32", "int8-dynamic"]
    assert set(rungs()["fp32"]["latency_ms"]) == {"batch 2"}
    assert "int8-dynamic" in done.stdout
    assert {path.name for path in Path().iterdir() if path.name.startswith(".")} == set()


def test_metric_of_the_users_own_module_is_found_in_the_working_folder(nets: str) -> None:
    done = optimize(f"{nets}:wide", "--metric", f"{nets}:right", "--max-drop", "0.05")
    assert done.exit_code == 0, done.stderr
    assert json.loads(Path("out/ladder.json").read_text())["metric"] == f"{nets}:right"


def test_pruned_model_student_and_alternative_are_rungs(nets: str, wide: Any) -> None:
    export(wide, {"x": np.zeros((2, 16), np.float32)}, Path("other.onnx"))
    smaller = ("--train", "training.npz", "--prune", "0.5", "--student", f"{nets}:narrow")
    done = optimize(
        f"{nets}:wide", "--max-drop", "0.05", *smaller, "--alternative", "other=other.onnx"
    )
    assert done.exit_code == 0, done.stderr
    kinds = [kind for name in ("other", "pruned", "student") for kind in (name, f"{name}-int8")]
    assert list(rungs()) == ["fp32", "int8-dynamic", *kinds]
    size = {name: rung["variant"]["size_bytes"] for name, rung in rungs().items()}
    assert size["student"] < size["pruned"] < size["fp32"]
    assert rungs()["student"]["variant"]["score"] > 0.5


def test_missed_speedup_exits_1_with_table_and_files(nets: str) -> None:
    done = optimize(f"{nets}:wide", "--metric", "cosine", "--require-speedup", "1000")
    assert done.exit_code == 1
    assert "1000x is required" in done.stderr
    assert "fp32" in done.stdout
    assert Path("out/best.onnx").is_file()


def test_instance_type_prices_the_rungs_and_recorded_latencies_repeat_the_choice(nets: str) -> None:
    words = ("--metric", "cosine", "--max-drop", "0.02", "--instance-type", "c7i.large")
    assert optimize(f"{nets}:wide", *words).exit_code == 0
    first = rungs()
    assert optimize(f"{nets}:wide", *words, "--latencies", "out/latencies.json").exit_code == 0
    assert rungs() == first
    fp32 = first["fp32"]
    seconds = min(ms / 1000 / int(case.split()[1]) for case, ms in fp32["latency_ms"].items())
    # 0.08925 USD an hour, two vCPUs of one thread each.
    assert float(fp32["usd_per_thousand"]) == pytest.approx(0.08925 * seconds * 1000 / 3600 / 2)


WRONG = {
    "no such file": (["none.onnx"], "no file or folder 'none.onnx'"),
    "no such module": (["nowhere:net"], "model 'nowhere:net' cannot be imported"),
    "no module": (["NETS:number"], "gives a int, not a torch.nn.Module"),
    "no training": (["NETS:wide", "--prune", "0.5"], "need training rows"),
    "fixed graph": (["m.onnx", "--prune", "0.5", "--train", "training.npz"], "holds a fixed graph"),
    "unknown type": (["m.onnx", "--instance-type", "c99.large"], "no price for"),
    "unknown region": (["m.onnx", "--instance-type", "c7i.large", "--region", "x"], "no price for"),
    "alternative without file": (["m.onnx", "--alternative", "a=b.onnx"], "names no file"),
    "odd share": (["m.onnx", "--prune", "1.5"], "1.5 is not in the range"),
    "unknown metric": (["m.onnx", "--metric", "beauty"], "unknown metric 'beauty'"),
    "no torchscript": (["bad.pt"], "neither TorchScript nor plain weights"),
    "no hugging face folder": (["."], "config.json"),
    "latencies of another kind": (["m.onnx", "--latencies", "bad.pt"], "cannot read"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_wrong_input_is_one_error_and_nothing_is_written(case: str, nets: str, wide: Any) -> None:
    words, message = WRONG[case]
    export(wide, {"x": np.zeros((2, 16), np.float32)}, Path("m.onnx"))
    Path("bad.pt").write_bytes(b"no model")
    before = sorted(Path().iterdir())
    done = optimize(*(word.replace("NETS", nets) for word in words))
    assert done.exit_code == 2
    assert message in done.stderr
    lines = done.stderr.splitlines()
    assert sum(line.startswith(("error: ", "Error: ")) for line in lines) == 1
    assert [path for path in sorted(Path().iterdir()) if path.name != "__pycache__"] == before


def test_a_model_that_is_quantized_already_is_refused() -> None:
    import onnx

    info = onnx.helper.make_tensor_value_info
    weight = onnx.numpy_helper.from_array(np.ones((16, 4), np.int8), "w")
    scale = onnx.numpy_helper.from_array(np.float32(0.1), "s")
    nodes = [
        onnx.helper.make_node("DequantizeLinear", ["w", "s"], ["f"]),
        onnx.helper.make_node("MatMul", ["x", "f"], ["y"]),
    ]
    sides = [info("x", 1, ["n", 16])], [info("y", 1, ["n", 4])]
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", *sides, [weight, scale])),
        "small.onnx",
    )
    done = optimize("small.onnx")
    assert done.exit_code == 2
    assert "'small.onnx' is quantized already (int8): there is no FP32 to judge" in done.stderr
    assert not Path("out").exists()
