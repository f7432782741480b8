from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from inference_code.engine import frames

BODIES = st.binary(max_size=50)


def pieces(data, cuts):
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(st.lists(st.tuples(BODIES, BODIES, st.booleans())), st.lists(st.integers(0, 10_000)))
def test_requests_survive_any_cutting_of_the_stream(bodies, cuts):
    sent = [
        frames.Request(number, frames.INVOKE, alone, 1.5, 2.5, headers, body)
        for number, (headers, body, alone) in enumerate(bodies)
    ]
    data = b"".join(
        frames.pack_request(r.id, r.body, r.headers, r.arrived_s, r.deadline_s, r.alone)
        for r in sent
    )
    splitter = frames.Splitter()
    assert [r for piece in pieces(data, cuts) for r in splitter.requests(piece)] == sent


@given(st.lists(st.tuples(st.integers(0, 599), BODIES)), st.lists(st.integers(0, 10_000)))
def test_answers_survive_any_cutting_of_the_stream(bodies, cuts):
    sent = [frames.Answer(n, status, b"a/b", body) for n, (status, body) in enumerate(bodies)]
    data = b"".join(frames.pack_answer(*answer) for answer in sent)
    splitter = frames.Splitter()
    assert [a for piece in pieces(data, cuts) for a in splitter.answers(piece)] == sent


def test_a_report_survives():
    report = frames.Report(8, 120, 1.0, 0.1, 0.2, 0.3)
    (answer,) = frames.Splitter().answers(frames.pack_report(report))
    assert answer.status == frames.REPORT
    assert frames.read_report(answer.body) == report


def test_two_processes_see_one_status_page():
    fd = frames.StatusPage.create(4)
    ours, theirs = frames.StatusPage(fd, 4), frames.StatusPage(fd, 4)
    theirs.begin([7, 9], 12.5)
    assert ours.running == (7, 9)
    assert ours.beat_s == 12.5
    theirs.end(13.0)
    assert ours.running == ()
    assert ours.beat_s == 13.0
