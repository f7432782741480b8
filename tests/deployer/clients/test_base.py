from __future__ import annotations

from pathlib import Path

import pytest

from deployer.clients.base import Answer, Body, Endpoint
from deployer.errors import InputError


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/invocations"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/invocations"),
        ("http://example.com/predict?x=1", "http://example.com:80/predict?x=1"),
        ("https://example.com/a", "https://example.com:443/a"),
        ("http://[::1]:9000", "http://[::1]:9000/invocations"),
    ],
)
def test_a_url_says_where_requests_go(url: str, told: str) -> None:
    assert str(Endpoint.parse(url)) == told


@pytest.mark.parametrize(
    "url",
    [
        "",
        "8080",
        "ftp://x",
        "http://",
        "http://h:99999",
        "http://h/a b",
        "http://h/\r\nX: 1",
        "http://ü",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="is not a URL"):
        Endpoint.parse(url)


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("a.json", "application/json"), ("a.csv", "text/csv"), ("a.npy", "application/x-npy")],
)
def test_the_suffix_gives_the_content_type(tmp_path: Path, name: str, content_type: str) -> None:
    (tmp_path / name).write_bytes(b"1")
    assert Body.from_file(tmp_path / name) == Body(b"1", content_type)


def test_an_unknown_suffix_or_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no content type for suffix '\.txt'"):
        Body.from_file(tmp_path / "a.txt")
    with pytest.raises(InputError, match="cannot read"):
        Body.from_file(tmp_path / "a.json")


def test_content_type_has_no_parameters() -> None:
    assert Answer(200, b"", {"content-type": "text/csv; charset=utf-8"}).content_type == "text/csv"
