from __future__ import annotations

import numpy as np
import pytest

from deployer.errors import InputError
from deployer.optimization import metrics

pytestmark = pytest.mark.optimize

SCORES = np.array([[0.9, 0.05, 0.05], [0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]])
LABELS = np.array([0, 1, 1, 2])


def score(name: str, outputs: np.ndarray, labels: np.ndarray | None) -> float:
    return metrics.resolve(name).score(outputs, outputs, labels)


def test_accuracy_counts_right_answers() -> None:
    assert score("accuracy", SCORES, LABELS) == 0.5


def test_top_2_counts_a_right_second_place() -> None:
    assert score("top2", SCORES, LABELS) == 0.75
    assert score("top-3", SCORES, LABELS) == 1.0


def test_f1_is_the_mean_over_classes() -> None:
    # class 0: precision 1/2, recall 1 -> 2/3; class 1: 1, 1/2 -> 2/3; class 2: nothing right -> 0
    assert score("f1", SCORES, LABELS) == pytest.approx(4 / 9)


def test_spearman_ranks_with_ties() -> None:
    outputs = np.array([[1.0], [2.0], [2.0], [5.0]])
    assert score("spearman", outputs, np.array([10.0, 20.0, 20.0, 90.0])) == pytest.approx(1.0)
    assert score("spearman", -outputs, np.array([10.0, 20.0, 20.0, 90.0])) == pytest.approx(-1.0)
    assert score("spearman", np.ones((4, 1)), np.arange(4.0)) == 0.0


def test_cosine_compares_with_the_fp32_answer_of_the_same_row() -> None:
    metric = metrics.resolve("cosine")
    reference = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert metric.score(reference * 3, reference, None) == pytest.approx(1.0)
    assert metric.score(reference[::-1], reference, None) == pytest.approx(0.0)


def test_user_metric_is_called_with_outputs_and_labels() -> None:
    labels = np.array([3.0])
    assert score("numpy:dot", np.array([2.0]), labels) == 6.0


@pytest.mark.parametrize(
    ("name", "outputs", "labels", "message"),
    [
        ("accuracy", SCORES[:, 0], LABELS, "needs \\(rows, classes\\)"),
        ("accuracy", SCORES, None, "one whole number per row"),
        ("spearman", SCORES, LABELS, "one number per row"),
        ("math:sqrt", SCORES, LABELS, "raised TypeError"),
        ("numpy:inner", np.array([np.nan]), np.array([1.0]), "returned nan"),
    ],
)
def test_metric_that_cannot_be_computed_says_why(
    name: str, outputs: np.ndarray, labels: np.ndarray | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        score(name, outputs, labels)


def test_zeros_are_like_zeros_and_unlike_all_else() -> None:
    rows = metrics.resolve("cosine").rows
    assert rows is not None
    zeros, ones = np.zeros((1, 3)), np.ones((1, 3))
    assert rows(zeros, zeros, None).tolist() == [1.0]
    assert rows(ones, zeros, None).tolist() == [0.0]
