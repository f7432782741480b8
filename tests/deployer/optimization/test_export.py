from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from deployer.errors import ConditionFailed, InputError
from deployer.optimization.export import export
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize

Example = dict[str, np.ndarray]


class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.last = torch.nn.Linear(4 * 16, 3)

    def forward(self, image):  # type: ignore[no-untyped-def]
        return self.last(torch.relu(self.norm(self.first(image))).flatten(1))


class Pair(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Two inputs of one free length, taken in the opposite order of the example."""

    def forward(self, mask, values):  # type: ignore[no-untyped-def]
        return (values * mask).sum(dim=1, keepdim=True) / (mask.sum(dim=1, keepdim=True) + 1)


class Noisy(torch.nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, image):  # type: ignore[no-untyped-def]
        return image.flatten(1) + torch.randn(1)


class Sorter(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Uses an operator that ONNX does not have."""

    def forward(self, image):  # type: ignore[no-untyped-def]
        return torch.linalg.eigvalsh(image[:, 0])


@pytest.fixture
def example() -> Example:
    return {"image": np.random.default_rng(0).normal(size=(3, 1, 4, 4)).astype(np.float32)}


def test_export_answers_as_its_source_at_any_batch(example: Example, tmp_path: Path) -> None:
    net = Net()
    variant = export(net, example, tmp_path / "net.onnx")
    batch = np.random.default_rng(1).normal(size=(17, 1, 4, 4)).astype(np.float32)
    with torch.no_grad():
        wanted = net.eval()(torch.from_numpy(batch)).numpy()
    given = Session(variant.path).run({"image": batch})
    np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_free_axes_stay_free_and_inputs_keep_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    example = {
        "values": rng.normal(size=(3, 5)).astype(np.float32),
        "mask": np.ones((3, 5), np.float32),
    }
    axes = {"values": [1], "mask": [1]}
    export(Pair(), example, tmp_path / "pair.onnx", dynamic_axes=axes)
    session = Session(tmp_path / "pair.onnx")
    values = rng.normal(size=(2, 9)).astype(np.float32)
    answer = session.run({"values": values, "mask": np.ones((2, 9), np.float32)})
    np.testing.assert_allclose(answer[:, 0], values.sum(axis=1) / 10, rtol=1e-5)
    assert {spec.name: spec.shape for spec in session.inputs} == {
        "mask": (None, None),
        "values": (None, None),
    }


def test_two_exports_are_the_same_bytes(example: Example, tmp_path: Path) -> None:
    first = export(Net(), example, tmp_path / "a.onnx")
    second = export(Net(), example, tmp_path / "b.onnx")
    assert first.sha256 == second.sha256


def test_export_names_no_file_of_this_machine(example: Example, tmp_path: Path) -> None:
    export(Net(), example, tmp_path / "a.onnx")
    content = (tmp_path / "a.onnx").read_bytes()
    for trace in (b".py", str(Path.home()).encode(), os.getcwd().encode()):
        assert trace not in content


def test_random_model_is_a_failed_condition_that_names_the_difference(
    example: Example, tmp_path: Path
) -> None:
    with pytest.raises(ConditionFailed, match=r"largest difference [0-9.]+ at batch 1"):
        export(Noisy(), example, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_operator_that_onnx_lacks_is_named(tmp_path: Path) -> None:
    example = {"image": np.zeros((2, 1, 4, 4), np.float32)}
    with pytest.raises(InputError, match="eigh"):
        export(Sorter(), example, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def torchscript(example: Example, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(Net().eval(), torch.from_numpy(example["image"])).save(str(path))


def exported_program(example: Example, path: Path) -> None:
    free = ({0: torch.export.Dim.DYNAMIC},)
    inputs = (torch.from_numpy(example["image"]),)
    torch.export.save(torch.export.export(Net().eval(), inputs, dynamic_shapes=free), path)


def onnx_file(example: Example, path: Path) -> None:
    export(Net(), example, path)


@pytest.mark.parametrize(
    ("write", "name"),
    [(torchscript, "net.pt"), (exported_program, "net.pt2"), (onnx_file, "net.onnx")],
)
def test_model_files_of_every_kind_answer_alike(
    write: Any, name: str, example: Example, tmp_path: Path
) -> None:
    write(example, tmp_path / name)
    variant = export(tmp_path / name, example, tmp_path / "out/model.onnx")
    with torch.no_grad():
        wanted = Net().eval()(torch.from_numpy(example["image"])).numpy()
    np.testing.assert_allclose(Session(variant.path).run(example), wanted, atol=1e-5)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("exploded",))


def test_pickle_with_code_is_refused_and_never_run(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="pickle that runs code is not read"):
        export(tmp_path / "model.pt", example, tmp_path / "out.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_weights_without_a_model_say_what_to_do(example: Example, tmp_path: Path) -> None:
    torch.save(Net().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(InputError, match="of weights, not a model") as caught:
        export(tmp_path / "weights.pt", example, tmp_path / "out.onnx")
    assert "torch.export.save" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.onnx", "no model file"),
        ("model.h5", "no model that can be read"),
        ("bad.onnx", "cannot read"),
    ],
)
def test_unreadable_model_is_named(
    name: str, message: str, example: Example, tmp_path: Path
) -> None:
    if name != "absent.onnx":
        (tmp_path / name).write_bytes(b"\xffgarbage")
    with pytest.raises(InputError, match=message) as caught:
        export(tmp_path / name, example, tmp_path / "out.onnx")
    assert name in caught.value.message


@pytest.mark.parametrize("bad", [{}, {"image": np.zeros((0, 1, 4, 4), np.float32)}])
def test_example_without_rows_is_refused(bad: Example, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one row"):
        export(Net(), bad, tmp_path / "net.onnx")


def test_external_data_is_carried_along_and_counted(example: Example, tmp_path: Path) -> None:
    whole = export(Net(), example, tmp_path / "net.onnx")
    source = tmp_path / "source"
    source.mkdir()
    onnx.save(
        onnx.load(str(whole.path)),
        str(source / "big.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    variant = export(source / "big.onnx", example, tmp_path / "out/model.onnx")
    np.testing.assert_allclose(
        Session(variant.path).run(example), Session(whole.path).run(example), atol=1e-6
    )
    assert variant.size_bytes == sum(path.stat().st_size for path in variant.files())


def test_weights_outside_the_folder_are_refused(example: Example, tmp_path: Path) -> None:
    whole = onnx.load(str(export(Net(), example, tmp_path / "net.onnx").path))
    source = tmp_path / "source"
    source.mkdir()
    onnx.save(
        whole,
        str(source / "m.onnx"),
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    model = onnx.load(str(source / "m.onnx"), load_external_data=False)
    for item in model.graph.initializer:
        for entry in item.external_data:
            if entry.key == "location":
                entry.value = "../w.bin"
    (source / "m.onnx").write_bytes(model.SerializeToString())
    (source / "w.bin").rename(tmp_path / "w.bin")
    with pytest.raises(InputError):
        export(source / "m.onnx", example, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


class Difference(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Not the same with its two arguments exchanged."""

    def forward(self, mask, values):  # type: ignore[no-untyped-def]
        return values - 3 * mask


def two() -> Example:
    """Arrays in another order than the program takes them."""
    rng = np.random.default_rng(5)
    return {name: rng.normal(size=(3, 4)).astype(np.float32) for name in ("values", "mask")}


def saved_pair(kind: str, path: Path, net: Any = None) -> Path:
    inputs = (torch.zeros(3, 4), torch.zeros(3, 4))
    net = (net or Difference()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if kind == "pt":
            torch.jit.trace(net, inputs, strict=False).save(str(path))
        else:
            free = torch.export.Dim.DYNAMIC
            args, options = (inputs, {}) if kind == "pt2" else (inputs[:1], {"values": inputs[1]})
            shapes = {"mask": {0: free}, "values": {0: free}}
            program = torch.export.export(net, args, options, dynamic_shapes=shapes)
            torch.export.save(program, path)
    return path


@pytest.mark.parametrize("kind", ["pt", "pt2", "pt2 by keyword"])
def test_programs_take_their_arguments_by_name_whatever_the_order_of_the_arrays(
    kind: str, tmp_path: Path
) -> None:
    model = saved_pair(kind, tmp_path / f"m.{kind.split()[0]}")
    arrays = two()
    export(model, arrays, tmp_path / "m.onnx")
    given = Session(tmp_path / "m.onnx").run(arrays)
    np.testing.assert_allclose(given, arrays["values"] - 3 * arrays["mask"], atol=1e-6)


@pytest.mark.parametrize("kind", ["pt", "pt2"])
def test_arrays_that_the_program_does_not_know_by_name_are_refused(
    kind: str, tmp_path: Path
) -> None:
    model = saved_pair(kind, tmp_path / f"m.{kind}")
    arrays = two()
    wrong = {"a": arrays["mask"], "b": arrays["values"]}
    with pytest.raises(InputError, match="the program takes mask, values, the arrays are called a"):
        export(model, wrong, tmp_path / "m.onnx")


class Several(torch.nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, mask, values):  # type: ignore[no-untyped-def]
        return {"sum": mask + values, "product": mask * values}


class Couple(torch.nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, mask, values):  # type: ignore[no-untyped-def]
        return mask + values, mask * values


@pytest.mark.parametrize("kind", ["module", "pt", "pt2"])
def test_every_output_of_a_model_is_kept_under_its_name(kind: str, tmp_path: Path) -> None:
    net = Couple() if kind == "pt" else Several()  # TorchScript's exporter knows no mappings
    model = net if kind == "module" else saved_pair(kind, tmp_path / f"m.{kind}", net)
    arrays = two()
    export(model, arrays, tmp_path / "m.onnx")
    session = Session(tmp_path / "m.onnx")
    names = [spec.name for spec in session.outputs]
    found = dict(zip(names, session.run_all(arrays, names), strict=True))
    total, product = ("output", "output_1") if kind == "pt" else ("sum", "product")
    assert set(found) == {total, product}
    np.testing.assert_allclose(found[total], arrays["mask"] + arrays["values"], atol=1e-6)
    np.testing.assert_allclose(found[product], arrays["mask"] * arrays["values"], atol=1e-6)


class NoisySecond(torch.nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, mask, values):  # type: ignore[no-untyped-def]
        return mask + values, values + torch.randn(1)


def test_second_output_that_differs_from_its_source_fails_the_export(tmp_path: Path) -> None:
    with pytest.raises(ConditionFailed, match=r"largest difference .* at batch 1 of 'output_1'"):
        export(NoisySecond(), two(), tmp_path / "m.onnx")
