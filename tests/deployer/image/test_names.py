"""Names that a tool may see, and those that could smuggle something in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import InputError
from deployer.image.names import check_reference, check_tag

GOOD = [
    "python:3.12-slim",
    "localhost/base:bookworm",
    "registry.example.com:5000/team/digits:1.0_a",
    "a__b/c--d.e",
    "python@sha256:" + "0" * 64,
]
BAD = [
    "", " ", "-t", "--privileged", "python:3.12 AS x", "a\nRUN evil", "a b", "Upper", "a:", "a:b:c",
    "a/", "/a", "a@sha256:12", "a;b", "$(id)", "${HOME}", "a,src=/etc", "a" * 256, "a:-x", "a\n",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_names_of_images_pass_as_they_are(name: str) -> None:
    assert check_reference("base image", name) == name


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused_by_value(name: str) -> None:
    with pytest.raises(InputError) as caught:
        check_reference("base image", name)
    assert repr(name) in caught.value.message


def test_a_new_image_cannot_be_named_by_digest() -> None:
    with pytest.raises(InputError, match="tag"):
        check_tag("tag", GOOD[-1])


@given(st.text(max_size=40))
def test_no_name_that_passes_can_be_an_option_or_end_a_line(text: str) -> None:
    try:
        check_reference("base image", text)
    except InputError:
        return
    assert text.isascii()
    assert text.isprintable()
    assert text[0].isalnum()
    assert not set(text) & set(" ,;$`'\"\\|&<>(){}=#")
