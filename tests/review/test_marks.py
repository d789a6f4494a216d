"""Marks: what is stored, what replaces what, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from fiftyone_segad.registry.keys import review_log

pytestmark = pytest.mark.usefixtures("module_colour_embedder")


def score(dataset: fo.Dataset) -> fo.Dataset:
    segad.compute_segment_anomalies(dataset, reference=dataset.limit(4), threshold="quantile:0.5")
    return dataset


@pytest.fixture(scope="module")
def scored(
    module_dataset_of: Callable[..., fo.Dataset], module_pictures: list[Path], module_colour_embedder: object
) -> fo.Dataset:
    """Score the pictures once, for all tests of this file."""
    return score(module_dataset_of(module_pictures))


@pytest.fixture
def dataset(scored: fo.Dataset) -> Iterator[fo.Dataset]:
    """Give a copy to mark; its run is that of the source."""
    clone = scored.clone()
    yield clone
    clone.delete()


def regions(dataset: fo.Dataset) -> Any:
    return dataset.to_patches("segad_regions")


def labels(dataset: fo.Dataset) -> list[tuple[str, str, str]]:
    return [(mark.sample_id, mark.label, mark.kind) for mark in segad.list_marks(dataset, "segad")]


def test_a_sample_is_marked_with_who_when_and_why(dataset: fo.Dataset) -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    view = dataset.skip(1).limit(2)
    made = segad.mark_normal(view, "segad", why="only dust", by="ada")
    dataset.reload()
    marks = segad.list_marks(dataset, "segad")
    assert {mark.sample_id for mark in marks} == set(view.values("id"))
    assert {mark.id for mark in made} == {mark.id for mark in marks}
    for mark in marks:
        assert (mark.label, mark.kind, mark.by, mark.why) == ("normal", "sample", "ada", "only dust")
        assert mark.box == (0, 0, 1, 1)
        assert before < mark.at < datetime.now(timezone.utc) + timedelta(seconds=1)


def test_regions_and_segments_are_marked_where_they_are(dataset: fo.Dataset) -> None:
    patch = regions(dataset).first()
    (mark,) = segad.mark_normal(regions(dataset).limit(1), "segad")
    assert (mark.sample_id, mark.kind) == (patch.sample_id, "region")
    assert mark.box == pytest.approx(patch.segad_regions.bounding_box)
    segments = dataset.to_patches("segad_segments").limit(3)
    assert {mark.kind for mark in segad.mark_anomalous(segments, "segad")} == {"segment"}
    assert len(segad.list_marks(dataset, "segad")) == 4
    assert len(segad.list_marks(dataset, "segad", "anomalous")) == 3


def test_labels_are_marked_by_their_ids(dataset: fo.Dataset) -> None:
    sample = next(sample for sample in dataset if sample.segad_regions.detections)
    region, segment = sample.segad_regions.detections[0], sample.segad_segments.detections[1]
    made = segad.mark_anomalous(dataset, "segad", "dent", label_ids=[region.id, segment.id])
    assert [(mark.sample_id, mark.kind, mark.defect) for mark in made] == [
        (sample.id, "region", "dent"),
        (sample.id, "segment", "dent"),
    ]
    assert [mark.box for mark in made] == [pytest.approx(label.bounding_box) for label in (region, segment)]
    assert [mark.defect for mark in segad.list_marks(dataset, "segad")] == ["dent", "dent"]
    segad.mark_normal(dataset, "segad", label_ids=[region.id])
    assert {mark.label: mark.defect for mark in segad.list_marks(dataset, "segad")} == {
        "normal": None,
        "anomalous": "dent",
    }


def test_ids_of_no_label_are_refused_and_nothing_is_marked(dataset: fo.Dataset) -> None:
    sample = next(sample for sample in dataset if sample.segad_regions.detections)
    region = sample.segad_regions.detections[0].id
    for ids, message in (
        ([region, sample.id], f"no region or segment with the id {sample.id}"),
        (["x"], "no region or segment with the id x"),
        ([], "must be a list of ids of labels, at least one"),
        (region, "must be a list of ids of labels"),
    ):
        with pytest.raises(ValueError, match=message):
            segad.mark_anomalous(dataset, "segad", label_ids=ids)
    with pytest.raises(ValueError, match="label=' ' must be the name of a kind of defect"):
        segad.mark_anomalous(dataset, "segad", " ")
    assert segad.list_marks(dataset, "segad") == []


def test_a_later_mark_of_the_same_box_replaces_the_earlier(dataset: fo.Dataset) -> None:
    first = dataset.limit(1)
    segad.mark_normal(first, "segad")
    segad.mark_anomalous(first, "segad")
    assert labels(dataset) == [(first.first().id, "anomalous", "sample")]


def test_unmark_takes_back_the_boxes_of_patches_or_all_of_a_sample(dataset: fo.Dataset) -> None:
    marked = regions(dataset)
    segad.mark_normal(marked, "segad")
    count = len(segad.list_marks(dataset, "segad"))
    assert count == len(marked) > 1
    assert len(segad.unmark(marked.limit(1), "segad")) == 1
    assert len(segad.list_marks(dataset, "segad")) == count - 1
    segad.unmark(dataset, "segad")
    assert segad.list_marks(dataset, "segad") == []
    assert segad.unmark(dataset, "segad") == []


def test_marks_can_be_taken_back_by_their_own_patches(dataset: fo.Dataset) -> None:
    segad.mark_normal(dataset.limit(2), "segad")
    assert len(segad.unmark(dataset.to_patches("segad_review").limit(1), "segad")) == 1
    assert len(segad.list_marks(dataset, "segad")) == 1


def test_marks_survive_a_new_run_of_the_key(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> None:
    dataset = score(dataset_of(pictures))
    segad.mark_normal(dataset.limit(1), "segad", why="kept")
    segad.compute_segment_anomalies(dataset, method="unlabeled", overwrite=True)
    assert [mark.why for mark in segad.list_marks(dataset, "segad")] == ["kept"]


def test_deleting_the_run_leaves_no_mark(dataset: fo.Dataset) -> None:
    segad.compute_segment_anomalies(dataset, key="other", method="unlabeled")
    scheme = dataset.app_config.color_scheme.to_dict()
    segad.mark_normal(dataset, "other")
    assert review_log(dataset).has("other")
    segad.delete_run(dataset, "other")
    assert not dataset.has_sample_field("other_review")
    assert not review_log(dataset).has("other")
    paths = [entry["path"] for entry in dataset.app_config.color_scheme.fields]
    assert paths == [entry["path"] for entry in scheme["fields"] if not entry["path"].startswith("other")]


@pytest.mark.parametrize("function", [segad.mark_normal, segad.mark_anomalous, segad.unmark])
def test_an_empty_choice_is_refused(dataset: fo.Dataset, function: Any) -> None:
    with pytest.raises(ValueError, match="Nothing is chosen"):
        function(dataset.match_tags("nobody"), "segad")


def test_a_run_that_does_not_exist_is_refused(dataset: fo.Dataset) -> None:
    with pytest.raises(ValueError, match=r"no run 'other' to review; its runs are \['segad'\]"):
        segad.mark_normal(dataset, "other")
    assert not dataset.has_sample_field("other_review")
    for function in (segad.unmark, segad.undo_review, segad.list_marks):
        with pytest.raises(ValueError, match="no run 'other' to review"):
            function(dataset, "other")
    with pytest.raises(ValueError, match="must be a FiftyOne dataset or view, got str"):
        segad.mark_normal("segad", "segad")  # type: ignore[arg-type]


def test_patches_without_boxes_are_refused(dataset: fo.Dataset) -> None:
    line = fo.Polyline(label="scratch", points=[[(0.1, 0.1), (0.5, 0.5), (0.1, 0.5)]], closed=True, filled=True)
    first = dataset.first()
    first["lines"] = fo.Polylines(polylines=[line])
    first.save()
    with pytest.raises(ValueError, match="'lines' have no boxes"):
        segad.mark_normal(dataset.to_patches("lines"), "segad")


def test_a_mark_on_a_defect_warns_and_stays(dataset: fo.Dataset, caplog: pytest.LogCaptureFixture) -> None:
    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    last = dataset.last()
    last["defect_mask"] = fo.Segmentation(mask=mask)
    last.save()
    on = fo.Detection(label="x", bounding_box=[0.4, 0.3, 0.2, 0.2])
    beside = fo.Detection(label="x", bounding_box=[0.0, 0.0, 0.2, 0.2])
    last["boxes"] = fo.Detections(detections=[on, beside])
    last.save()
    patches = dataset.to_patches("boxes")
    with caplog.at_level("WARNING"):
        segad.mark_normal(patches.select_by("boxes.id", [beside.id]), "segad")
        assert not caplog.records
        segad.mark_anomalous(patches.select_by("boxes.id", [on.id]), "segad")
        assert not caplog.records, "it is said to be a defect"
        segad.mark_normal(patches.select_by("boxes.id", [on.id]), "segad")
    assert "1 mark calls normal what the ground truth calls a defect" in caplog.text
    assert len(segad.list_marks(dataset, "segad", "normal")) == 2
