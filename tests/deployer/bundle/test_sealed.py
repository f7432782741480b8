"""The sealed gzip file: one changed byte is found wherever it is, and other gzip tools can read it."""

from __future__ import annotations

import contextlib
import gzip
import io
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.bundle.sealed import Inflater, SealedWriter, check_seal
from deployer.errors import InputError

CONTENT = bytes(500) + b"weights " * 40 + bytes(range(256))
HEADER_BYTES = 50
PLENTY = 1 << 20
PATH = Path("file.gz")


def seal(content: bytes = CONTENT) -> bytes:
    file = io.BytesIO()
    writer = SealedWriter(file)
    for start in range(0, len(content), 100):
        writer.write(content[start : start + 100])
    writer.close()
    return file.getvalue()


def read(data: bytes, limit: int = PLENTY) -> bytes:
    file = io.BufferedReader(io.BytesIO(data))
    check_seal(PATH, file)
    return Inflater(PATH, file, limit).read(limit + 1)


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read(data)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_content_comes_back() -> None:
    assert read(seal()) == CONTENT


def test_every_flipped_bit_is_refused() -> None:
    sealed = seal()
    for index in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[index] ^= 1 << bit
            assert "damaged" in refusal(bytes(changed))


def test_every_other_value_of_every_header_byte_is_refused() -> None:
    sealed = seal()
    for index in range(HEADER_BYTES):
        for value in set(range(256)) - {sealed[index]}:
            changed = sealed[:index] + bytes([value]) + sealed[index + 1 :]
            assert "damaged" in refusal(changed)


def test_gzip_alone_would_miss_some_of_those_flips() -> None:
    """The control of the two tests above: without the seal, other bytes give the same content unnoticed."""
    content = bytes(3000)
    sealed = seal(content)
    missed = 0
    for index in range(HEADER_BYTES, len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[index] ^= 1 << bit
            with contextlib.suppress(OSError, EOFError, zlib.error):
                missed += gzip.decompress(bytes(changed)) == content
    assert missed > 0


@pytest.mark.parametrize("length", [0, 1, 3, 9, HEADER_BYTES - 1, HEADER_BYTES, -9, -1])
def test_a_cut_file_is_refused(length: int) -> None:
    assert "damaged" in refusal(seal()[:length])


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 512, b"x", gzip.compress(b"more", mtime=0)])
@pytest.mark.parametrize("compress", [lambda: seal(), lambda: gzip.compress(CONTENT)])
def test_bytes_after_the_end_are_refused(tail: bytes, compress: Callable[[], bytes]) -> None:
    assert "damaged" in refusal(compress() + tail)


def test_bytes_after_an_end_that_fills_the_read_buffer_are_refused() -> None:
    """Nothing is left over then: only one more read tells."""
    sizes = {len(gzip.compress(bytes(n), 0)): n for n in range((1 << 16) - 100, 1 << 16)}
    whole = gzip.compress(bytes(sizes[1 << 16]), 0)
    assert read(whole) == bytes(sizes[1 << 16])
    assert "bytes follow its end" in refusal(whole + b"x")


@given(st.binary(max_size=300))
def test_bytes_that_are_no_gzip_are_refused(data: bytes) -> None:
    assert "damaged" in refusal(data)
    assert "damaged" in refusal(b"\x1f\x8b\x08\x00" + data)


def test_gzip_itself_reads_it() -> None:
    done = subprocess.run(["gzip", "-dc"], input=seal(), capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (CONTENT, b"")
    assert gzip.decompress(seal()) == CONTENT


def test_a_file_that_gzip_compressed_again_is_read(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(CONTENT)
    subprocess.run(["gzip", "-9", "plain"], cwd=tmp_path, check=True)
    assert read((tmp_path / "plain.gz").read_bytes()) == CONTENT


@pytest.mark.parametrize("size", [PLENTY + 1, 50 * PLENTY])
def test_content_past_the_bound_is_refused_before_it_is_held(size: int) -> None:
    with pytest.raises(InputError, match="expands past the bound of 1,048,576 bytes"):
        read(seal(bytes(size)))


def test_the_same_content_gives_the_same_bytes_however_it_is_written() -> None:
    whole = io.BytesIO()
    writer = SealedWriter(whole)
    writer.write(CONTENT)
    writer.close()
    assert whole.getvalue() == seal()
