"""Zones of an image as arrays: numbers of pixels, and scales of scores."""

from __future__ import annotations

import numpy as np

from fiftyone_segad.segments.boxes import grid
from fiftyone_segad.segments.zones import RecordZones, ZoneMap, ZoneScale, fit_scales


def test_segments_count_where_their_centres_lie() -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[:, 3:] = 2
    assert ZoneMap(labels, ("rim", "face")).of_segments(grid((8, 8), 2)).tolist() == [0, 2, 0, 2]


def test_labels_at_another_size() -> None:
    labels = np.repeat(np.repeat(np.array([[0, 1], [2, 1]], np.uint8), 50, axis=0), 50, axis=1)
    assert ZoneMap(labels, ("a", "b")).at((4, 4)).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 1, 1], [2, 2, 1, 1]]


def test_scales_bring_zones_together() -> None:
    random = np.random.default_rng(0)
    scores = {"calm": random.gamma(2, 1, 200), "rough": 10 + 5 * random.gamma(2, 1, 200)}
    scales = fit_scales(scores)
    medians, highest = (
        [np.quantile([scales[name](score) for score in scores[name]], share) for name in scores] for share in (0.5, 0.9)
    )
    assert np.isclose(*medians) and np.isclose(*highest)
    assert np.isclose(scales["rough"].undo(scales["rough"](17.0)), 17.0)


def test_scales_of_one_zone_and_of_scores_that_do_not_vary() -> None:
    assert fit_scales({"": np.array([1.0, 3.0])}) == {"": ZoneScale()}
    assert set(fit_scales({"a": np.array([1.0]), "b": np.array([3.0])}).values()) == {ZoneScale()}
    steady = fit_scales({"a": np.array([1.0, 1.0, 1.0]), "b": np.array([0.0, 1.0, 2.0])})
    assert all(np.isfinite([scale.factor, scale.offset]).all() and scale.factor > 0 for scale in steady.values())


def test_a_map_is_scaled_by_its_zones() -> None:
    zones = ZoneMap(np.array([[0, 1, 2]], np.uint8), ("a", "b"))
    scales = {"a": ZoneScale(2.0, 1.0), "b": ZoneScale(1.0, -0.5)}
    adjusted = RecordZones(zones, scales, {"a": 5.0, "b": 1.5}, np.zeros(3, np.float32), np.array([0, 1, 2], np.uint8))
    assert adjusted.adjust(np.array([[9, 2, 2]], np.float32)).tolist() == [[1.5, 5.0, 1.5]]
    assert adjusted.decisive == "a"
