"""The range of scores that heatmaps show, from normal images whose pixels can be counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fiftyone_segad.engine.calibration import calibrate
from fiftyone_segad.scoring.thresholds import parse_threshold
from fiftyone_segad.segments.boxes import grid
from fiftyone_segad.segments.maps import anomaly_map
from fiftyone_segad.storage.records import ImageScores
from fiftyone_segad.storage.store import RunStore

GRID = grid((64, 64), 8)
"""64 segments of equal area, whose maps are blocks of one score each."""


def image(id: str, seed: int, offset: float = 0.0) -> ImageScores:
    scores = (np.random.default_rng(seed).permutation(64) / 64 + offset + seed / 1e4).astype(np.float32)
    return ImageScores(id, GRID, scores, np.zeros(64, bool), float(scores.max()))


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Ten normal images, and the ten that were scored: higher by 0.5."""
    made = RunStore.create(tmp_path / "run", {})
    for index in range(10):
        made.normals.add(image(f"normal{index}", index))
        made.scores.add(image(f"{index}", 50 + index, offset=0.5))
    made.normals.flush()
    made.scores.flush()
    return made


def clear_share(records: list[ImageScores], low: float) -> float:
    """Share of the pixels that a heatmap shows as 0."""
    return float(np.mean([anomaly_map(record.segments, record.scores) <= low for record in records]))


def test_heatmaps_leave_nine_tenths_of_the_normal_pixels_clear(store: RunStore) -> None:
    low, high = calibrate(store, "reference", parse_threshold("quantile:0.5"), store.scores.ids(), None).map_range
    assert clear_share(list(store.normals), low) == pytest.approx(0.9, abs=1 / 640)
    assert low < min(record.image_score for record in store.scores) < high, "what is anomalous is seen"


def test_heatmaps_leave_nine_tenths_of_all_pixels_clear_where_no_normals_are_known(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run", {})
    for index in range(10):
        store.scores.add(image(f"{index}", index))
    store.scores.flush()
    low, _ = calibrate(store, "unlabeled", parse_threshold("quantile:0.5"), store.scores.ids(), None).map_range
    assert clear_share(list(store.scores), low) == pytest.approx(0.9, abs=1 / 640)
