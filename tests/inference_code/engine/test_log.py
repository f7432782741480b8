"""A log must never hold what it tells of."""

import fcntl
import io
import json
import os

import pytest

from inference_code.engine import log


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 65536)
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)
    log._unblocked.cache_clear()


def test_what_fits_is_written_whole(pipe):
    reading, stream = pipe
    log.emit("a line\n" * 3000, stream)
    assert os.read(reading, 65536) == b"a line\n" * 3000


def test_a_pipe_that_no_one_reads_holds_no_one(pipe):
    reading, stream = pipe
    for _ in range(200):
        log.emit("x" * 999 + "\n", stream)
    assert 60_000 < len(os.read(reading, 1 << 20)) <= 65536
    log.emit("again\n", stream)
    assert os.read(reading, 100) == b"again\n"


def test_the_flag_of_a_shared_pipe_is_left_alone(pipe):
    _, stream = pipe
    log.emit("x\n", stream)
    assert os.get_blocking(stream.fileno())


def test_a_full_disk_holds_no_one():
    with open("/dev/full", "w") as stream:
        for _ in range(100):
            log.emit("x" * 5000, stream)


def test_a_reader_that_has_gone_holds_no_one():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        log.emit("x\n", stream)
    log._unblocked.cache_clear()


def test_a_stream_of_no_file_is_written_too():
    stream = io.StringIO()
    log.emit("x\n", stream)
    assert stream.getvalue() == "x\n"


def test_events_are_json_lines(capfd):
    log.log("worker died", reason="a\nb")
    (line,) = capfd.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["event"], event["reason"]) == ("worker died", "a\nb")
    assert event["time"].endswith("Z")
