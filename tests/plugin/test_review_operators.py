"""The review from the App: what is selected, marked, learnt and undone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from plugin_calls import REFUSED, form, run


@pytest.fixture
def dataset(dataset_of: Any, pictures: list[Path]) -> Iterator[fo.Dataset]:
    made = dataset_of(pictures)
    segad.compute_segment_anomalies(made, reference=made.limit(4), segments="grid:3", threshold="quantile:0.8")
    yield made
    segad.delete_run(made, "segad")


def test_selected_samples_are_marked_with_the_reason(dataset: fo.Dataset) -> None:
    ids = dataset.limit(2).values("id")
    result = run("mark_normal", dataset, {"selected": ids}, why="dust")
    assert (result["changed"], result["marks"]) == (2, 2)
    marks = segad.list_marks(dataset, "segad")
    assert ({mark.sample_id for mark in marks}, {mark.why for mark in marks}) == (set(ids), {"dust"})


def test_a_selected_sample_is_marked_though_the_view_hides_it_by_now(dataset: fo.Dataset) -> None:
    first, last = dataset.first().id, dataset.last().id
    run("mark_normal", dataset, {"view": dataset.select(last), "selected": [first]})
    assert [mark.sample_id for mark in segad.list_marks(dataset, "segad")] == [first]
    with pytest.raises(REFUSED, match=r"nothing|not in the dataset or view any more"):
        run("mark_normal", dataset, {"view": dataset.to_patches("segad_segments"), "selected": [last]})


def test_selected_patches_are_marked(dataset: fo.Dataset) -> None:
    patches = dataset.to_patches("segad_segments")
    chosen = patches.limit(3).values("id")
    assert run("mark_anomalous", dataset, {"view": patches, "selected": chosen}, label=" dent ")["changed"] == 3
    marks = segad.list_marks(dataset, "segad")
    assert {(mark.kind, mark.defect) for mark in marks} == {("segment", "dent")}
    label = form("mark_anomalous", dataset, selected=tuple(dataset.limit(1).values("id")))["label"]
    assert "named so far: dent" in str(label)
    assert "label" not in form("mark_normal", dataset, selected=tuple(dataset.limit(1).values("id")))


def test_selected_labels_of_an_open_sample_are_marked(dataset: fo.Dataset) -> None:
    sample = dataset.last()
    label = sample.segad_segments.detections[4]
    selected = [{"label_id": label.id, "sample_id": sample.id, "field": "segad_segments"}]
    run("mark_normal", dataset, {"selected_labels": selected, "current_sample": sample.id})
    (mark,) = segad.list_marks(dataset, "segad")
    assert mark.box == pytest.approx(label.bounding_box)


def test_the_open_sample_is_marked_when_nothing_is_selected(dataset: fo.Dataset) -> None:
    run("mark_normal", dataset, {"current_sample": dataset.last().id})
    assert [mark.sample_id for mark in segad.list_marks(dataset, "segad")] == [dataset.last().id]


def test_rescore_unmark_and_undo(dataset: fo.Dataset) -> None:
    odd = dataset.sort_by("segad_score", reverse=True).first()
    assert odd.segad_pred.label == "anomalous"
    run("mark_normal", dataset, {"selected": [odd.id]})
    result = run("rescore", dataset)
    assert (result["marked"], result["cleared"], result["ids"][0]) == (1, 1, odd.id)
    assert len(result["ids"]) == result["cleared"] + result["raised"], "the grid shows all that has changed"
    assert run("unmark", dataset, {"selected": [odd.id]})["changed"] == 1
    assert run("undo_review", dataset)["marks"] == 1
    assert run("undo_review", dataset)["marks"] == 0
    assert run("undo_review", dataset)["changed"] == 0
    assert run("rescore", dataset)["raised"] == 1


def test_labels_of_several_fields_are_refused(dataset: fo.Dataset) -> None:
    sample = dataset.last()
    labels = [
        {"label_id": sample[field].detections[0].id, "sample_id": sample.id, "field": field}
        for field in ("segad_segments", "segad_regions")
    ]
    with pytest.raises(REFUSED, match=r"nothing|several fields"):
        run("mark_normal", dataset, {"selected_labels": labels})


def test_a_run_that_cannot_learn_is_told_in_the_form(dataset: fo.Dataset) -> None:
    segad.compute_segment_anomalies(dataset, key="later", method="unlabeled", segments="grid:3")
    with pytest.raises(REFUSED, match="method"):
        run("rescore", dataset, key="later")
    segad.delete_run(dataset, "later")


def test_second_opinions_begin_with_what_two_runs_disagree_on(dataset: fo.Dataset) -> None:
    scores = dict(zip(*dataset.values(["id", "segad_score"]), strict=True))
    order = sorted(scores, key=lambda id: scores[id])
    strict = segad.load_run(dataset, "segad").thresholds.image
    assert scores[order[-2]] <= strict < scores[order[-1]]
    lenient = (scores[order[1]] + scores[order[2]]) / 2  # flags the upper four
    options: dict[str, Any] = {"reference": dataset.limit(4), "segments": "grid:3", "threshold": lenient}
    segad.compute_segment_anomalies(dataset, key="lenient", **options)
    result = run("second_opinions", dataset, key="segad", other="lenient")
    assert (result["shown"], result["disagree"]) == (6, 3)
    assert set(result["ids"][:3]) == set(order[2:5])
    alone = run("second_opinions", dataset, key="segad", max_images=2)
    assert alone["ids"] == sorted(order, key=lambda id: abs(scores[id] - strict))[:2]
    assert "other" in form("second_opinions", dataset, key="segad")
    segad.delete_run(dataset, "lenient")
    assert "other" not in form("second_opinions", dataset), "with a single run there is none to compare with"
    with pytest.raises(REFUSED, match="max_images"):
        run("second_opinions", dataset, max_images=0)
    with pytest.raises(ValueError, match="whole number from 1 on, got '3'"):
        segad.second_opinions(dataset, "segad", max_images="3")  # type: ignore[arg-type]


def test_worst_first_gives_the_highest_scores_first(dataset: fo.Dataset) -> None:
    result = run("worst_first", dataset)
    assert result["ids"] == dataset.sort_by("segad_score", reverse=True).values("id")
    assert (result["key"], result["shown"]) == ("segad", len(dataset))
