"""The predictions that a run writes: label, p-value and confidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad

pytestmark = pytest.mark.usefixtures("colour_embedder")


def test_confidence_is_that_of_the_label(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> None:
    dataset = dataset_of(pictures)
    run = segad.compute_segment_anomalies(
        dataset, reference=dataset.limit(4), segments="tiles:0.4:0.2", threshold="quantile:0.5"
    )
    normals = [record.image_score for record in run.store.normals]
    labels = []
    for sample in dataset:
        prediction = sample.segad_pred
        # Of the normal images, and this one as if it were normal too, the share that score as high
        p = (1 + sum(score >= sample.segad_score for score in normals)) / (len(normals) + 1)
        anomalous = sample.segad_score > run.thresholds.image
        assert prediction.label == ("anomalous" if anomalous else "normal")
        assert prediction.p_value == pytest.approx(p)
        assert prediction.confidence == pytest.approx(1 - p if anomalous else p)
        assert p != 0.5, "else the two are the same"
        labels.append(prediction.label)
    assert set(labels) == {"normal", "anomalous"}
