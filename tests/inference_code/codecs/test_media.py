import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_code.codecs import media
from inference_code.errors import NotAcceptable


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("text/csv;header=absent", "text/csv"),
        ("application/x-npy", "application/x-npy"),
    ],
)
def test_media_type_drops_parameters_and_case(header, kind):
    assert media.media_type(header) == kind


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("text/*;q=0.5, application/x-npy", "application/x-npy"),
        ("text/html, */*;q=0.1", "application/json"),
        ("application/json;q=0, text/csv;q=0.2", "text/csv"),
    ],
)
def test_the_best_liked_type_is_chosen(accept, kind):
    assert media.choose(accept) == kind


def test_an_accept_header_that_likes_nothing_is_told_what_there_is():
    with pytest.raises(NotAcceptable, match=r"'image/png'.*application/json, text/csv"):
        media.choose("image/png")


@given(st.text(max_size=60))
def test_any_header_is_chosen_for_or_refused(accept):
    with contextlib.suppress(NotAcceptable):
        assert media.choose(accept) in ("application/json", "text/csv", "application/x-npy")
