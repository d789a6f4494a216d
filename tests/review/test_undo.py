"""Undo of the review: step by step, back to the state before, as far as the log goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.review import undo

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    scored = dataset_of(pictures)
    segad.compute_segment_anomalies(scored, reference=scored.limit(4), segments="grid:2", threshold="quantile:0.5")
    return scored


def test_undo_goes_back_step_by_step(dataset: fo.Dataset) -> None:
    first = dataset.limit(1)
    segad.mark_normal(first, "segad", why="one")
    segad.mark_anomalous(dataset.limit(2), "segad", why="two")
    segad.unmark(dataset, "segad")
    states = []
    while segad.undo_review(dataset, "segad"):
        states.append(sorted((mark.label, mark.why) for mark in segad.list_marks(dataset, "segad")))
    assert states == [[("anomalous", "two")] * 2, [("normal", "one")], []]
    assert not segad.undo_review(dataset, "segad")


def test_the_last_actions_can_be_undone(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undo, "UNDOABLE", 2)
    for why in ("one", "two", "three"):
        segad.mark_normal(dataset.limit(1), "segad", why=why)
    reasons = []
    while segad.undo_review(dataset, "segad"):
        reasons += [mark.why for mark in segad.list_marks(dataset, "segad")]
    assert reasons == ["two", "one"], "and what the first replaced is not known any more"
