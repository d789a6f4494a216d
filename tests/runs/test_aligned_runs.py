"""Runs on parts that were laid straight: what they write lies in the images as these are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from bolts import ANGLES, GOOD, bolt, red, save_bolts
from fiftyone_segad.segments.turned import TurnedSegments
from fiftyone_segad.utils.arrays import read_texts

SMALL: dict[str, Any] = {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}}


@pytest.fixture
def bolts(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    """Bolts at any angle; the last two have a red mark."""
    return dataset_of(save_bolts(tmp_path))


def compute(bolts: fo.Dataset, **options: Any) -> segad.Run:
    run = segad.compute_segment_anomalies(
        bolts[GOOD - 2 :], reference=bolts[: GOOD - 2], threshold="fpr:0.1", **{**SMALL, **options}
    )
    assert isinstance(run, segad.Run)
    return run


def scores(run: segad.Run) -> dict[str, list[float]]:
    return {record.id: record.scores.tolist() for record in run.store.scores}


def peaks(run: segad.Run) -> dict[str, float]:
    return {record.id: record.image_score for record in run.store.scores}


def marked(bolts: fo.Dataset) -> list[fo.Sample]:
    return list(bolts[GOOD:])


def test_a_run_says_that_parts_were_laid_straight(bolts: fo.Dataset) -> None:
    run = compute(bolts)
    assert run.aligned and run.rotations == 1 and run.settings["align"] is None
    assert "each laid straight" in str(run)
    upright = compute(bolts, key="upright", align=False)
    assert not upright.aligned and upright.rotations == 8


def test_masks_and_regions_are_on_the_mark(bolts: fo.Dataset) -> None:
    run = compute(bolts)
    for sample, angle in zip(marked(bolts), ANGLES[GOOD:], strict=True):
        truth = red(bolt(angle))
        sample.reload()
        assert sample.segad_score > run.thresholds.image
        mask = np.asarray(Image.open(sample.segad_mask.mask_path)) > 0
        assert mask.shape == truth.shape
        assert mask[truth].mean() > 0.5, "most of the mark is found"
        region = max(sample.segad_regions.detections, key=lambda region: region.anomaly_score)
        x, y, width, height = region.bounding_box
        row, column = np.argwhere(truth).mean(axis=0) / truth.shape
        assert x <= column <= x + width and y <= row <= y + height
        (record,) = run.store.scores_of({sample.id})
        anomaly = record.map()
        row, column = np.unravel_index(anomaly.argmax(), anomaly.shape)
        assert np.hypot(*(np.argwhere(truth) - (row, column)).T).min() < 20, "within the width of two segments"


def test_later_images_bank_files_and_archives_give_the_same_scores(bolts: fo.Dataset, tmp_path: Path) -> None:
    expected = scores(compute(bolts))
    compute(bolts[: GOOD + 1], overwrite=True)
    assert scores(segad.score_new(bolts[GOOD - 2 :], "segad")) == expected
    file = segad.save_bank(bolts, "segad", tmp_path / "bank.safetensors")
    assert scores(segad.score_new(bolts[GOOD - 2 :], "file", bank=file)) == expected
    with segad.load_bank(file) as inspector:
        for sample in marked(bolts):
            inspected = inspector(sample.filepath)
            assert inspected.record.scores.tolist() == expected[sample.id]
            assert inspected.anomalous and inspected.mask.shape == (280, 300)
    archive = segad.export_run(bolts, "segad", tmp_path / "run.zip")
    segad.delete_run(bolts, "segad")
    segad.import_run(bolts, archive)
    assert scores(segad.load_run(bolts, "segad")) == expected and segad.load_run(bolts, "segad").aligned


def test_a_bank_file_says_what_it_needs(bolts: fo.Dataset, tmp_path: Path) -> None:
    """Who does not know how to lay parts straight must not score with it."""
    compute(bolts)
    compute(bolts, key="upright", align=False)
    files = [segad.save_bank(bolts, key, tmp_path / key) for key in ("segad", "upright")]
    assert [read_texts(file)["version"] for file in files] == ["4", "3"]


def test_reviews_teach(bolts: fo.Dataset) -> None:
    before = peaks(compute(bolts))
    segad.mark_normal(bolts[GOOD : GOOD + 1].to_patches("segad_regions"), "segad")
    segad.rescore(bolts, "segad")
    run = segad.load_run(bolts, "segad")
    assert run.aligned
    after = peaks(run)
    assert all(after[sample.id] < before[sample.id] for sample in marked(bolts))


def test_what_is_near_is_shown_where_it_is(bolts: fo.Dataset) -> None:
    compute(bolts)
    (segment, *_) = segad.explain_sample(bolts, "segad", marked(bolts)[0].id)
    row, column = np.argwhere(red(bolt(ANGLES[GOOD]))).mean(axis=0)
    x0, y0, x1, y1 = segment.box
    assert x0 - 10 <= column <= x1 + 10 and y0 - 10 <= row <= y1 + 10
    assert all(neighbour.box is not None for neighbour in segment.neighbours)


def test_images_without_normal_ones_are_laid_straight_too(bolts: fo.Dataset) -> None:
    run = segad.compute_segment_anomalies(bolts, method="unlabeled", **SMALL)
    assert isinstance(run, segad.Run) and run.aligned
    assert all(isinstance(record.segments, TurnedSegments) for record in run.store.scores)
    ranked = bolts.sort_by("segad_score", reverse=True).limit(2).values("id")
    assert set(ranked) == {sample.id for sample in marked(bolts)}
    plain = segad.compute_segment_anomalies(bolts, "plain", method="unlabeled", align=False, **SMALL)
    assert isinstance(plain, segad.Run) and not plain.aligned


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"align": "yes"}, "align='yes' must be True, False or None"),
        ({"align": True, "segments": "grid:3"}, "leave segments out"),
        ({"align": True, "method": "within_image", "reference": None}, "'within_image'"),
    ],
)
def test_what_cannot_be_laid_straight_is_refused(bolts: fo.Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segad.compute_segment_anomalies(bolts, **{"reference": bolts[:4], **SMALL, **options})
