"""A bundle as one file: the same everywhere, and refused by name when it is not what its manifest says."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import stat
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.bundle.archive import pack, unpack, verify_archive
from deployer.bundle.members import LIMITS, Limits
from deployer.errors import InputError
from inference_code.contract import MANIFEST_PATH

if TYPE_CHECKING:
    from conftest import Forge, OnnxForge


def refusal(path: Path, limits: Limits = LIMITS) -> str:
    """Return why the archive is refused: in one line, when verified and when unpacked alike."""
    with pytest.raises(InputError) as caught:
        verify_archive(path, limits)
    into = path.parent / "into"
    with pytest.raises(InputError) as unpacking:
        unpack(path, into, limits)
    message = str(caught.value)
    assert str(unpacking.value) == message
    assert len(message.splitlines()) == 1
    assert sorted(path.parent.glob("*into*")) + sorted(path.parent.glob(".*")) == []
    return message


def test_what_was_packed_is_verified(forge: Forge) -> None:
    assert verify_archive(forge.sealed(), LIMITS) == forge.manifest()


def test_every_flipped_bit_of_an_archive_is_refused_in_one_line(forge: Forge) -> None:
    path = forge.sealed()
    whole = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for index in range(len(whole)):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([whole[index] ^ 1 << bit]), index)
                with pytest.raises(InputError, match=r"^tiny\.tar\.gz: the file is damaged[^\n]*$"):
                    verify_archive(path, LIMITS)
            os.pwrite(file.fileno(), whole[index : index + 1], index)
    assert verify_archive(path, LIMITS) == forge.manifest()


def test_members_are_sorted_and_carry_no_time_or_owner(forge: Forge) -> None:
    with tarfile.open(forge.sealed()) as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert names == sorted([*forge.files, MANIFEST_PATH])
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {
        (0, 0, 0, "", "", 0o644)
    }


def test_tar_unpacks_it(forge: Forge, tmp_path: Path) -> None:
    done = subprocess.run(
        ["tar", "xzf", forge.sealed()], cwd=tmp_path, check=True, capture_output=True
    )
    assert done.stderr == b""
    assert {path: (tmp_path / path).read_bytes() for path in forge.files} == forge.files


def test_long_and_foreign_names_come_back(forge: Forge, tmp_path: Path) -> None:
    names = ["ü" * 120, "deep/" * 60 + "w.bin", "x" * 250, "名前.bin"]
    files = {**forge.files, **dict.fromkeys(names, b"x")}
    unpack(forge.sealed(files), tmp_path / "out")
    assert all((tmp_path / "out" / name).read_bytes() == b"x" for name in names)


def _recompressed(path: Path, compress: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(compress(gzip.decompress(path.read_bytes())))
    return path


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_another_compression_has_the_same_identity(forge: Forge, level: int) -> None:
    path = _recompressed(forge.sealed(), lambda tar: gzip.compress(tar, level))
    assert verify_archive(path, LIMITS).digest == forge.manifest().digest


def test_zlib_ng_gives_other_bytes_and_the_same_identity(forge: Forge) -> None:
    gzip_ng = pytest.importorskip("zlib_ng.gzip_ng")
    files = {**forge.files, "model.bin": bytes(range(256)) * 300}
    path = forge.sealed(files)
    before = path.read_bytes()
    after = _recompressed(path, gzip_ng.compress).read_bytes()
    assert after[10:] != before[50:]
    assert verify_archive(path, LIMITS).digest == forge.manifest(files).digest


def test_an_altered_member_is_refused_by_name(forge: Forge) -> None:
    changed = {**forge.files, "model.bin": b"Weights" * 20}
    entries = [(info, changed.get(info.name, data)) for info, data in forge.entries()]
    assert "member 'model.bin' has other content" in refusal(forge.tar(entries))


def test_a_member_of_another_size_is_refused_by_name(forge: Forge) -> None:
    changed = {**forge.files, "model.bin": b"short"}
    listed = {info.name: data for info, data in forge.entries()}[MANIFEST_PATH]
    entries = [
        *(forge.entry(*each) for each in changed.items()),
        forge.entry(MANIFEST_PATH, listed),
    ]
    assert "member 'model.bin' is 5 bytes long; the manifest lists 140" in refusal(
        forge.tar(entries)
    )


def test_an_added_member_is_refused_by_name(forge: Forge) -> None:
    path = forge.tar([*forge.entries(), forge.entry("code/sitecustomize.py", b"import os\n")])
    assert "member 'code/sitecustomize.py' is not listed" in refusal(path)


@pytest.mark.parametrize("missing", ["model.bin", "code/inference.py", MANIFEST_PATH])
def test_a_missing_member_is_refused_by_name(forge: Forge, missing: str) -> None:
    entries = [entry for entry in forge.entries() if entry[0].name != missing]
    assert f"member '{missing}'" in refusal(forge.tar(entries))


def test_a_renamed_member_is_refused_by_name(forge: Forge) -> None:
    entries = [e for e in forge.entries() if e[0].name != "model.bin"]
    entries.append(forge.entry("other.bin", forge.files["model.bin"]))
    assert "member 'model.bin' is listed in the manifest and missing" in refusal(forge.tar(entries))


def test_another_mode_is_refused_by_name(forge: Forge) -> None:
    entries = [e for e in forge.entries() if e[0].name != "model.bin"]
    entries.append(forge.entry("model.bin", forge.files["model.bin"], mode=0o4755))
    assert "member 'model.bin' has the mode 4755" in refusal(forge.tar(entries))


HOSTILE_MEMBERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "parent folder": ("../evil", {}, "leaves the bundle's folder"),
    "parent folder inside": ("code/../../evil", {}, "leaves the bundle's folder"),
    "absolute path": ("/tmp/evil", {}, "is an absolute path"),
    "backslash": ("code\\..\\evil", {}, "holds a backslash"),
    "dot": ("./model.bin2", {}, "is not a plain path"),
    "empty name": ("", {}, "is not a plain path"),
    "newline": ("a\nb", {}, "cannot be printed"),
    "terminal escape": ("a\x1b]0;x\x07", {}, "cannot be printed"),
    "symbolic link": ("s", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "a symbolic link"),
    "link inside": ("s", {"type": tarfile.SYMTYPE, "linkname": "model.bin"}, "a symbolic link"),
    "hard link": ("h", {"type": tarfile.LNKTYPE, "linkname": "model.bin"}, "a hard link"),
    "character device": ("c", {"type": tarfile.CHRTYPE, "devmajor": 1}, "a character device"),
    "block device": ("b", {"type": tarfile.BLKTYPE, "devmajor": 8}, "a block device"),
    "fifo": ("f", {"type": tarfile.FIFOTYPE}, "a fifo"),
    "folder": ("d", {"type": tarfile.DIRTYPE}, "a folder"),
    "contiguous file": ("k", {"type": tarfile.CONTTYPE}, "of the tar type b'7'"),
    "sparse file": ("p", {"type": tarfile.GNUTYPE_SPARSE}, "of the tar type b'S'"),
    "unknown type": ("z", {"type": b"Z"}, "of the tar type b'Z'"),
    "regular file with a link": ("r", {"linkname": "/etc/passwd"}, "not a regular file"),
    "duplicate": ("model.bin", {}, "is there twice"),
    "duplicate in other case": ("MODEL.bin", {}, "same file as member 'model.bin'"),
    "duplicate manifest": (MANIFEST_PATH, {}, "is there twice"),
    "file in a file": ("model.bin/x", {}, "lies in a folder that is member 'model.bin' too"),
    "file in place of a folder": ("code", {}, "is a folder of member"),
    "unlisted": ("evil.py", {}, "is not listed in the manifest"),
    "global extension": ("g", {"type": tarfile.XGLTYPE}, "of the tar type b'g'"),
    "long name of GNU": ("@LongLink", {"type": tarfile.GNUTYPE_LONGNAME}, "of the tar type b'L'"),
}


@pytest.mark.parametrize("hostile", HOSTILE_MEMBERS.values(), ids=HOSTILE_MEMBERS.keys())
def test_hostile_members_are_refused_by_name(
    forge: Forge, hostile: tuple[str, dict[str, Any], str]
) -> None:
    name, fields, problem = hostile
    entry = forge.entry(name, **fields)
    message = refusal(forge.tar([*forge.entries(), entry]))
    assert f"member {name!r}" in message
    assert problem in message


def _record(text: str) -> bytes:
    """Encode ``key=value`` as a header extension does: with its own length in front."""
    length = len(text) + 4  # two digits, a space and an end of line
    return f"{length} {text}\n".encode()


EXTENSIONS: dict[str, tuple[bytes, str]] = {
    "path that leaves": (_record("path=../../evil"), "leaves the bundle's folder"),
    "path that is no UTF-8": (b"9 path=\xff\n", "cannot be printed"),
    "link": (_record("linkpath=/etc/passwd"), "the key 'linkpath'"),
    "sparse": (_record("GNU.sparse.major=1"), "the key 'GNU.sparse.major'"),
    "other letters": (_record("hdrcharset=BINARY"), "the key 'hdrcharset'"),
    "size that is no number": (b"11 size=-1\n", "has the size '-1'"),
    "size past the bound": (_record("size=99999999999999999999"), "expands past the bound"),
    "twice": (b"9 path=a\n9 path=b\n", "the key 'path'"),
    "length too long": (b"999 path=a\n", "cannot be read"),
    "length too short": (b"2 path=a\n", "cannot be read"),
    "no record": (b"hello", "cannot be read"),
    "no end of line": (b"8 path=a", "cannot be read"),
}


@pytest.mark.parametrize("extension", EXTENSIONS.values(), ids=EXTENSIONS.keys())
def test_hostile_header_extensions_are_refused(forge: Forge, extension: tuple[bytes, str]) -> None:
    data, problem = extension
    entries = [
        forge.entry("PaxHeader", data, type=tarfile.XHDTYPE),
        forge.entry("new.bin"),
        *forge.entries(),
    ]
    assert problem in refusal(_raw_tar(forge, entries))


def test_a_huge_header_extension_is_refused_unread(forge: Forge) -> None:
    info, _ = forge.entry("PaxHeader", type=tarfile.XHDTYPE)
    info.size = 1 << 33
    path = forge.folder / "x.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    assert "'PaxHeader' is a header extension of 8,589,934,592 bytes" in refusal(path)


def _raw_tar(forge: Forge, entries: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """Write headers as they are, where tarfile's own writer would add to them."""
    tar = b"".join(
        info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512) for info, data in entries
    )
    path = forge.folder / "raw.tar.gz"
    path.write_bytes(gzip.compress(tar + bytes(1024)))
    return path


