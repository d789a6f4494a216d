"""Runs on grouped datasets reach all samples of the run, whatever slice is active."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad

pytestmark = pytest.mark.usefixtures("colour_embedder")

SLICES = ["left", "right"]


@pytest.fixture
def grouped(pictures: list[Path]) -> Iterator[fo.Dataset]:
    """Six groups of two images each; the right ones are mirrored, and the last group is defective."""
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    samples = []
    for number, path in enumerate(pictures):
        picture, mask = Image.open(path), np.zeros((80, 96), np.uint8)
        if number == 5:
            mask[30:46, 40:56] = 255
        group = fo.Group()
        for name in SLICES:
            mirrored = name == "right"
            file, truth = path.with_name(f"{name}{number}.png"), path.with_name(f"{name}{number}_mask.png")
            (picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else picture).save(file)
            Image.fromarray(np.ascontiguousarray(mask[:, ::-1]) if mirrored else mask).save(truth)
            sample = fo.Sample(filepath=str(file), group=group.element(name), tags=["good"] if number < 4 else [])
            sample["defect_mask"] = fo.Segmentation(mask_path=str(truth))
            samples.append(sample)
    dataset.add_samples(samples)
    yield dataset
    dataset.delete()


def both(dataset: fo.Dataset) -> fo.DatasetView:
    return dataset.select_group_slices(SLICES)


def compute(dataset: fo.Dataset) -> fo.DatasetView:
    """Score both slices."""
    samples = both(dataset)
    segad.compute_segment_anomalies(samples, reference=samples.match_tags("good"), segments="tiles:0.4:0.2")
    return samples


def test_a_threshold_changes_all_predictions(grouped: fo.Dataset) -> None:
    samples = compute(grouped)
    segad.set_threshold(grouped, "segad", 1e6)
    assert samples.values("segad_pred.label") == ["normal"] * 12
    segad.set_threshold(grouped, "segad", "f1")
    assert samples.values("segad_pred.label") == ["normal"] * 10 + ["anomalous"] * 2


def test_marks_reach_all_slices(grouped: fo.Dataset) -> None:
    samples = compute(grouped)
    scores = samples.values("segad_score")
    assert len(segad.mark_normal(samples.skip(8), "segad")) == 4
    assert len(segad.list_marks(grouped, "segad")) == 4
    report = segad.rescore(grouped, "segad")
    assert report.marked == 4
    after = samples.values("segad_score")
    assert None not in after and after[10] < scores[10] and after[11] < scores[11]
    assert len(segad.unmark(grouped, "segad")) == 4


@pytest.mark.parametrize("active", SLICES)
def test_one_slice_works_as_a_dataset_does(grouped: fo.Dataset, active: str) -> None:
    grouped.group_slice = active
    right = grouped.select_group_slices("right")
    segad.compute_segment_anomalies(right, reference=right.match_tags("good"), segments="tiles:0.4:0.2")
    segad.set_threshold(grouped, "segad", 1e6)
    assert right.values("segad_pred.label") == ["normal"] * 6
    assert len(segad.mark_normal(grouped.limit(5), "segad")) == 5
    segad.rescore(grouped, "segad")
    assert right.count("segad_score") == 6
    assert grouped.select_group_slices("left").count("segad_score") == 0
    assert len(segad.second_opinions(grouped, "segad")) == 6


def test_evaluations_and_their_views(grouped: fo.Dataset) -> None:
    samples = compute(grouped)
    results = segad.evaluate_anomalies(samples, "segad", eval_key="judged")
    assert results.metrics()["n_anomalous"] == 2
    assert samples.count("judged_truth") == samples.count("judged") == 12
    assert samples.values("judged_truth.label").count("anomalous") == 2


def test_curations_return_all_slices(grouped: fo.Dataset) -> None:
    samples = both(grouped)
    assert len(segad.image_quality(samples, tag="odd")) == 12
    assert len(segad.find_contamination(samples)) == 12
    assert len(segad.find_duplicates(samples, key="twins").view()) == sum(
        map(len, segad.find_duplicates(samples).groups)
    )
    assert len(segad.select_coreset(samples, 12, tag="chosen")) == len(samples.match_tags("chosen")) == 12


def test_nothing_of_a_deleted_run_is_left_in_any_slice(grouped: fo.Dataset) -> None:
    for sample in both(grouped).skip(10):
        Path(sample.filepath).write_bytes(b"no image")
    samples = compute(grouped)
    assert len(samples.match_tags("segad_skipped")) == 2
    segad.delete_run(grouped, "segad")
    assert len(samples.match_tags("segad_skipped")) == 0
