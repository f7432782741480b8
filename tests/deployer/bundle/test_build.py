"""Building: what goes in, the same bytes for the same input, and nothing by a link or by half."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.bundle.build import build
from deployer.bundle.bundle import Bundle, open_bundle
from deployer.errors import InputError
from inference_code.contract import (
    HANDLER_PATH,
    REQUIREMENTS_PATH,
    ServingConfig,
    TensorSpec,
)

if TYPE_CHECKING:
    from conftest import OnnxForge

HANDLER = "def model_fn(folder): return None\ndef predict_fn(data, model): return data\n"


def content(bundle: Bundle, member: str) -> str:
    with tarfile.open(bundle.path) as archive:
        file = archive.extractfile(member)
        assert file is not None
        return file.read().decode()


def paths(bundle: Bundle, *, ours: bool = False) -> set[str]:
    """Return the members, by default without the serving code's files."""
    everything = {member.path for member in bundle.manifest.members}
    return {path for path in everything if ours or not path.startswith("code/inference_code/")}


def test_a_bundle_has_the_layout_of_sagemaker(model: Path, out: Path) -> None:
    bundle = build(model, out, name="digits")
    assert paths(bundle) == {"model.onnx", HANDLER_PATH, REQUIREMENTS_PATH}
    assert bundle.path == out / f"digits-{bundle.digest[:12]}.tar.gz"
    assert bundle.manifest.model == "model.onnx"
    assert bundle.manifest.inputs == (TensorSpec("x", "float32", (None, 4)),)
    assert bundle.manifest.outputs == (TensorSpec("y", "float32", (None, 2)),)
    assert [path.name for path in out.iterdir()] == [bundle.path.name]


def test_what_was_built_opens_as_it_was_built(model: Path, out: Path) -> None:
    serving = ServingConfig(workers=2, max_batch=16)
    lineage = {"parent": "0" * 64}
    bundle = build(model, out, name="d", serving=serving, precision="fp32-fused", lineage=lineage)
    assert open_bundle(bundle.path) == bundle
    assert bundle.manifest.serving == serving
    assert bundle.manifest.precision == "fp32-fused"
    assert bundle.manifest.lineage == lineage


def test_the_serving_code_goes_in_whole_and_clean(model: Path, out: Path) -> None:
    bundle = build(model, out, name="d")
    names = {path for path in paths(bundle, ours=True) if path.startswith("code/inference_code/")}
    assert {
        f"code/inference_code/{name}"
        for name in ("__init__.py", "__main__.py", "contract.py", "handlers/onnx.py")
    } <= names
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]


def test_handler_extra_samples_and_requirements_go_to_their_places(
    model: Path, handler: Path, out: Path, tmp_path: Path
) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "one.json").write_text("{}")
    (samples / "two.csv").write_text("1,2")
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "en.txt").write_text("zero")
    (tmp_path / "needs.txt").write_text("Tokenizers==0.21\n")
    bundle = build(
        model,
        out,
        name="d",
        handler=handler,
        requirements=tmp_path / "needs.txt",
        extra=[tmp_path / "tokenizer.json", tmp_path / "labels"],
        samples=samples,
    )
    assert paths(bundle) == {
        "model.onnx",
        "tokenizer.json",
        "labels/en.txt",
        HANDLER_PATH,
        REQUIREMENTS_PATH,
        "code/samples/one.json",
        "code/samples/two.csv",
    }
    assert content(bundle, HANDLER_PATH) == HANDLER
    lines = content(bundle, REQUIREMENTS_PATH).splitlines()
    assert "Tokenizers==0.21" in lines
    assert any(line.startswith("numpy") for line in lines)


def test_any_file_goes_with_a_handler(handler: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"forest")
    bundle = build(tmp_path / "model.joblib", out, name="d", handler=handler)
    assert bundle.manifest.model == "model.joblib"
    assert (bundle.manifest.inputs, bundle.manifest.outputs) == ((), ())


