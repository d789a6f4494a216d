"""The main job on real images: MVTec's screws from folder to figures, and the original method beside it."""

from __future__ import annotations

from collections.abc import Iterator

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

import fiftyone_segad as segad
from conftest import needs_fastdup, shared

pytestmark = needs_fastdup


@pytest.fixture(scope="module")
def screws() -> Iterator[fo.Dataset]:
    dataset = segad.load_mvtec(shared("screw"))
    assert dataset.info["problems"] == []
    yield dataset
    dataset.delete()


def test_reference_finds_defects_of_screws(screws: fo.Dataset) -> None:
    test = screws.match(F("split") == "test")
    run = segad.compute_segment_anomalies(test, reference=screws.match(F("split") == "train"))
    assert (run.scored, run.normals, run.skipped) == (79, 100, [])
    metrics = segad.evaluate_anomalies(test).metrics()
    assert (metrics["n_normal"], metrics["n_anomalous"]) == (21, 58)
    assert metrics["image_auroc"] >= 0.78
    assert metrics["pixel_auroc"] >= 0.978
    assert metrics["aupro_30"] >= 0.91
    segad.delete_run(screws, "segad")


def test_the_original_method_is_a_run_like_any_other(screws: fo.Dataset) -> None:
    test = screws.match(F("split") == "test").match(F("defect.label").is_in(["good", "thread_top"])).limit(12)
    segad.compute_segment_anomalies(test, key="original", method="within_image")
    assert all(len(found.detections) == 49 for found in test.values("original_segments"))
    metrics = segad.evaluate_anomalies(test, key="original").metrics()
    assert metrics["pixel_auroc"] is not None
    segad.delete_run(screws, "original")
