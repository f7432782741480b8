"""Eight clients at once, five rounds: each answer is the one that ONNX Runtime gives to that request alone.

Each model is packaged and started once for each set of options. A model that may not be served so is refused, with a
reason; it is never answered wrongly.
"""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from deployer.bundle.bundle import open_bundle

pytest.importorskip("torch")
pytestmark = [pytest.mark.serve, pytest.mark.optimize, pytest.mark.slow]

#: Models whose rows meet, or lie where no axis is free: they are served, one request at a time.
APART = {
    "attention without a batch", "detector", "less the mean of the batch", "softmax over the batch", "batch statistics",
    "a graph's nodes and edges", "state", "scalar input", "scalar output", "encoder, time first",
}  # fmt: skip
#: How far a shared scale may move an answer where nothing says ``--exact``.
TIED = "dynamic int8"


def fake(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        name, Path(__file__).parents[1] / f"fakes/{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


crowd, traits = fake("crowd"), fake("traits")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("traits")
    return {**traits.traits(folder), **traits.layouts(folder)}


@pytest.mark.parametrize("options", [(), ("--exact",)], ids=["as usual", "exact"])
@pytest.mark.parametrize("samples", [True, False], ids=["samples", "no samples"])
def test_answers_do_not_depend_on_who_else_asks(
    models: dict[str, Path], tmp_path: Path, samples: bool, options: tuple[str, ...]
) -> None:
    chosen = {name: path for name, path in models.items() if options or name != TIED}

    def wrong(name: str) -> list[str]:
        return crowd.wrong(chosen[name], tmp_path / name, samples=samples, options=options)

    with ThreadPoolExecutor(2) as pool:
        problems = dict(zip(chosen, pool.map(wrong, chosen), strict=True))
    assert {name: found for name, found in problems.items() if found} == {}


@pytest.fixture(scope="module")
def packaged(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import deployer

    folder = tmp_path_factory.mktemp("packaged")
    return {
        name: deployer.package(path, folder / name, name="m").path for name, path in models.items()
    }


def test_the_proof_is_in_the_manifest_with_the_digest_or_the_reason(
    packaged: dict[str, Path],
) -> None:
    for name, path in packaged.items():
        manifest = open_bundle(path).manifest
        assert manifest.batching is not None
        assert (manifest.proof is None) == (name in APART), name
        assert bool(manifest.batching.reason) == (name in APART), name
        if manifest.proof is not None:
            assert manifest.proof.runtime.startswith("onnxruntime ")
            assert manifest.proof.kind == ("scale" if name == TIED else "rows")
    assert open_bundle(packaged[TIED]).manifest.batching.moved > 0.001
    assert dict(open_bundle(packaged["GRU with its state"]).manifest.proof.outputs) == {
        "y": 0,
        "h": 1,
    }


def test_joined_requests_get_what_each_gets_alone(
    packaged: dict[str, Path], tmp_path: Path
) -> None:
    """In one process, so that there is a batch for certain: three requests of 1, 2 and 3 rows."""
    from deployer.bundle import archive
    from inference_code.engine.served import ServedModel
    from inference_code.engine.settings import read_settings

    for number, (name, path) in enumerate(packaged.items()):
        if name in APART or name == TIED:
            continue
        archive.unpack(path, tmp_path / str(number))
        model = ServedModel(read_settings(tmp_path / str(number)))
        assert model.max_batch == 8, name
        trials = model.handler.trials()
        items = [
            item._replace(
                arrays={
                    n: a.repeat(rows, model.handler._joining.axes[n])
                    for n, a in item.arrays.items()
                }
            )
            for rows, item in enumerate(trials, 1)
        ]
        assert model.handler._joining.fit([item.arrays for item in items]), name
        together = model.handler.predict(items)
        for item, (_, arrays) in zip(items, together, strict=True):
            ((_, alone),) = model.handler.predict([item])
            assert {n: a.shape for n, a in arrays.items()} == {n: a.shape for n, a in alone.items()}
            for output, array in alone.items():
                if array.dtype.kind == "f":
                    assert crowd.equal(arrays[output].tolist(), array), (name, output)
