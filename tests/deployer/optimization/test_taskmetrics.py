"""Metrics of tasks, against values worked by hand, and against scikit-learn on random rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.errors import InputError
from deployer.optimization import metrics, taskmetrics
from deployer.optimization.answers import Parts

pytestmark = pytest.mark.optimize


def score(name: str, outputs: Any, labels: Any, reference: Any = None) -> float:
    return metrics.resolve(name).score(outputs, outputs if reference is None else reference, labels)


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    # positives 0.8 and 0.4 over negatives 0.1, 0.4 and 0.9: 1 + 1 + 0 and 1 + 0.5 + 0 of 6
    scores, right = np.array([0.1, 0.4, 0.8, 0.4, 0.9]), np.array([0, 0, 1, 1, 0])
    assert score("auc", scores, right) == pytest.approx(3.5 / 6)
    assert score("auc", scores[:, None], right) == pytest.approx(3.5 / 6)
    assert score("auc", np.stack([1 - scores, scores], 1), right) == pytest.approx(3.5 / 6)


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_auc_is_as_scikit_learn_has_it(seed: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    right = np.r_[0, 1, 2, rng.integers(0, 3, 40)]
    chances = rng.dirichlet(np.ones(3), len(right)).round(2)
    chances[:, 2] = 1 - chances[:, 0] - chances[:, 1]
    wanted = sklearn.roc_auc_score(right, chances, multi_class="ovr")
    assert score("auc", chances, right) == pytest.approx(wanted)
    two = (right > 0).astype(int)
    assert score("auc", chances[:, 1], two) == pytest.approx(
        sklearn.roc_auc_score(two, chances[:, 1])
    )


def test_sts_ranks_pairs_by_cosine() -> None:
    pairs = np.array([[1, 0], [1, 0], [1, 0], [1, 1], [1, 0], [0, 1]], "f4")  # 1, 0.7, 0
    assert score("sts", pairs, np.array([5.0, 5, 3, 3, 0, 0])) == pytest.approx(1.0)
    assert score("sts", pairs, np.array([0.0, 0, 3, 3, 5, 5])) == pytest.approx(-1.0)
    assert score("sts", np.ones((6, 2)), np.array([0.0, 0, 3, 3, 5, 5])) == 0.0


def test_ndcg_of_one_query_by_hand() -> None:
    """Row 0 asks; likeness falls from row 1 to 3. Relevance 0, 2, 1: (3/log2(3) + 1/2) / (3 + 1/log2(3))."""
    turn = np.array([0, 0.2, 0.6, 1.2])
    rows = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    relevance = np.zeros((4, 4))
    relevance[0] = [9, 0, 2, 1]  # its own place does not count
    wanted = (3 / np.log2(3) + 1 / 2) / (3 + 1 / np.log2(3))
    assert score("ndcg", rows, relevance) == pytest.approx(wanted)


def test_ndcg_is_as_scikit_learn_has_it() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    rows, topics = rng.normal(size=(60, 8)), rng.integers(0, 8, 60)
    unit = taskmetrics.unit(rows)
    others = ~np.eye(60, dtype=bool)
    relevant = (topics[:, None] == topics[None])[others].reshape(60, 59)
    likeness = (unit @ unit.T)[others].reshape(60, 59)
    wanted = sklearn.ndcg_score(relevant.astype(int), likeness, k=10)
    assert score("ndcg", rows, topics) == pytest.approx(wanted)


def ctc(*symbols: int, classes: int = 4) -> np.ndarray:
    return np.eye(classes, dtype="f4")[list(symbols)] * 5


def test_cer_decodes_ctc_greedily() -> None:
    """Blank 0: 1 1 0 1 2 0 0 reads 1 1 2; of the right 1 1 3 one of three is wrong; the second row is right."""
    logits = np.stack([ctc(1, 1, 0, 1, 2, 0, 0), ctc(3, 3, 0, 0, 0, 0, 2)])
    right = np.array([[1, 1, 3], [3, 2, -1]])
    assert score("cer", {"y": logits}, right) == pytest.approx(1 - 1 / 5)
    assert score("cer", {"y": logits}, {"sequence": right}) == pytest.approx(1 - 1 / 5)
    time_first = logits[:, :, None]  # asked row by row: (time, 1, classes)
    assert score("cer", {"y": time_first}, right) == pytest.approx(1 - 1 / 5)


def test_last_class_is_the_blank_where_fp32_gives_it_more_often() -> None:
    logits = np.stack([ctc(0, 3, 0, 1, 3, 3)])
    assert score("cer", {"y": logits}, np.array([[0, 0, 1]])) == 1.0


def test_wer_parts_words_at_the_space_and_counts_whole_words() -> None:
    """Space 3: the words 12, 2 and 1; given 12, 1 and 1: one word of three."""
    logits = np.stack([ctc(1, 2, 3, 1, 0, 3, 1)])
    right = {"sequence": np.array([[1, 2, 3, 2, 3, 1]]), "space": np.array([3])}
    assert score("wer", {"y": logits}, right) == pytest.approx(1 - 1 / 3)
    with pytest.raises(InputError, match="label_space"):
        score("wer", {"y": logits}, right["sequence"])


def test_strings_are_words_and_characters() -> None:
    given_, right = np.array(["the cat sat", "ok"]), np.array(["the hat sat", "ok"])
    assert score("wer", {"y": given_}, right) == pytest.approx(1 - 1 / 4)
    assert score("cer", {"y": given_}, right) == pytest.approx(1 - 1 / 13)


def test_without_labels_the_decoded_answer_of_fp32_is_the_truth() -> None:
    fp32 = {"y": Parts((ctc(1, 0, 2), ctc(1, 0, 2, 0, 3)))}
    other = {"y": Parts((ctc(1, 0, 2), ctc(1, 0, 2, 0, 0)))}
    assert score("cer", fp32, None) == 1.0
    assert score("cer", other, None, fp32) == pytest.approx(1 - 1 / 5)


@given(st.text("ab ", max_size=8), st.text("ab ", max_size=8))
def test_edit_distance_is_a_distance(some: str, other: str) -> None:
    found = taskmetrics.distance(some, other)
    assert found == taskmetrics.distance(other, some)
    assert abs(len(some) - len(other)) <= found <= max(len(some), len(other))
    assert (found == 0) == (some == other)
    assert taskmetrics.distance("kitten", "sitting") == 3


PLAIN = np.arange(8.0).reshape(4, 2)
BAD: dict[str, tuple[str, Any, Any, str]] = {
    "auc of one class": ("auc", PLAIN, np.zeros(4, int), "two classes; every label is 0"),
    "auc of an unknown class": (
        "auc",
        PLAIN,
        np.array([0, 1, 2, 1]),
        "the model tells 2 classes apart",
    ),
    "auc without whole numbers": ("auc", PLAIN, np.zeros(4), "one whole number per row"),
    "sts of odd rows": ("sts", PLAIN[:3], np.zeros(3), "an even number of rows"),
    "sts of unlike labels": ("sts", PLAIN, np.arange(4.0), "rows 0 and 1 are a pair with two"),
    "ndcg of a wrong shape": ("ndcg", PLAIN, np.zeros((4, 3)), r"\(rows, rows\)"),
    "ndcg of nothing relevant": ("ndcg", PLAIN, np.arange(4), "no row has another one"),
    "cer of a picture": ("cer", {"y": np.zeros((2, 3, 4, 5))}, None, r"\(time, classes\)"),
    "cer of nothing": ("cer", {"y": np.stack([ctc(0, 0)])}, None, "hold no symbol"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_what_cannot_be_scored_says_why(case: str) -> None:
    name, outputs, labels, message = BAD[case]
    with pytest.raises(InputError, match=message):
        score(name, outputs, labels)