def test_times_in_header_extensions_do_no_harm(forge: Forge) -> None:
    """tarfile adds one for each file with a fraction of a second in its time."""
    entries = [forge.entry(info.name, data, mtime=1.5) for info, data in forge.entries()]
    assert verify_archive(forge.tar(entries), LIMITS).digest == forge.manifest().digest


def test_a_tar_that_ends_early_is_refused(forge: Forge) -> None:
    whole = gzip.decompress(forge.sealed().read_bytes())
    path = forge.folder / "cut.tar.gz"
    for length in range(0, len(whole), 100):
        if length <= len(whole) - 1024:
            path.write_bytes(gzip.compress(whole[:length]))
            assert "early" in refusal(path)


@pytest.mark.parametrize("tail", [b"x", b"\0" * 600 + b"evil"])
def test_bytes_after_the_end_of_the_tar_are_refused(forge: Forge, tail: bytes) -> None:
    path = _recompressed(forge.sealed(), lambda tar: gzip.compress(tar + tail))
    assert "bytes follow the end of the archive" in refusal(path)


def test_bytes_in_the_padding_are_refused(forge: Forge) -> None:
    tar = bytearray(gzip.decompress(forge.sealed().read_bytes()))
    tar[-1025] = 7
    path = _recompressed(forge.sealed(), lambda _: gzip.compress(bytes(tar)))
    assert "member 'model.bin' is followed by bytes" in refusal(path)


