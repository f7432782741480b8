"""Building: what goes in, the same bytes for the same input, and nothing by a link or by half."""

from __future__ import annotations

import gzip
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.bundle.build import build
from deployer.bundle.bundle import Bundle, open_bundle
from deployer.errors import EnvironmentProblem, InputError, SpecError
from inference_code.contract import (
    HANDLER_PATH,
    MANIFEST_PATH,
    REQUIREMENTS_PATH,
    ServingConfig,
    TensorSpec,
)

if TYPE_CHECKING:
    from conftest import OnnxForge

HANDLER = "def model_fn(folder): return None\ndef predict_fn(data, model): return data\n"


@pytest.fixture
def model(tmp_path: Path, onnx_forge: OnnxForge) -> Path:
    path = tmp_path / "in" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(onnx_forge.model())
    return path


@pytest.fixture
def handler(tmp_path: Path) -> Path:
    path = tmp_path / "my_handler.py"
    path.write_text(HANDLER)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


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
    bundle = build(model, out, name="d", serving=serving, precision="int8", lineage=lineage)
    assert open_bundle(bundle.path) == bundle
    assert bundle.manifest.serving == serving
    assert bundle.manifest.precision == "int8"
    assert bundle.manifest.lineage == lineage


def test_the_serving_code_goes_in_whole_and_clean(model: Path, out: Path) -> None:
    bundle = build(model, out, name="d")
    names = {path for path in paths(bundle, ours=True) if path.startswith("code/inference_code/")}
    assert {
        f"code/inference_code/{name}"
        for name in ("__init__.py", "__main__.py", "contract.py", "handlers/onnx.py")
    } <= names
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]


def test_the_default_handler_is_the_serving_codes_own(model: Path, out: Path) -> None:
    bundle = build(model, out, name="d")
    names: dict[str, object] = {}
    exec(content(bundle, HANDLER_PATH), names)  # the installed serving code is the bundle's
    from inference_code.handlers.onnx import Handler

    assert names["Handler"] is Handler


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
        path.write_bytes(onnx if name.endswith(".onnx") else name.encode())
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
        build(model, out, name="d", precision="int8").digest,
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


# Refusals: each leaves nothing in the output folder


def refusal(out: Path, model: Path, **options: object) -> InputError:
    with pytest.raises(InputError) as caught:
        build(model, out, **{"name": "d", **options})  # type: ignore[arg-type]
    assert not out.exists()
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


@pytest.mark.parametrize(
    "what", ["model", "model folder", "handler", "requirements", "extra", "samples"]
)
def test_a_link_is_never_followed(model: Path, out: Path, tmp_path: Path, what: str) -> None:
    (tmp_path / "secret.json").write_text("secret")
    link = tmp_path / ("link.onnx" if what == "model" else "link.json")
    link.symlink_to(model if what == "model" else tmp_path / "secret.json")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "inner.json").symlink_to("../secret.json")
    if what == "model":
        error = refusal(out, link)
    elif what == "model folder":
        error = refusal(out, folder)
    else:
        given = [link] if what == "extra" else link
        error = refusal(out, model, **{what: given})
        if what in ("extra", "samples"):
            refusal(out, model, **{what: [folder] if what == "extra" else folder})
    assert "is a symbolic link" in str(error)


def test_external_weights_by_a_link_are_refused(
    out: Path, tmp_path: Path, onnx_forge: OnnxForge
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("secret")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "data").symlink_to("../secret")
    (tmp_path / "in" / "m.onnx").write_bytes(onnx_forge.model("data/key"))
    assert "data' is a symbolic link" in str(refusal(out, tmp_path / "in" / "m.onnx"))


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret", "..\\secret"])
def test_external_weights_outside_the_folder_are_refused(
    model: Path, out: Path, onnx_forge: OnnxForge, location: str
) -> None:
    (model.parent.parent / "secret").write_text("secret")
    model.write_bytes(onnx_forge.model(location))
    for given in (model, model.parent):
        assert f"keeps weights outside its folder, in {location!r}" in str(refusal(out, given))


def test_external_weights_that_are_missing_are_refused(
    model: Path, out: Path, onnx_forge: OnnxForge
) -> None:
    model.write_bytes(onnx_forge.model("w.bin"))
    assert "w.bin': No such file" in str(refusal(out, model))
    assert "keeps weights in 'w.bin', which is missing" in str(refusal(out, model.parent))


def test_two_files_for_one_place_are_refused_with_the_place(
    model: Path, handler: Path, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "MODEL.onnx").write_bytes(b"x")
    assert "same file as member 'model.onnx'" in str(
        refusal(out, model, extra=[tmp_path / "MODEL.onnx"])
    )
    (model.parent / "code").mkdir()
    (model.parent / HANDLER_PATH).write_text(HANDLER)
    assert "member 'code/inference.py' is there twice" in str(
        refusal(out, model.parent, handler=handler)
    )


def test_an_unpacked_bundle_is_no_model(model: Path, out: Path) -> None:
    (model.parent / MANIFEST_PATH).parent.mkdir()
    (model.parent / MANIFEST_PATH).write_text("{}")
    error = refusal(out, model.parent)
    assert "is part of a bundle already" in str(error)
    assert error.hint == "package the model's files, not an unpacked bundle"


def test_the_output_may_not_lie_in_the_input(model: Path) -> None:
    error = refusal(model.parent / "out", model.parent)
    assert "which goes into the bundle" in str(error)


