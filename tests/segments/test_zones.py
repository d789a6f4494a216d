"""Zones of an image as arrays: numbers of pixels, and scales of scores."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.segments.boxes import grid, patch_grid
from fiftyone_segad.segments.turned import lay_back
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


def turned(angle: float, centre: tuple[float, float], straight: tuple[int, int]) -> NDArray[np.float64]:
    """Return the way back of a straight part of some size, its middle at ``centre``."""
    radians = np.deg2rad(angle)
    axes = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    return np.hstack([axes, (np.array(centre) - axes @ (np.array(straight) / 2))[:, None]])


@pytest.mark.parametrize("angle", [0, 40, 90, 200])
def test_zones_move_with_the_part(angle: float) -> None:
    """A zone on the left end of a part, drawn where it lies across, is on that end wherever it lies."""
    drawn_on = lay_back((100, 90), patch_grid((60, 20), 2, 4), turned(0, (45, 30), (60, 20)))
    labels = np.full((90, 100), 2, np.uint8)
    labels[20:40, 15:30] = 1
    zones = ZoneMap(labels, ("end", "rest"), part=drawn_on.part)
    # The other part is half as large again
    segments = lay_back((120, 110), patch_grid((90, 30), 2, 4), turned(angle, (60, 55), (90, 30)))
    moved = zones.on(segments)
    assert moved.labels.shape == (110, 120) and moved.names == zones.names and moved.drawn is zones
    y, x = (moved.labels == 1).nonzero()
    middle = segments.back @ [90 / 8, 15, 1]  # of the first quarter of the straight part
    np.testing.assert_allclose([x.mean() + 0.5, y.mean() + 0.5], middle, atol=0.6)
    assert abs((moved.labels == 1).sum() - 90 / 4 * 30) < 40
    assert set(np.unique(moved.labels)) == {1, 2}, "beside it is what was beside the part"


def test_zones_stay_in_place_where_nothing_tells_how_the_part_lies() -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[:, 3:] = 1
    for zones in (ZoneMap(labels, ("rim",)), ZoneMap(labels, ("rim",), part=np.eye(2, 3))):
        on_image = zones.on(grid((8, 8), 2))
        assert on_image.labels.tolist() == labels.tolist() and on_image.drawn is None
    segments = lay_back((8, 8), patch_grid((4, 4), 2, 2), np.eye(2, 3))
    assert ZoneMap(labels, ("rim",)).on(segments).labels.tolist() == labels.tolist()
