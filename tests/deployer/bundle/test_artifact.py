"""Artifacts that others made: every dialect of tar is read, nothing leaves the folder, nothing grows without bound."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.bundle.artifact import unpack_artifact
from deployer.bundle.members import Limits
from deployer.errors import InputError

Add = Callable[[tarfile.TarFile], None]


def file(name: str, content: bytes = b"weights", mode: int = 0o644) -> Add:
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), mode
        archive.addfile(info, io.BytesIO(content))

    return add


def entry(name: str, kind: bytes, target: str = "") -> Add:
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info)

    return add


def made(folder: Path, *members: Add, form: int = tarfile.PAX_FORMAT, pack: bool = True) -> Path:
    path = folder / "model.tar.gz"
    with tarfile.open(path, "w:gz" if pack else "w", format=form) as archive:
        for add in members:
            add(archive)
    return path


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("pack", [True, False])
def test_every_dialect_is_read(tmp_path: Path, form: int, pack: bool) -> None:
    deep = "/".join(["a" * 40] * 4) + "/weights.bin"
    path = made(
        tmp_path,
        entry("./", tarfile.DIRTYPE),
        entry("code/", tarfile.DIRTYPE),
        file("./model.onnx", b"1" * 3_000_000),
        file("code/inference.py", b"x", 0o755),
        file(deep, b"deep"),
        form=form,
        pack=pack,
    )
    assert unpack_artifact(path, tmp_path / "out") == 3
    assert (tmp_path / "out" / "model.onnx").read_bytes() == b"1" * 3_000_000
    assert (tmp_path / "out" / deep).read_bytes() == b"deep"
    modes = [
        stat.S_IMODE((tmp_path / "out" / n).stat().st_mode)
        for n in ("model.onnx", "code/inference.py")
    ]
    assert modes == [0o644, 0o755]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ((file("../evil"),), "leaves the bundle's folder"),
        ((file("a/../../evil"),), "leaves the bundle's folder"),
        ((file("/etc/evil"),), "is an absolute path"),
        ((entry("link", tarfile.SYMTYPE, "/etc/passwd"),), "is a link to '/etc/passwd'"),
        ((entry("d", tarfile.SYMTYPE, ".."), file("d/evil")), r"is a link to '\.\.'"),
        ((file("a"), entry("b", tarfile.LNKTYPE, "a")), "is a link to 'a'"),
        ((entry("null", tarfile.CHRTYPE),), "is neither a plain file nor a folder"),
        ((entry("pipe", tarfile.FIFOTYPE),), "is neither a plain file nor a folder"),
        ((file("a"), file("a")), "is there twice"),
        ((file("Model.onnx"), file("model.onnx")), "upper and lower case do not differ"),
        ((file("a"), file("a/b")), "lies in a folder that is member 'a' too"),
        ((file("a\\b"),), "holds a backslash"),
        ((file("a\nb"),), "holds a character that cannot be printed"),
        ((entry("../", tarfile.DIRTYPE),), "leaves the bundle's folder"),
        ((), "holds no file"),
    ],
)
def test_what_is_not_safe_is_refused_by_name_and_nothing_is_left(
    tmp_path: Path, members: tuple[Add, ...], words: str
) -> None:
    path = made(tmp_path, *members)
    with pytest.raises(InputError, match=words):
        unpack_artifact(path, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["model.tar.gz"]


def test_what_grows_without_bound_is_refused(tmp_path: Path) -> None:
    bomb = made(tmp_path, file("zeros", bytes(5_000_000)))
    assert bomb.stat().st_size < 10_000
    with pytest.raises(InputError, match="expands to more than 1,000,000 bytes"):
        unpack_artifact(bomb, tmp_path / "out", Limits(1_000_000, 10))
    many = made(tmp_path, *(file(f"f{number}", b"") for number in range(12)))
    with pytest.raises(InputError, match="more than 10 members"):
        unpack_artifact(many, tmp_path / "out", Limits(1_000_000, 10))
    long = made(tmp_path, file("a" * 2_000_000), form=tarfile.PAX_FORMAT)
    with pytest.raises(InputError, match="a header of"):
        unpack_artifact(long, tmp_path / "out")


def test_what_is_cut_or_damaged_is_refused(tmp_path: Path) -> None:
    whole = made(tmp_path, file("a", os.urandom(100_000))).read_bytes()
    plain = gzip.decompress(whole)
    for content in (whole[:-20], whole[:5000], plain[:5000], b"no tar at all", b""):
        path = tmp_path / "cut.tar.gz"
        path.write_bytes(content)
        with pytest.raises(InputError):
            unpack_artifact(path, tmp_path / "out")
        assert not (tmp_path / "out").exists()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_the_bytes_nothing_but_the_folder_is_touched(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("any")
    plain = bytearray(
        gzip.decompress(made(folder, file("a/b"), file("c", b"1" * 600)).read_bytes())
    )
    for _ in range(data.draw(st.integers(0, 6))):
        plain[data.draw(st.integers(0, 2559))] = data.draw(st.integers(0, 255))
    path = folder / "model.tar.gz"
    path.write_bytes(bytes(plain))
    try:
        unpack_artifact(path, folder / "out")
    except InputError:
        assert sorted(os.listdir(folder)) == ["model.tar.gz"]
    else:
        assert sorted(os.listdir(folder)) == ["model.tar.gz", "out"]
        assert not any(p.is_symlink() for p in (folder / "out").rglob("*"))