def test_more_bytes_than_the_bound_are_refused_by_name(forge: Forge) -> None:
    path = forge.sealed({**forge.files, "big.bin": bytes(5000)})
    message = refusal(path, Limits(total_bytes=4000))
    assert "member 'big.bin' expands past the bound of 4,000 bytes" in message


def test_more_members_than_the_bound_are_refused_by_name(forge: Forge) -> None:
    path = forge.sealed({**forge.files, **{f"x/{i}": b"" for i in range(10)}})
    assert "member 'x/6' is past the bound of 10 members" in refusal(path, Limits(members=10))


def test_a_bomb_is_refused_without_holding_it(forge: Forge) -> None:
    """A header may claim any size: here 1 GiB of zeros in 1 MB, past a bound of 64 MiB."""
    info = tarfile.TarInfo("bomb.bin")
    info.size = 1 << 30
    path = forge.folder / "bomb.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    assert "member 'bomb.bin' expands past" in refusal(path, Limits(total_bytes=1 << 26))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_endless_zeros_after_the_last_member_are_refused(forge: Forge) -> None:
    path = _recompressed(forge.sealed(), lambda tar: gzip.compress(tar + bytes(30 << 20), 1))
    assert "expands past the bound" in refusal(path, Limits(total_bytes=1 << 20, members=10))


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "..\\w.bin"])
def test_weights_outside_the_folder_are_refused_by_name(
    forge: Forge, onnx_forge: OnnxForge, location: str
) -> None:
    path = forge.sealed({**forge.files, "net/model.onnx": onnx_forge.model(location)})
    message = refusal(path)
    assert f"member 'net/model.onnx' keeps weights outside its folder, in {location!r}" in message


