"""The main job on real images: MVTec's screws from folder to figures, and the original method beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

import fiftyone_segad as segad
from conftest import needs_fastdup, shared
from fiftyone_segad.segments.maps import anomaly_map

pytestmark = [pytest.mark.slow, needs_fastdup]


@pytest.fixture(scope="module")
def screws() -> Iterator[fo.Dataset]:
    dataset = segad.load_mvtec(shared("screw"))
    assert dataset.info["problems"] == []
    yield dataset
    for key in segad.list_runs(dataset):
        segad.delete_run(dataset, key)
    dataset.delete()


@pytest.fixture(scope="module")
def scored(screws: fo.Dataset) -> fo.DatasetView:
    """The test images, scored against the training images."""
    test = screws.match(F("split") == "test")
    run = segad.compute_segment_anomalies(test, reference=screws.match(F("split") == "train"))
    assert (run.scored, run.normals, run.skipped) == (79, 100, [])
    return test


def some_of_each(samples: fo.DatasetView, *defects: str) -> fo.DatasetView:
    """Four images of each kind. (FiftyOne's shuffle is another one for each dataset, whatever the seed.)"""
    first, *others = (samples.match(F("defect.label") == defect).limit(4) for defect in defects)
    for other in others:
        first = first.concat(other)
    return first


def test_reference_finds_defects_of_screws(scored: fo.DatasetView) -> None:
    metrics = segad.evaluate_anomalies(scored).metrics()
    assert (metrics["n_normal"], metrics["n_anomalous"]) == (21, 58)
    assert metrics["image_auroc"] >= 0.96
    assert metrics["pixel_auroc"] >= 0.99
    assert metrics["aupro_30"] >= 0.96


def test_tiles_through_fastdup_find_defects_of_screws(screws: fo.Dataset) -> None:
    test, normals = screws.match(F("split") == "test"), screws.match(F("split") == "train")
    segad.compute_segment_anomalies(test, key="fastdup", reference=normals, embedder="fastdup")
    metrics = segad.evaluate_anomalies(test, key="fastdup").metrics()
    assert metrics["image_auroc"] >= 0.87
    assert metrics["pixel_auroc"] >= 0.981
    assert metrics["aupro_30"] >= 0.915


def test_metrics_agree_with_independent_ones_on_real_predictions(scored: fo.DatasetView) -> None:
    few = some_of_each(scored, "good", "scratch_head")
    metrics = segad.evaluate_anomalies(few).metrics()
    records = {record.id: record for record in segad.load_run(few, "segad").store.scores}
    maps, masks, scores = [], [], []
    for sample in few:
        maps.append(anomaly_map(records[sample.id].segments, records[sample.id].scores))
        masks.append(sample.defect_mask.get_mask() > 0)
        scores.append(sample.segad_score)
    pixels, truth = np.stack(maps).ravel(), np.stack(masks).ravel()
    assert metrics["pixel_auroc"] == pytest.approx(roc_auc_score(truth, pixels), abs=1e-5)
    assert metrics["pixel_ap"] == pytest.approx(average_precision_score(truth, pixels), abs=1e-4)
    defective = [mask.any() for mask in masks]
    assert metrics["image_auroc"] == pytest.approx(roc_auc_score(defective, scores))
    assert metrics["image_ap"] == pytest.approx(average_precision_score(defective, scores))
    assert metrics["aupro_30"] == pytest.approx(direct_aupro(maps, masks, 0.3), abs=1e-3)
    assert metrics["aupro_05"] == pytest.approx(direct_aupro(maps, masks, 0.05), abs=1e-3)


def direct_aupro(maps: list[np.ndarray], masks: list[np.ndarray], limit: float) -> float:
    """Region by region: the share of each that is above the threshold of each false-positive rate."""
    normal = np.sort(np.concatenate([m[~mask] for m, mask in zip(maps, masks, strict=True)]))[::-1]
    rates = np.linspace(0, limit, 5001)
    thresholds = normal[np.minimum((rates * len(normal)).astype(int), len(normal) - 1)]
    overlaps = []
    for anomaly, mask in zip(maps, masks, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        for region in range(1, count + 1):
            inside = np.sort(anomaly[labels == region])
            overlaps.append(1 - np.searchsorted(inside, thresholds, side="right") / len(inside))
    return float(np.trapezoid(np.mean(overlaps, axis=0), rates) / limit)


def test_masks_and_maps_on_disk(scored: fo.DatasetView) -> None:
    run = segad.load_run(scored, "segad")
    flagged = scored.match(F("segad_pred.label") == "anomalous").sort_by("segad_score", reverse=True).limit(3)
    assert len(flagged) > 0
    for sample in flagged:
        assert Image.open(sample.segad_mask.mask_path).size == (1024, 1024)
        assert Image.open(sample.segad_map.map_path).size == (256, 256)
        assert np.asarray(Image.open(sample.segad_mask.mask_path)).any()
    zeros = list((Path(run.folder) / run.masks).glob("zero_*.png"))
    assert len(zeros) == 1, "images without a prediction share one mask"


def test_the_original_method_is_a_run_like_any_other(screws: fo.Dataset) -> None:
    test = some_of_each(screws.match(F("split") == "test"), "good", "thread_top")
    segad.compute_segment_anomalies(test, key="original", method="within_image")
    assert all(len(found.detections) == 49 for found in test.values("original_segments"))
    assert segad.evaluate_anomalies(test, key="original").metrics()["pixel_auroc"] is not None
