"""Counts at one threshold, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_score, recall_score

from fiftyone_segad.metrics.confusion import Confusion, confusion


def test_confusion_equals_scikit_learn() -> None:
    random = np.random.default_rng(3)
    truth, flagged = random.random((2, 9, 11)) < 0.4
    counts = confusion(flagged, truth)
    y, x = truth.ravel(), flagged.ravel()
    assert [[counts.tn, counts.fp], [counts.fn, counts.tp]] == confusion_matrix(y, x).tolist()
    assert counts.precision == pytest.approx(precision_score(y, x))
    assert counts.recall == pytest.approx(recall_score(y, x))
    assert counts.fpr == pytest.approx(1 - recall_score(~y, ~x))
    assert counts.f1 == pytest.approx(f1_score(y, x))
    assert counts.iou == pytest.approx(jaccard_score(y, x))


@pytest.mark.parametrize(
    ("flagged", "defective", "outcomes", "rates"),
    [
        pytest.param([1, 1, 0, 0, 0], [0, 1, 1, 0, 0], (1, 1, 1, 2), (1 / 2, 1 / 2, 1 / 3, 1 / 2, 1 / 3), id="each"),
        pytest.param([1, 0, 1, 1, 0], [1, 0, 0, 1, 0], (2, 1, 0, 2), (2 / 3, 1, 1 / 3, 4 / 5, 2 / 3), id="no miss"),
        pytest.param([0, 0, 0, 0, 0], [0, 1, 1, 0, 0], (0, 0, 2, 3), (None, 0, 0, 0, 0), id="nothing flagged"),
        pytest.param([1, 1, 1, 1, 1], [0, 1, 1, 0, 0], (2, 3, 0, 0), (2 / 5, 1, 1, 4 / 7, 2 / 5), id="all flagged"),
    ],
)
def test_confusion_by_hand(
    flagged: list[int], defective: list[int], outcomes: tuple[int, ...], rates: tuple[float | None, ...]
) -> None:
    counts = confusion(flagged, defective)
    assert counts == Confusion(*outcomes)
    assert (counts.precision, counts.recall, counts.fpr, counts.f1, counts.iou) == rates


def test_confusion_of_absent_classes() -> None:
    def rates(flagged: list[bool], defective: list[bool]) -> tuple[float | None, ...]:
        counts = confusion(flagged, defective)
        return counts.precision, counts.recall, counts.fpr, counts.f1, counts.iou

    assert rates([True], [False]) == (0, None, 1, 0, 0)
    assert rates([True], [True]) == (1, 1, None, 1, 1)
    assert rates([False], [False]) == (None, None, 0, None, None)
    assert rates([], []) == (None, None, None, None, None)


def test_confusions_add_up() -> None:
    random = np.random.default_rng(4)
    truth, flagged = random.random((2, 40)) < 0.4
    assert confusion(flagged[:15], truth[:15]) + confusion(flagged[15:], truth[15:]) == confusion(flagged, truth)
    assert Confusion(1, 2, 3, 4) + Confusion(10, 20, 30, 40) == Confusion(11, 22, 33, 44)