def test_weights_beside_the_model_must_be_there(forge: Forge, onnx_forge: OnnxForge) -> None:
    files = {**forge.files, "net/model.onnx": onnx_forge.model("w.bin")}
    assert "keeps weights in 'w.bin', which is missing" in refusal(forge.sealed(files))
    whole = forge.sealed({**files, "net/w.bin": b"weights"})
    assert verify_archive(whole, LIMITS).name == "tiny"


def test_an_onnx_file_that_is_none_is_refused_by_name(forge: Forge) -> None:
    path = forge.sealed({**forge.files, "model.onnx": b"not protobuf"})
    assert "'model.onnx' is not an ONNX model" in refusal(path)


@pytest.mark.parametrize("kind", ["fifo", "folder", "missing", "text"])
def test_what_is_no_archive_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bundle.tar.gz"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "text":
            path.write_text("hello")
    assert "bundle.tar.gz" in refusal(path)


def test_unpacked_files_have_their_modes_whatever_the_umask(forge: Forge, tmp_path: Path) -> None:
    manifest = forge.manifest()
    run, *rest = manifest.members
    manifest = replace(manifest, members=(replace(run, mode="0755"), *rest))
    path = tmp_path / "modes.tar.gz"
    with path.open("w+b") as file:
        pack(file, manifest, forge.sources(forge.files))
    before = os.umask(0o077)
    try:
        unpack(path, tmp_path / "new/out")
    finally:
        os.umask(before)
    out = tmp_path / "new/out"
    modes = {
        p: stat.S_IMODE((out / p).stat().st_mode) for p in (run.path, "model.bin", ".", "code")
    }
    assert modes == {run.path: 0o755, "model.bin": 0o644, ".": 0o755, "code": 0o755}


def test_unpacking_never_touches_a_folder_that_holds_something(
    forge: Forge, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        unpack(forge.sealed(), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_unpacking_never_follows_a_link_for_a_folder(forge: Forge, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to("elsewhere")
    with pytest.raises(InputError, match="is there already"):
        unpack(forge.sealed(), tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_empty_folder_is_filled(forge: Forge, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert unpack(forge.sealed(), tmp_path / "out") == forge.manifest()
    assert json.loads((tmp_path / "out" / MANIFEST_PATH).read_text())["name"] == "tiny"


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """One damage to some bytes: replaced, removed, inserted, doubled or cut off."""
    kind = draw(st.sampled_from(["replace", "remove", "insert", "double", "cut"]))
    where = draw(st.floats(0, 1))
    new = draw(st.binary(min_size=1, max_size=20) | st.sampled_from([b"\0" * 512, b"../"]))
    length = draw(st.integers(1, 700))

    def mutate(data: bytes) -> bytes:
        at = int(where * len(data))
        match kind:
            case "replace":
                return data[:at] + new + data[at + len(new) :]
            case "remove":
                return data[:at] + data[at + length :]
            case "insert":
                return data[:at] + new + data[at:]
            case "double":
                return data[: at + length] + data[at:]
        return data[:at]

    return mutate


@given(damages=st.lists(mutations(), min_size=1, max_size=3), inside=st.booleans())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mutated_archive_is_refused_or_is_no_longer_called_the_same(
    forge: Forge, damages: list[Callable[[bytes], bytes]], inside: bool
) -> None:
    """Seal, mutate, verify: in the compressed file, or in the tar within, compressed again."""
    path = forge.sealed()
    data = path.read_bytes()
    data = gzip.decompress(data) if inside else data
    for damage in damages:
        data = damage(data)
    path.write_bytes(gzip.compress(data, 1) if inside else data)
    with contextlib.suppress(InputError):
        found = verify_archive(path, LIMITS)
        # A manifest that was changed and still holds together is another bundle: its digest says so.
        assert found == forge.manifest() or found.digest != forge.manifest().digest