def test_any_folder_goes_with_a_handler(handler: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "m" / "sub").mkdir(parents=True)
    (tmp_path / "m" / "config.json").write_text("{}")
    (tmp_path / "m" / "sub" / "weights").write_bytes(b"x")
    bundle = build(tmp_path / "m", out, name="d", handler=handler)
    assert bundle.manifest.model == "."
    assert {"config.json", "sub/weights"} <= paths(bundle)


def test_a_folder_in_sagemakers_layout_brings_its_handler_and_requirements(
    model: Path, out: Path
) -> None:
    (model.parent / "code").mkdir()
    (model.parent / HANDLER_PATH).write_text(HANDLER)
    (model.parent / REQUIREMENTS_PATH).write_text("scipy==1.15\n")
    bundle = build(model.parent, out, name="d")
    assert content(bundle, HANDLER_PATH) == HANDLER
    assert "scipy==1.15" in content(bundle, REQUIREMENTS_PATH)
    assert bundle.manifest.model == "model.onnx"


def test_external_weights_beside_the_model_go_in(
    out: Path, tmp_path: Path, onnx_forge: OnnxForge
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(b"weights")
    (tmp_path / "other.bin").write_bytes(b"not named by the model")
    (tmp_path / "m.onnx").write_bytes(onnx_forge.model("data/w.bin"))
    bundle = build(tmp_path / "m.onnx", out, name="d")
    assert paths(bundle) == {"m.onnx", "data/w.bin", HANDLER_PATH, REQUIREMENTS_PATH}


def test_an_executable_file_stays_one(handler: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "decoder").write_bytes(b"\x7fELF")
    (tmp_path / "m" / "decoder").chmod(0o744)
    handler.chmod(0o777)
    bundle = build(tmp_path / "m", out, name="d", handler=handler)
    modes = {member.path: member.mode for member in bundle.manifest.members}
    assert modes["decoder"] == "0755"
    assert modes[HANDLER_PATH] == "0644"


# The same input, the same bytes


def _inputs(folder: Path, onnx: bytes, names: list[str]) -> Path:
    """Write a model folder, its files in the order of ``names``, as another user might have them."""
    (folder / "m" / "code").mkdir(parents=True)
    for name in names:
        path = folder / "m" / name
        text = HANDLER if name == HANDLER_PATH else name
        path.write_bytes(onnx if name.endswith(".onnx") else text.encode())
        os.utime(path, ns=(time.time_ns(), len(str(folder)) * 10**15))
    return folder / "m"


NAMES = ["model.onnx", "a.txt", HANDLER_PATH, "Z.txt", "b.txt"]


def test_clock_umask_folder_and_order_do_not_change_a_byte(
    tmp_path: Path, onnx_forge: OnnxForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _inputs(tmp_path / "one", onnx_forge.model(), NAMES)
    one = build(first, tmp_path / "out1", name="d", lineage={"a": "1", "b": "2"})
    (tmp_path / "deep/er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep/er")
    before = os.umask(0o077)
    try:
        _inputs(Path("two"), onnx_forge.model(), NAMES[::-1])
        two = build(Path("two/m"), Path("out2"), name="d", lineage={"b": "2", "a": "1"})
    finally:
        os.umask(before)
    assert one.path.name == two.path.name
    assert one.path.read_bytes() == two.path.read_bytes()


BUILD = """
import sys
from pathlib import Path
from deployer.bundle.build import build
print(build(Path(sys.argv[1]), Path(sys.argv[2]), name="d").path)
"""


def test_another_process_user_time_zone_and_hash_seed_give_the_same_bytes(
    model: Path, out: Path, tmp_path: Path
) -> None:
    ours = build(model, out, name="d")
    environment = {
        **os.environ,
        "TZ": "Asia/Kolkata",
        "PYTHONHASHSEED": "7",
        "LC_ALL": "C",
        "HOME": "/",
    }
    done = subprocess.run(
        [sys.executable, "-c", BUILD, model, tmp_path / "theirs"],
        capture_output=True,
        env=environment,
        check=True,
        text=True,
    )
    assert Path(done.stdout.strip()).name == ours.path.name
    assert Path(done.stdout.strip()).read_bytes() == ours.path.read_bytes()


BUILD_WITH_ZLIB_NG = (
    """
import sys
from zlib_ng import zlib_ng
sys.modules["zlib"] = zlib_ng
"""
    + BUILD
)


def test_zlib_ng_gives_the_same_identity(model: Path, out: Path, tmp_path: Path) -> None:
    pytest.importorskip("zlib_ng")
    ours = build(model, out, name="d")
    done = subprocess.run(
        [sys.executable, "-c", BUILD_WITH_ZLIB_NG, model, tmp_path / "theirs"],
        capture_output=True,
        check=True,
        text=True,
    )
    theirs = Path(done.stdout.strip())
    assert theirs.read_bytes() != ours.path.read_bytes()
    assert theirs.name == ours.path.name
    assert open_bundle(theirs).digest == ours.digest


def test_any_other_input_gives_another_digest(
    model: Path, handler: Path, out: Path, onnx_forge: OnnxForge
) -> None:
    digests = {
        build(model, out, name="d").digest,
        build(model, out, name="e").digest,
        build(model, out, name="d", precision="fp32-fused").digest,
        build(model, out, name="d", lineage={"a": "b"}).digest,
        build(model, out, name="d", serving=ServingConfig(max_batch=9)).digest,
        build(model, out, name="d", handler=handler).digest,
        build(model, out, name="d", extra=[handler]).digest,
    }
    model.write_bytes(onnx_forge.model() + onnx_forge.field(6, "a word more"))
    assert len(digests | {build(model, out, name="d").digest}) == 8


def test_building_again_replaces_the_same_file(model: Path, out: Path) -> None:
    first = build(model, out, name="d")
    first.path.write_bytes(b"damaged meanwhile")
    assert open_bundle(build(model, out, name="d").path) == first
    assert len(list(out.iterdir())) == 1


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, onnx_forge: OnnxForge) -> Bundle:
    folder = tmp_path_factory.mktemp("built")
    (folder / "m.onnx").write_bytes(onnx_forge.model())
    return build(folder / "m.onnx", folder / "out", name="d")


@given(where=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_anywhere_is_refused_in_one_line(
    built: Bundle, where: float, change: int
) -> None:
    with built.path.open("r+b", buffering=0) as file:
        index = int(where * built.path.stat().st_size)
        before = os.pread(file.fileno(), 1, index)
        os.pwrite(file.fileno(), bytes([before[0] ^ change]), index)
        with pytest.raises(InputError, match=r"^d-[^\n]*: the file is damaged[^\n]*$"):
            open_bundle(built.path)
        os.pwrite(file.fileno(), before, index)
    assert open_bundle(built.path) == built


def test_the_archive_is_a_plain_tar_gz(model: Path, out: Path) -> None:
    bundle = build(model, out, name="d")
    assert gzip.decompress(bundle.path.read_bytes())[257:263] == b"ustar\0"


def test_the_precision_of_a_graph_is_read_and_a_wrong_word_for_it_is_refused(
    model: Path, out: Path
) -> None:
    assert build(model, out, name="d").manifest.precision == "fp32"
    with pytest.raises(InputError, match=r"^precision: 'int8' is stated, .* computes in fp32$"):
        build(model, out, name="d", precision="int8")
    measured = build(model, out, name="d", precision="bf16", engine="openvino")
    assert measured.manifest.precision == "bf16"


def test_the_precision_of_other_models_is_what_is_stated(
    tmp_path: Path, handler: Path, out: Path
) -> None:
    trees = tmp_path / "trees.bin"
    trees.write_bytes(b"trees")
    assert build(trees, out, name="d", handler=handler).manifest.precision == "unstated"
    stated = build(trees, out, name="d", handler=handler, precision="fp64")
    assert stated.manifest.precision == "fp64"
