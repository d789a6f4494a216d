"""How many marks a run has not learnt yet."""

from __future__ import annotations

from typing import Any

import fiftyone_segad as segad
from fiftyone_segad.review.learnt import MARKS, unlearnt_marks


def unlearnt(dataset: Any) -> int | None:
    return unlearnt_marks(dataset, "segad", segad.load_run(dataset, "segad").settings.get(MARKS))


def test_marks_count_until_they_are_learnt(dataset_with_run: Any) -> None:
    dataset = dataset_with_run
    assert unlearnt(dataset) == 0
    segad.mark_normal(dataset.limit(1), "segad")
    segad.mark_anomalous(dataset.skip(4).limit(1), "segad")
    segad.mark_normal(dataset.skip(1).limit(1), "segad")
    assert unlearnt(dataset) == 3
    segad.rescore(dataset, "segad")
    assert unlearnt(dataset) == 0
    segad.mark_normal(dataset.skip(2).limit(1), "segad")
    assert unlearnt(dataset) == 1


def test_it_is_not_known_where_what_was_learnt_is_taken_back(dataset_with_run: Any) -> None:
    dataset = dataset_with_run
    segad.mark_normal(dataset.limit(2), "segad")
    segad.rescore(dataset, "segad")
    segad.unmark(dataset.limit(1), "segad")
    assert unlearnt(dataset) is None
