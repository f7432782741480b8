"""Paths that may be a member's, and paths that cannot lie in one folder."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.bundle.members import Paths, normal_mode, path_problem


@pytest.mark.parametrize("path", ["model.onnx", "code/inference.py", "a b/ü.bin", ".hidden", "..x"])
def test_plain_relative_paths_are_allowed(path: str) -> None:
    assert path_problem(path) is None


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/etc/passwd", "absolute"),
        ("//x", "absolute"),
        ("../x", "leaves the bundle's folder"),
        ("a/../../x", "leaves the bundle's folder"),
        ("a/..", "leaves the bundle's folder"),
        ("a\\..\\x", "backslash"),
        ("C:\\x", "backslash"),
        ("", "empty part"),
        (".", "empty part"),
        ("./x", "empty part"),
        ("a//x", "empty part"),
        ("a/", "empty part"),
        ("a\nb", "cannot be printed"),
        ("a\0b", "cannot be printed"),
        ("a\x1b[2Jb", "cannot be printed"),
        ("evil\u202egnp.exe", "cannot be printed"),
        ("not-utf8-\udcff", "cannot be printed"),
        ("x" * 256, "longer than"),
        ("x/" * 501 + "x", "longer than"),
    ],
)
def test_other_paths_are_refused_with_the_reason(path: str, problem: str) -> None:
    assert problem in (path_problem(path) or "allowed")


@given(st.text(alphabet=st.sampled_from("./\\a\0~"), max_size=12) | st.text(max_size=12))
def test_an_allowed_path_never_leaves_its_folder(path: str) -> None:
    if path_problem(path) is None:
        joined = posixpath.normpath(posixpath.join("/root/folder", path))
        assert joined == f"/root/folder/{path}"


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("a", "a", "is there twice"),
        ("Model.onnx", "model.ONNX", "same file as member 'Model.onnx'"),
        ("stra\u00dfe", "STRASSE", "same file"),
        ("caf\u00e9", "cafe\u0301", "same file"),
        ("a", "A/b", "lies in a folder that is member 'a' too"),
        ("a/b/c", "A", "is a folder of member 'a/b/c' too"),
    ],
)
def test_two_paths_that_clash_name_each_other(first: str, second: str, problem: str) -> None:
    paths = Paths()
    assert paths.add(first) is None
    assert problem in (paths.add(second) or "no clash")


def test_paths_that_share_a_folder_do_not_clash() -> None:
    paths = Paths()
    assert [paths.add(path) for path in ("a/b", "a/c", "ab", "a/d/e")] == [None] * 4


@pytest.mark.parametrize(
    ("mode", "normal"),
    [(0o600, "0644"), (0o666, "0644"), (0o4711, "0755"), (0o100, "0755"), (0o077, "0644")],
)
def test_modes_become_one_of_two(mode: int, normal: str) -> None:
    assert normal_mode(mode) == normal
