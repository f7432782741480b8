from hypothesis import given
from hypothesis import strategies as st

from inference_code.cache import ENTRY_BYTES, Cache, digest


def keep(cache, key, body=b"answer", now=0.0):
    cache.begin(key)
    return cache.land(key, 200, b"text/plain", body, now)


def test_an_answer_is_found_until_its_time_is_over():
    cache = Cache(10_000, ttl_s=5.0)
    keep(cache, b"k", now=1.0)
    assert cache.get(b"k", 6.0) == (b"text/plain", b"answer")
    assert cache.get(b"k", 6.1) is None
    assert (len(cache), cache.bytes) == (0, 0)


def test_the_least_recently_used_goes_first():
    cache = Cache(2 * (ENTRY_BYTES + 10), ttl_s=5.0)
    keep(cache, b"a")
    keep(cache, b"b")
    cache.get(b"a", 0.0)
    keep(cache, b"c")
    assert cache.get(b"b", 0.0) is None
    assert cache.get(b"a", 0.0) is not None


def test_failures_are_not_kept():
    cache = Cache(10_000, ttl_s=5.0)
    cache.begin(b"k")
    cache.land(b"k", 500, b"", b"failed", 0.0)
    assert cache.get(b"k", 0.0) is None


def test_those_who_ask_meanwhile_wait_for_the_one_flight():
    cache = Cache(10_000, ttl_s=5.0)
    heard = []
    assert not cache.join(b"k", lambda *answer: heard.append(answer))
    cache.begin(b"k")
    assert cache.join(b"k", lambda *answer: heard.append(answer))
    for done in cache.land(b"k", 503, b"", b"busy", 0.0):
        done(503, b"", b"busy")
    assert heard == [(503, b"", b"busy")]
    assert not cache.join(b"k", lambda *answer: None)


@given(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=2000))), st.integers(0, 5000))
def test_the_size_is_never_exceeded(entries, limit):
    cache = Cache(limit, ttl_s=1.0)
    for key, body in entries:
        keep(cache, bytes([key]), body)
        assert cache.bytes <= limit


@given(st.binary(), st.binary(), st.binary(), st.binary())
def test_different_requests_have_different_keys(h1, b1, h2, b2):
    assert (digest(h1, b1) == digest(h2, b2)) == ((h1, b1) == (h2, b2))
