import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inference_code.codecs import csvtext
from inference_code.errors import BadRequest

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2), elements=FINITE))
def test_numbers_survive_a_round_trip(array):
    np.testing.assert_array_equal(csvtext.read_numbers(csvtext.write(array)), array)


def test_blank_lines_and_windows_line_ends_are_taken():
    np.testing.assert_array_equal(csvtext.read_numbers(b"1,2\r\n\r\n3,4\r\n"), [[1, 2], [3, 4]])


def test_quoted_text_may_hold_commas():
    assert csvtext.read_rows(b'"a, b",c\n') == [["a, b", "c"]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "holds no line"),
        (b"1,2\n3\n", "line 2 has 1 values, line 1 has 2"),
        (b"1,2\n3,x\n", "line 2: 'x' is not a number"),
        (b"1,\xff", "not UTF-8 at byte 2"),
        (b'"open', "csv: "),
    ],
)
def test_a_wrong_body_is_refused_with_its_place(body, message):
    with pytest.raises(BadRequest, match=message):
        csvtext.read_numbers(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body):
    with contextlib.suppress(BadRequest):
        assert csvtext.read_numbers(body).ndim == 2
