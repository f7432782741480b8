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
        ("application/json;q=0, */*", "text/csv"),
        ("application/*;q=0.9, application/json;q=0.1", "application/x-npy"),
        ("text/csv, */*", "text/csv"),
        ("*/*, text/csv", "application/json"),
        ("application/json;charset=utf-8;Q=0.3, text/csv; q = 0.4", "text/csv"),
        ('text/html;title="a, text/csv;q=1", application/x-npy;q=0.1', "application/x-npy"),
        ("text/html, image/gif, *; q=.2, */*; q=.2", "application/json"),  # java.net's default
        ("application/json;q=2, text/csv;q=0.1", "text/csv"),
        (",, text/csv,", "text/csv"),
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


KINDS = ("application/json", "text/csv", "application/x-npy")
TYPES = (*KINDS, "text/html", "image/png")
RANGES = (*TYPES, "*/*", "application/*", "text/*", "image/*")
LISTS = st.lists(st.tuples(st.sampled_from(RANGES), st.integers(0, 1000)), min_size=1, max_size=6)


def by_the_rfc(wishes, offered):
    """Choose as RFC 9110, 12.5.1 says: the most specific range gives a type its q, 0 refuses it."""
    scores = []
    for kind in offered:
        for specific in (kind, kind.split("/")[0] + "/*", "*/*"):
            matching = [
                (q, -place) for place, (pattern, q) in enumerate(wishes) if pattern == specific
            ]
            if matching:
                scores.append(max(matching))
                break
        else:
            scores.append((0, 0))
    best = max(scores)
    return offered[scores.index(best)] if best[0] else None


def written(wishes):
    return ", ".join(pattern if q == 1000 else f"{pattern};q=0.{q:03}" for pattern, q in wishes)


@given(LISTS, st.permutations(KINDS))
def test_a_list_is_negotiated_by_the_rfc(wishes, offered):
    expected = by_the_rfc(wishes, offered)
    if expected is None:
        with pytest.raises(NotAcceptable):
            media.choose(written(wishes), offered)
    else:
        assert media.choose(written(wishes), offered) == expected


@given(LISTS, st.sampled_from(KINDS))
def test_who_does_not_say_what_it_offers_gets_one_type(wishes, default):
    named = [pattern for pattern, _ in wishes if not pattern.endswith("/*")]
    expected = by_the_rfc(wishes, [*named, default, *KINDS])
    if expected is None and not any(q for _, q in wishes):
        with pytest.raises(NotAcceptable, match="which refuses every answer"):
            media.first_choice(written(wishes), default)
    else:
        assert media.first_choice(written(wishes), default) == (expected or default)


@given(st.text(max_size=60))
def test_the_first_choice_is_never_a_list_or_a_range(accept):
    with contextlib.suppress(NotAcceptable):
        kind = media.first_choice(accept, "application/json")
        assert "," not in kind
        assert "*" not in kind
