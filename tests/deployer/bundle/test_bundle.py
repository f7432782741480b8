"""Opening a bundle: the archive, or the folder it unpacks to, verified the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.bundle.archive import unpack
from deployer.bundle.bundle import archive_name, open_bundle
from deployer.bundle.members import Limits
from deployer.errors import InputError
from inference_code.contract import MANIFEST_PATH

if TYPE_CHECKING:
    from conftest import Forge, OnnxForge


def test_archive_and_folder_are_one_bundle(forge: Forge, tmp_path: Path) -> None:
    path = forge.sealed()
    unpack(path, tmp_path / "folder")
    archive, folder = open_bundle(path), open_bundle(tmp_path / "folder")
    assert archive.manifest == folder.manifest == forge.manifest()
    assert archive.digest == folder.digest == forge.manifest().digest


def test_the_digest_is_the_sha256_of_the_manifest_as_it_lies_there(forge: Forge) -> None:
    text = (forge.folder_of() / MANIFEST_PATH).read_bytes()
    assert open_bundle(forge.folder_of()).digest == hashlib.sha256(text).hexdigest()


def test_a_name_that_promises_another_bundle_is_refused(forge: Forge) -> None:
    honest = forge.sealed(name=archive_name(forge.manifest()))
    assert open_bundle(honest).path == honest
    other = forge.sealed({**forge.files, "model.bin": b"other"}, name=honest.name)
    with pytest.raises(InputError, match="not the one it is named for"):
        open_bundle(other)


def test_only_the_bundle_asked_for_will_do(forge: Forge) -> None:
    path, digest = forge.sealed(), forge.manifest().digest
    assert open_bundle(path, digest=digest).digest == digest
    assert open_bundle(path, digest=digest[:12]).digest == digest
    with pytest.raises(InputError, match="holds the bundle"):
        open_bundle(path, digest="0" * 64)
    for wrong in ("", digest[:11], digest.upper(), "x" * 12):
        with pytest.raises(InputError, match="is no bundle's digest"):
            open_bundle(path, digest=wrong)


def _write(path: str, data: bytes) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)

    return write


def _link_out(folder: Path) -> None:
    (folder / "model.bin").rename(folder.parent / "model.bin")
    (folder / "model.bin").symlink_to("../model.bin")


TAMPERINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "altered": (_write("model.bin", b"Weights" * 20), "member 'model.bin' has other content"),
    "shortened": (_write("model.bin", b"x"), "member 'model.bin' is 1 bytes long"),
    "added": (_write("evil.py", b""), "member 'evil.py' is not listed"),
    "missing": (
        lambda f: (f / "model.bin").unlink(),
        "member 'model.bin' is listed in the manifest and",
    ),
    "no manifest": (lambda f: (f / MANIFEST_PATH).unlink(), f"member '{MANIFEST_PATH}' is missing"),
    "executable": (
        lambda f: (f / "model.bin").chmod(0o755),
        "member 'model.bin' has the mode 0755",
    ),
    "link": (_link_out, "model.bin' is a symbolic link"),
    "fifo": (lambda f: os.mkfifo(f / "pipe"), "pipe' is a fifo"),
    "bytecode": (
        _write("code/__pycache__/x.pyc", b""),
        "member 'code/__pycache__/x.pyc' is not listed",
    ),
}


@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_a_folder_that_was_tampered_with_is_refused_by_name(
    forge: Forge, tampering: tuple[Callable[[Path], object], str]
) -> None:
    tamper, problem = tampering
    folder = forge.folder_of()
    tamper(folder)
    with pytest.raises(InputError) as caught:
        open_bundle(folder)
    assert problem in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_every_flipped_byte_of_every_member_of_a_folder_is_refused(forge: Forge) -> None:
    folder = forge.folder_of()
    for path in [*forge.files, MANIFEST_PATH]:
        whole = (folder / path).read_bytes()
        for index in range(len(whole)):
            (folder / path).write_bytes(
                whole[:index] + bytes([whole[index] ^ 0xFF]) + whole[index + 1 :]
            )
            with pytest.raises(InputError):
                open_bundle(folder)
        (folder / path).write_bytes(whole)
    assert open_bundle(folder).manifest == forge.manifest()


def test_a_folder_past_the_bounds_is_refused_by_name(forge: Forge) -> None:
    folder = forge.folder_of()
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(
        InputError, match="member 'sparse' is past the bound of 17,179,869,184 bytes"
    ):
        open_bundle(folder)
    with pytest.raises(
        InputError, match=r"member 'code/requirements\.txt' is past the bound of 2 mem"
    ):
        open_bundle(forge.folder_of(), limits=Limits(members=2))


def test_weights_of_an_unpacked_model_may_not_lie_outside(
    forge: Forge, onnx_forge: OnnxForge
) -> None:
    files = {**forge.files, "model.onnx": onnx_forge.model("../../etc/passwd")}
    with pytest.raises(InputError, match=r"member 'model\.onnx' keeps weights outside its folder"):
        open_bundle(forge.folder_of(files))


def test_the_user_may_name_a_bundle_by_a_link(forge: Forge, tmp_path: Path) -> None:
    (tmp_path / "latest.tar.gz").symlink_to(forge.sealed())
    assert open_bundle(tmp_path / "latest.tar.gz").digest == forge.manifest().digest
