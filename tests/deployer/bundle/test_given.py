"""Strays stay out of a bundle and its digest; credentials are refused by the file's name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployer.bundle.build import build
from deployer.errors import InputError

STRAYS = [
    ".git/config",
    ".git/objects/ab/cdef",
    ".env",
    ".env.local",
    "__pycache__/inference.cpython-311.pyc",
    "sub/helpers.pyc",
    ".ipynb_checkpoints/try-checkpoint.ipynb",
    ".DS_Store",
    "sub/._weights.bin",
    ".venv/bin/activate",
    "node_modules/left-pad/index.js",
    ".gitattributes",
    ".cache/huggingface/download/x.metadata",
]
CREDENTIALS = {
    "by folder": (".aws/credentials", "", "it lies in '.aws'"),
    "by name": ("keys/server.pem", "", "its name"),
    "by key's name": ("id_rsa", "", "its name"),
    "by netrc": (".netrc", "", "its name"),
    "access key": ("notes.txt", "the id is AKIAABCDEFGHIJKLMNOP.", "an AWS access key"),
    "secret key": (
        "boto.cfg",
        "aws_secret_access_key = abcdefghij0123456789ABCDEFGHIJ0123456789",
        "an AWS secret key",
    ),
    "secret in JSON": (
        "a.json",
        '{"SecretAccessKey": "abcdefghij0123456789ABCDEFGHIJ0123456789"}',
        "an AWS secret key",
    ),
    "private key": ("a.json", "-----BEGIN RSA PRIVATE KEY-----\n", "a private key"),
    "hugging face": ("download.py", 'login("hf_' + "aB3" * 11 + 'x")', "a token of Hugging Face"),
    "github": ("README.md", "ghp_" + "a1B2" * 9, "a token of GitHub"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "m"
    write(folder, "weights.bin", "1234")
    write(folder, "sub/config.json", "{}")
    return folder


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_strays_stay_out_of_the_bundle_and_its_digest(
    folder: Path, handler: Path, out: Path
) -> None:
    clean = build(folder, out, name="d", handler=handler)
    for name in STRAYS:
        write(folder, name, f"AKIA{'A' * 16} of {name}")  # not even looked at
    (folder / ".venv" / "bin" / "python").symlink_to("/usr/bin/python3")
    os.mkfifo(folder / ".git" / "fifo")
    dirty = build(folder, out, name="d", handler=handler)
    assert dirty.digest == clean.digest
    assert {"weights.bin", "sub/config.json"} < {m.path for m in dirty.manifest.members}


@pytest.mark.parametrize("what", ["extra", "samples"])
def test_folders_of_extras_and_samples_lose_their_strays_too(
    model: Path, handler: Path, out: Path, tmp_path: Path, what: str
) -> None:
    write(tmp_path, "more/a.json", "{}")
    write(tmp_path, "more/.DS_Store", "finder")
    more = tmp_path / "more"
    given = {what: [more] if what == "extra" else more}
    bundle = build(model, out, name="d", handler=handler, **given)
    place = "more/a.json" if what == "extra" else "code/samples/a.json"
    assert place in {member.path for member in bundle.manifest.members}
    assert not [member for member in bundle.manifest.members if "DS_Store" in member.path]


@pytest.mark.parametrize(("name", "text", "problem"), CREDENTIALS.values(), ids=CREDENTIALS)
def test_what_looks_like_a_credential_is_refused_by_name(
    folder: Path, handler: Path, out: Path, name: str, text: str, problem: str
) -> None:
    write(folder, name, text)
    with pytest.raises(InputError) as caught:
        build(folder, out, name="d", handler=handler)
    assert str(caught.value).startswith(f"{str(folder / name)!r} looks like a credential: ")
    assert problem in str(caught.value)
    assert "abcdefghij" not in str(caught.value)  # never repeated
    assert "--extra FILE" in (caught.value.hint or "")
    assert not out.exists()


def test_a_file_given_by_its_own_name_goes_in(
    folder: Path, handler: Path, out: Path, tmp_path: Path
) -> None:
    write(tmp_path, "ca.pem", "-----BEGIN CERTIFICATE-----")
    bundle = build(folder, out, name="d", handler=handler, extra=[tmp_path / "ca.pem"])
    assert "ca.pem" in {member.path for member in bundle.manifest.members}


@pytest.mark.parametrize(
    "text",
    [
        "boto3.client('s3', aws_secret_access_key=os.environ['KEY'])",
        "hf_hub_download(repo)",
        "-----BEGIN PUBLIC KEY-----",
        "AKIA in a sentence, AKIAABCD",
    ],
)
def test_words_about_credentials_are_none(
    folder: Path, handler: Path, out: Path, text: str
) -> None:
    write(folder, "notes.md", text)
    build(folder, out, name="d", handler=handler)