def test_without_a_handler_the_model_must_be_one_onnx_file(
    model: Path, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.pt").write_bytes(b"PK")
    error = refusal(out, tmp_path / "model.pt")
    assert "is not one ONNX model, and comes without a handler" in str(error)
    assert "--handler" in (error.hint or "")
    shutil.copy(model, model.parent / "second.onnx")
    assert "is not one ONNX model" in str(refusal(out, model.parent))


def test_what_the_default_handler_cannot_answer_needs_a_handler(
    model: Path, handler: Path, out: Path, onnx_forge: OnnxForge
) -> None:
    f = onnx_forge.field
    model.write_bytes(f(7, onnx_forge.graph() + f(12, f(1, "labels") + f(2, f(4, f(1, b""))))))
    assert "'labels' is no tensor of a known type" in str(refusal(out, model))
    assert [
        spec.name for spec in build(model, out, name="d", handler=handler).manifest.outputs
    ] == ["y"]


BAD_INPUTS: dict[str, tuple[str, bytes, dict[str, str], str]] = {
    "no onnx": ("m.onnx", b"hello", {}, "m.onnx' is not an ONNX model"),
    "name": ("m.bin", b"x", {"name": "../evil"}, "name: '../evil' must be"),
    "empty name": ("m.bin", b"x", {"name": ""}, "name: '' must be"),
    "line end in a file name": ("m\n.bin", b"x", {}, "holds a character that cannot be printed"),
    "backslash in a file name": ("a\\b.bin", b"x", {}, "holds a backslash"),
    "sample": ("m.bin", b"x", {"samples": "m.bin"}, "is no sample request"),
    "requirements": (
        "m.bin",
        b"-r other\n",
        {"requirements": "m.bin"},
        "inside the image: '-r other'",
    ),
    "requirements that are no text": ("m.bin", b"\xff", {"requirements": "m.bin"}, "is not UTF-8"),
}


@pytest.mark.parametrize("bad", BAD_INPUTS.values(), ids=BAD_INPUTS.keys())
def test_bad_input_is_one_clear_error(
    handler: Path, out: Path, tmp_path: Path, bad: tuple[str, bytes, dict[str, str], str]
) -> None:
    file_name, data, options, problem = bad
    path = tmp_path / file_name
    path.write_bytes(data)
    given = {key: value if key == "name" else tmp_path / value for key, value in options.items()}
    assert problem in str(refusal(out, path, handler=handler, **given))


@pytest.mark.parametrize("what", ["model", "handler", "requirements", "extra", "samples"])
def test_what_is_missing_is_named(model: Path, out: Path, tmp_path: Path, what: str) -> None:
    none = tmp_path / "none"
    options = {} if what == "model" else {what: [none] if what == "extra" else none}
    error = refusal(out, none if what == "model" else model, **options)
    assert str(error) == f"cannot read {str(none)!r}: No such file or directory"


def test_lineage_that_is_no_text_is_refused(model: Path, out: Path) -> None:
    assert "lineage must be text by name, not 'a': 1" in str(refusal(out, model, lineage={"a": 1}))


def test_a_bad_name_is_a_spec_error(model: Path, out: Path) -> None:
    with pytest.raises(SpecError):
        build(model, out, name="no spaces, please")


# Failures on the way


def test_a_folder_that_cannot_be_made_is_one_clear_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        EnvironmentProblem, match=r"cannot write '.*file/out/d-[0-9a-f]{12}"
    ) as caught:
        build(model, tmp_path / "file" / "out", name="d")
    assert len(str(caught.value).splitlines()) == 1


def test_a_full_disk_leaves_nothing(handler: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(os.urandom(1 << 20))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, before[1]))
    try:
        with pytest.raises(EnvironmentProblem, match="File too large"):
            build(tmp_path / "m.bin", out, name="d", handler=handler)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(out.iterdir()) == []


BUILD_SLOWLY = """
import sys
from pathlib import Path
from deployer.bundle.build import build
build(Path(sys.argv[1]), Path(sys.argv[2]), name="d", handler=Path(sys.argv[3]))
"""


def test_ctrl_c_while_it_compresses_leaves_nothing(
    handler: Path, out: Path, tmp_path: Path
) -> None:
    big = tmp_path / "big.bin"
    with big.open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(1 << 20))
    out.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD_SLOWLY, big, out, handler], stderr=subprocess.PIPE
    )
    with process:
        while not list(out.iterdir()) and process.poll() is None:
            time.sleep(0.01)
        assert [path.name for path in out.iterdir() if path.name.startswith(".d-")]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert b"KeyboardInterrupt" in errors
    assert list(out.iterdir()) == []


def test_a_file_that_changes_while_it_is_packed_is_refused(
    handler: Path, out: Path, tmp_path: Path
) -> None:
    from deployer.bundle.archive import pack
    from deployer.bundle.disk import file_at
    from deployer.bundle.staging import new_file

    bundle = build(handler, out, name="d", handler=handler)
    sources = {member.path: file_at(handler) for member in bundle.manifest.members}
    with (
        pytest.raises(InputError, match="changed while it was packed"),
        new_file(out / "other") as file,
    ):
        pack(file, bundle.manifest, sources)
    assert list(out.iterdir()) == [bundle.path]


def test_the_archive_is_a_plain_tar_gz(model: Path, out: Path) -> None:
    bundle = build(model, out, name="d")
    assert gzip.decompress(bundle.path.read_bytes())[257:263] == b"ustar\0"
