"""Evaluation by part: a part is defective if any of its pictures is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from seen_parts import BAD, CAMERAS, GOOD, NORMALS, scored_flat_parts, scored_grouped_parts

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def flat(tmp_path: Path) -> Iterator[fo.Dataset]:
    """A run of which nothing is decided on parts yet, on a dataset that is not grouped."""
    dataset = scored_flat_parts(tmp_path)
    yield dataset
    dataset.delete()


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[fo.Dataset]:
    """Runs of both slices of a grouped dataset, and the decisions on its parts."""
    dataset = scored_grouped_parts(tmp_path)
    segad.decide_parts(dataset, "segad", share=0.06)
    yield dataset
    dataset.delete()


def test_figures_of_parts_and_views(grouped: fo.Dataset) -> None:
    results = segad.evaluate_parts(grouped.match_tags("test"), "segad")
    figures = results.metrics()
    assert (figures["n_normal"], figures["n_anomalous"]) == (GOOD, BAD)
    assert (figures["part_auroc"], figures["part_recall"], figures["part_fpr"]) == (1.0, 1.0, 0.0)
    assert results.metrics("spot") == figures and results.defects == ["spot"]
    views = {row["view"]: row for row in results.views}
    assert list(views) == list(CAMERAS)
    for row in views.values():
        assert (row["pictures"], row["defective"], row["image_auroc"]) == (GOOD + BAD, 1, 1.0)
        assert (row["parts_flagged"], row["rightly"], row["wrongly"]) == (1, 1, 0)
    assert {name: part.defective_views for name, part in results.parts.items() if part.defective} == {
        part.part: [part.view] for part in results.decisions.flagged
    }


def test_misses_and_false_alarms_by_part(grouped: fo.Dataset) -> None:
    """Labels that are the other way round make each good part a miss and each defective one a false alarm."""
    samples = grouped.select_group_slices(CAMERAS)
    white, black = np.full((64, 64), 255, np.uint8), np.zeros((64, 64), np.uint8)
    bad = grouped.match_tags("test").skip(GOOD).values("group.id")
    ids, groups = samples.match_tags("test").values(["id", "group.id"])
    labels = {id: fo.Segmentation(mask=black if group in bad else white) for id, group in zip(ids, groups, strict=True)}
    samples.set_values("turned", labels, key_field="id")
    names = {
        id: fo.Classification(label="good" if group in bad else "spot") for id, group in zip(ids, groups, strict=True)
    }
    samples.set_values("defect", names, key_field="id")
    results = segad.evaluate_parts(grouped.match_tags("test"), "segad", "turned")
    assert (len(results.names("FN")), sorted(results.names("FP"))) == (GOOD, sorted(bad))
    assert results.metrics()["part_recall"] == 0.0 and results.metrics()["part_auroc"] == 0.0


def test_a_part_of_which_a_picture_is_unknown(grouped: fo.Dataset) -> None:
    left = grouped.select_group_slices("left").match_tags("test")
    for sample in (left.first(), left.last()):  # of a good part, and the good picture of a bad one
        sample["defect"], sample["defect_mask"] = None, None
        sample.save()
    results = segad.evaluate_parts(grouped.match_tags("test"), "segad")
    assert [entry["part"] for entry in results.excluded] == [left.first().group.id]
    assert (results.metrics()["n_normal"], results.metrics()["n_anomalous"]) == (GOOD - 1, BAD)


def test_evaluations_of_a_run_tell_of_its_parts(flat: fo.Dataset, tmp_path: Path) -> None:
    test = flat.match_tags("test")
    before = segad.evaluate_anomalies(test, "segad")
    assert before.parts is None and "Parts of" not in before.report(intervals=False)
    segad.decide_parts(flat, "segad", views="camera", share=0.06)
    results = segad.evaluate_anomalies(test, "segad")
    assert results.parts is not None and results.parts.metrics()["part_recall"] == 1.0
    assert results.metrics() == before.metrics()
    assert results.parts.report() in results.report(intervals=False)
    page = results.save_report(tmp_path / "report.html", max_images=0).read_text()
    assert "2 of 2 defective parts and 0 of 3 normal parts are flagged" in page
    assert (
        page.count("<h2>Parts</h2>") == 1
        and "<h2>Parts</h2>" not in before.save_report(tmp_path / "before.html", max_images=0).read_text()
    )


def test_a_run_of_one_slice_tells_of_the_parts_of_all(grouped: fo.Dataset) -> None:
    results = segad.evaluate_anomalies(grouped.select_group_slices("left").match_tags("test"), "segad_left")
    assert results.parts is not None
    assert results.parts.metrics()["n_anomalous"] == BAD  # one of them is defective on the right only
    assert results.metrics()["n_anomalous"] == 1


def test_wrong_requests(flat: fo.Dataset) -> None:
    with pytest.raises(ValueError, match="Nothing is decided on the parts of 'segad'"):
        segad.evaluate_parts(flat, "segad")
    segad.decide_parts(flat, "segad", share=0.06)
    with pytest.raises(ValueError, match="gt_field='missing'"):
        segad.evaluate_parts(flat, "segad", "missing")
    with pytest.raises(segad.RunError, match="None of the parts"):
        segad.evaluate_parts(flat.limit(NORMALS), "segad")
    results = segad.evaluate_parts(flat, "segad")
    with pytest.raises(ValueError, match="no outcome 'hit'"):
        results.names("hit")
    with pytest.raises(ValueError, match="defect='dent' is not among"):
        results.metrics("dent")
