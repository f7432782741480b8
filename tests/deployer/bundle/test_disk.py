"""Files are read below one folder; no link is followed, at any step, at any time."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from deployer.bundle.disk import file_at, file_below, files_in, is_folder, open_below, open_file
from deployer.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file in a folder, and a secret beside it."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("secret")
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "sub" / "file").write_text("file")
    return tmp_path / "root"


def test_files_are_listed_by_name_with_size_and_mode(folder: Path) -> None:
    (folder / "run").write_text("#!")
    (folder / "run").chmod(0o700)
    (folder / "empty").mkdir()
    files = files_in(folder)
    assert [(file.name, file.mode, file.size) for file in files] == [
        ("run", "0755", 2),
        ("sub/file", "0644", 4),
    ]
    with files[1].open() as file:
        assert file.read() == b"file"


LINKS = {
    "to a file outside": ("link", "../secret/key"),
    "to a folder outside": ("link", "../secret"),
    "to a file inside": ("link", "sub/file"),
    "in a folder": ("sub/link", "/etc/passwd"),
    "to nothing": ("link", "nowhere"),
    "to itself": ("link", "link"),
}


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS.keys())
def test_a_link_is_refused_by_name_with_what_it_points_to(
    folder: Path, link: tuple[str, str]
) -> None:
    name, target = link
    (folder / name).symlink_to(target)
    with pytest.raises(InputError) as caught:
        files_in(folder)
    assert str(caught.value).startswith(f"{str(folder / name)!r} is a symbolic link, not ")
    with pytest.raises(InputError, match="is a symbolic link"):
        file_at(folder / name)
    assert "links are never followed" in (caught.value.hint or "")


def test_a_folder_that_is_a_link_is_refused(folder: Path) -> None:
    (folder.parent / "latest").symlink_to("root")
    with pytest.raises(InputError, match=r"latest' is a symbolic link, not a folder"):
        files_in(folder.parent / "latest")


def test_a_link_on_the_way_is_refused(folder: Path) -> None:
    (folder / "way").symlink_to("../secret")
    with pytest.raises(InputError, match=r"way' is a symbolic link, not a folder"):
        file_below(folder, "way/key")


@pytest.mark.parametrize("step", ["sub", "sub/file"])
def test_a_file_that_became_a_link_after_it_was_listed_is_not_read(folder: Path, step: str) -> None:
    file = file_below(folder, "sub/file")
    (folder / step).rename(folder / "away")
    target = {"sub": "../secret", "sub/file": "../../secret/key"}[step]
    (folder.parent / "secret" / "file").write_text("secret")
    (folder / step).symlink_to(target)
    assert (folder / "sub/file").read_text() == "secret"
    with pytest.raises(InputError, match="cannot read"):
        file.open()


def test_opening_leaves_no_descriptor_behind(folder: Path) -> None:
    (folder / "link").symlink_to("sub")
    before = len(os.listdir("/proc/self/fd"))
    open_below(folder, "sub/file").close()
    for name in ("link/file", "sub/none", "sub"):
        with pytest.raises((InputError, OSError)):
            open_below(folder, name)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", ["fifo", "socket", "character device", "folder"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "socket":
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.close()
        case "character device":
            path = Path("/dev/null")
        case "folder":
            path.mkdir()
    with pytest.raises(InputError, match=f"is a {kind}, not a regular file"):
        file_at(path)


def test_a_fifo_given_as_a_bundle_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="is a fifo"):
        open_file(tmp_path / "fifo")


def test_a_folder_that_may_not_be_searched_is_one_clear_error(tmp_path: Path) -> None:
    """A link to itself stands in for it: it fails the same for root."""
    (tmp_path / "loop").symlink_to("loop")
    assert not is_folder(tmp_path / "loop" / "file")
    with pytest.raises(InputError, match="cannot read"):
        file_at(tmp_path / "loop" / "file")


def test_what_is_missing_is_said_to_be(tmp_path: Path) -> None:
    for read in (file_at, files_in, open_file):
        with pytest.raises(InputError, match=r"cannot read '.*none': No such file or directory"):
            read(tmp_path / "none")
