import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inference_code.codecs import npy
from inference_code.errors import BadRequest

PLAIN = st.one_of(
    hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(), hnp.boolean_dtypes()
)


def saved(array, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@given(PLAIN.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0))))
def test_what_numpy_saves_is_read_unchanged(array):
    read = npy.read(saved(array))
    assert read.shape == array.shape
    assert read.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(read, array)


@given(hnp.arrays(np.float32, (3, 4)))
def test_fortran_order_is_read(array):
    np.testing.assert_array_equal(npy.read(saved(np.asfortranarray(array))), array)


@given(PLAIN.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes())))
def test_numpy_loads_what_is_written(array):
    np.testing.assert_array_equal(np.load(io.BytesIO(npy.write(array))), array)


def test_a_large_body_is_not_copied():
    body = saved(np.zeros(1_000_000, np.float32))
    tracemalloc.start()
    npy.read(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_a_header_that_claims_a_tebibyte_is_refused_before_anything_is_made():
    body = saved(np.zeros(1, np.float32)).replace(b"(1,), }         ", b"(274877906944,),}")
    with pytest.raises(BadRequest, match="needs 1099511627776 bytes, the body holds"):
        npy.read(body)


def test_overflowing_dimensions_are_refused():
    body = saved(np.zeros((2, 2), np.int64))
    hostile = body.replace(
        b"(2, 2), }" + b" " * 34, b"(4294967296, 4294967296, 1, 1, 1), }"[:43].ljust(43)
    )
    assert len(hostile) == len(body)
    with pytest.raises(BadRequest):
        npy.read(hostile)


def test_pickled_objects_are_refused():
    body = saved(np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadRequest, match="plain array of numbers"):
        npy.read(body)


def test_a_view_is_read_like_bytes():
    np.testing.assert_array_equal(npy.read(memoryview(saved(np.arange(5)))), np.arange(5))


@pytest.mark.parametrize(
    "body", [b"", b"\x93NUMPY", b"PK\x03\x04" * 10, b"\x93NUMPY\x09\x00" + b" " * 90]
)
def test_what_is_no_npy_is_refused(body):
    with pytest.raises(BadRequest, match="npy: "):
        npy.read(body)


@settings(max_examples=300)
@given(
    st.integers(0, 200), st.binary(min_size=1, max_size=20), st.sampled_from(["<f4", "|u1", "<i8"])
)
@example(8, b"\xff\xff", "<f4")
def test_a_damaged_body_is_read_or_refused_never_worse(position, damage, dtype):
    body = bytearray(saved(np.arange(12, dtype=dtype).reshape(3, 4)))
    body[position : position + len(damage)] = damage
    try:
        array = npy.read(bytes(body))
    except BadRequest:
        return
    assert array.nbytes <= len(body)
