"""Decisions on alarms: one mark each, however often and from wherever they arrive."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import fiftyone_segad as segad
from fiftyone_segad.review.decide import Decision, Outcome, decide

BOX, OTHER = (0.1, 0.2, 0.3, 0.4), (0.5, 0.5, 0.25, 0.25)


@pytest.fixture
def dataset(dataset_with_run: Any) -> Any:
    return dataset_with_run


def send(dataset: Any, *decisions: tuple[Any, ...], by: str = "ada") -> list[Outcome]:
    """Send decisions ``(action, label, box, replaces)`` on the last image."""
    sample = dataset.last().id
    rows = [(*row, *(BOX, None)[len(row) - 2 :]) for row in decisions]
    return decide(dataset, "segad", [Decision(row[0], sample, row[2], row[1], row[3]) for row in rows], by)


def marks(dataset: Any) -> list[tuple[str, str, str]]:
    dataset.reload()
    return [(mark.label, mark.by, mark.action) for mark in segad.list_marks(dataset, "segad")]


def test_a_decision_is_a_mark_of_a_region(dataset: Any) -> None:
    (outcome,) = send(dataset, ("a", "normal"))
    (mark,) = segad.list_marks(dataset, "segad")
    assert (mark.label, mark.by, mark.kind, mark.box, mark.action) == ("normal", "ada", "region", BOX, "a")
    assert outcome.mark is not None and outcome.mark.id == mark.id and not outcome.refused


def test_what_arrives_twice_counts_once(dataset: Any) -> None:
    send(dataset, ("a", "normal"))
    (again,) = send(dataset, ("a", "normal"))
    assert marks(dataset) == [("normal", "ada", "a")] and not again.refused
    assert segad.undo_review(dataset, "segad") and not segad.undo_review(dataset, "segad")


def test_what_another_has_decided_stays(dataset: Any) -> None:
    send(dataset, ("a", "normal"))
    (outcome,) = send(dataset, ("b", "anomalous"), by="bob")
    assert outcome.refused and outcome.mark is not None and outcome.mark.by == "ada"
    assert marks(dataset) == [("normal", "ada", "a")]


def test_who_has_seen_a_mark_may_replace_it(dataset: Any) -> None:
    send(dataset, ("a", "normal"))
    (outcome,) = send(dataset, ("b", "anomalous", BOX, "a"), by="bob")
    assert not outcome.refused and marks(dataset) == [("anomalous", "bob", "b")]
    assert segad.undo_review(dataset, "segad") and marks(dataset) == [("normal", "ada", "a")]


def test_a_decision_can_be_taken_back_in_the_batch_that_holds_it(dataset: Any) -> None:
    send(dataset, ("a", "normal"), ("a", None), ("b", "anomalous", OTHER))
    assert marks(dataset) == [("anomalous", "ada", "b")]


def test_taking_back_brings_what_was_replaced(dataset: Any) -> None:
    send(dataset, ("a", "normal"), ("b", "anomalous", BOX, "a"))
    (outcome,) = send(dataset, ("b", None))
    assert marks(dataset) == [("normal", "ada", "a")] and outcome.mark is not None and outcome.mark.action == "a"


def test_taking_back_twice_is_taking_back_once(dataset: Any) -> None:
    send(dataset, ("a", "normal"), ("b", "normal", OTHER), ("b", None), ("b", None))
    assert marks(dataset) == [("normal", "ada", "a")]


def test_taking_back_leaves_what_another_has_put_in_its_place(dataset: Any) -> None:
    send(dataset, ("a", "normal"))
    send(dataset, ("b", "anomalous", BOX, "a"), by="bob")
    send(dataset, ("a", None))
    assert marks(dataset) == [("anomalous", "bob", "b")]


def test_undo_takes_back_the_last_decision(dataset: Any) -> None:
    send(dataset, ("a", "normal"), ("b", "normal", OTHER))
    segad.undo_review(dataset, "segad")
    assert marks(dataset) == [("normal", "ada", "a")]


def test_many_at_once_lose_nothing(dataset: Any) -> None:
    """Eight people mark 40 alarms of one image at once, each alarm two of them."""
    boxes = [(0.02 * i, 0.1, 0.01, 0.01) for i in range(40)]
    refused: list[Outcome] = []

    def person(number: int) -> None:
        for i, box in enumerate(boxes):
            if i % 4 == number % 4:
                outcomes = send(dataset, (f"{number}-{i}", "normal", box), by=str(number))
                refused.extend(outcome for outcome in outcomes if outcome.refused)

    people = [threading.Thread(target=person, args=(number,)) for number in range(8)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    found = segad.list_marks(dataset, "segad")
    assert sorted(mark.box for mark in found) == sorted(boxes) and len(refused) == 40
    assert sum(segad.undo_review(dataset, "segad") for _ in range(41)) == 40


def test_a_sample_that_is_gone_is_refused(dataset: Any) -> None:
    (outcome,) = decide(dataset, "segad", [Decision("a", "0" * 24, BOX, "normal")])
    assert outcome.refused and outcome.mark is None


def test_a_wrong_label_is_refused_before_anything_is_written(dataset: Any) -> None:
    with pytest.raises(ValueError, match="'maybe' must be 'normal', 'anomalous' or None"):
        send(dataset, ("a", "normal"), ("b", "maybe"))
    assert marks(dataset) == []
    with pytest.raises(ValueError, match="no run 'other'"):
        decide(dataset, "other", [])
