"""Building refuses bad input with one clear error, follows no link, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.bundle.archive import pack
from deployer.bundle.build import build
from deployer.bundle.disk import file_at
from deployer.bundle.staging import new_file
from deployer.errors import EnvironmentProblem, InputError, SpecError
from inference_code.contract import HANDLER_PATH, MANIFEST_PATH

if TYPE_CHECKING:
    from conftest import OnnxForge

HANDLER = "def model_fn(folder): return None\ndef predict_fn(data, model): return data\n"


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
        error = refusal(out, model, **{what: [link] if what == "extra" else link})
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
    for path in (model, model.parent):
        assert f"keeps weights outside its folder, in {location!r}" in str(refusal(out, path))


def test_external_weights_that_are_missing_are_refused(
    model: Path, out: Path, onnx_forge: OnnxForge
) -> None:
    model.write_bytes(onnx_forge.model("w.bin"))
    assert "keeps weights in 'w.bin', which is missing" in str(refusal(out, model))
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
    paths = {key: value if key == "name" else tmp_path / value for key, value in options.items()}
    assert problem in str(refusal(out, path, handler=handler, **paths))


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
    bundle = build(handler, out, name="d", handler=handler)
    sources = {member.path: file_at(handler) for member in bundle.manifest.members}
    with (
        pytest.raises(InputError, match="changed while it was packed"),
        new_file(out / "other") as file,
    ):
        pack(file, bundle.manifest, sources)
    assert list(out.iterdir()) == [bundle.path]
