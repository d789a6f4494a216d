"""Segments of a part that was laid straight: where they are in the image, and what is drawn of their scores."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.segments.boxes import Segments, grid, patch_grid
from fiftyone_segad.segments.maps import anomaly_map, onto_finest
from fiftyone_segad.segments.places import segments_in
from fiftyone_segad.segments.turned import TurnedSegments, lay_back

SIZE = (120, 90)
"""Width and height of the image."""

ANGLES = [0, 30, 90, 135, 200, 333]


def turn(angle: float, centre: tuple[float, float] = (60, 45), part: tuple[int, int] = (60, 24)) -> NDArray[np.float64]:
    """Return the way of a straight part back into the image, in which its middle lies at ``centre``."""
    radians = np.deg2rad(angle)
    axes = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    return np.hstack([axes, (np.array(centre) - axes @ (np.array(part) / 2))[:, None]])


def on_part(angle: float, rows: int = 4, columns: int = 10) -> TurnedSegments:
    return lay_back(SIZE, patch_grid((60, 24), rows, columns), turn(angle))


@pytest.mark.parametrize("angle", ANGLES)
def test_boxes_are_the_smallest_around_the_cells(angle: float) -> None:
    segments = on_part(angle)
    for (x0, y0, x1, y1), cell in zip(segments.boxes, segments.grid.boxes, strict=True):
        corners = np.array([[x, y, 1] for x in cell[[0, 2]] for y in cell[[1, 3]]]) @ segments.back.T
        low, high = corners.min(axis=0), corners.max(axis=0)
        np.testing.assert_allclose([x0, y0], low, atol=1)
        np.testing.assert_allclose([x1, y1], high, atol=1)
        assert (np.array([x0, y0]) <= low + 1e-5).all() and (np.array([x1, y1]) >= high - 1e-5).all()


def test_cells_beside_the_image_keep_a_pixel_at_its_border() -> None:
    segments = lay_back(SIZE, grid((60, 24), 2), turn(0, centre=(115, -30)))
    assert (segments.boxes[:, 2:] > segments.boxes[:, :2]).all()
    assert segments.boxes.min() >= 0 and (segments.boxes[:, 2:] <= SIZE).all()


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("scale", [1, 0.5])
def test_the_map_shows_a_segment_where_it_is(angle: float, scale: float) -> None:
    segments = on_part(angle)
    scores = np.zeros(len(segments), np.float32)
    scores[17] = 3
    size = (int(SIZE[0] * scale), int(SIZE[1] * scale))
    anomaly = anomaly_map(segments, scores, size)
    assert anomaly.shape == size[::-1] and anomaly.dtype == np.float32
    weights = np.where(anomaly > 1.5, anomaly, 0)
    y, x = np.indices(anomaly.shape) + 0.5
    x0, y0, x1, y1 = segments.grid.boxes[17]
    middle = segments.back @ [(x0 + x1) / 2, (y0 + y1) / 2, 1]
    found = np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum() / scale
    np.testing.assert_allclose(found, middle, atol=1)


def test_beside_the_part_the_map_is_lowest() -> None:
    scores = np.random.default_rng(0).uniform(1, 2, 40).astype(np.float32)
    anomaly = anomaly_map(on_part(30), scores)
    assert anomaly.min() == anomaly[0, 0] and anomaly.max() <= scores.max()
    assert anomaly[0, 0] >= scores.min()


def test_a_part_that_fills_its_image_has_the_map_of_its_grid() -> None:
    cells = patch_grid((60, 24), 4, 10)
    scores = np.random.default_rng(1).normal(size=40).astype(np.float32)
    turned = lay_back((60, 24), cells, np.eye(2, 3))
    np.testing.assert_allclose(anomaly_map(turned, scores), anomaly_map(cells, scores), atol=1e-5)
    np.testing.assert_array_equal(turned.boxes, cells.boxes)


def test_levels_meet_on_the_straight_part() -> None:
    random = np.random.default_rng(2)
    coarse_scores, fine_scores = random.normal(size=10), random.normal(size=40)
    coarse, fine = patch_grid((60, 24), 2, 5), patch_grid((60, 24), 4, 10)
    _, expected = onto_finest([(coarse, coarse_scores), (fine, fine_scores)])
    turned = [lay_back(SIZE, cells, turn(50)) for cells in (coarse, fine)]
    finest, values = onto_finest(list(zip(turned, (coarse_scores, fine_scores), strict=True)))
    assert finest is turned[1]
    np.testing.assert_array_equal(values, expected)


def test_they_are_boxes_in_no_grid_of_the_image() -> None:
    segments = on_part(30)
    assert segments.shape is None and segments.straight is segments.grid and segments.overlap
    assert grid(SIZE, 3).straight.shape == (3, 3)
    assert not lay_back(SIZE, grid((60, 24), 3), turn(30)).overlap, "cells side by side can be shown one by one"


def test_a_box_holds_the_segments_around_it() -> None:
    segments: Segments = on_part(90)  # columns of the straight part are rows of the image now
    x0, y0, x1, y1 = (segments.boxes[17] / [*SIZE, *SIZE]).tolist()
    middle = ((x0 + x1) / 2, (y0 + y1) / 2, 0.0, 0.0)
    assert 17 in segments_in(segments, [middle])
    assert len(segments_in(segments, [(0.0, 0.0, 1.0, 1.0)])) == len(segments)


def test_they_are_pickled_as_their_grid() -> None:
    segments = on_part(30, 20, 50)
    content = pickle.dumps(segments)
    assert len(content) < segments.boxes.nbytes / 5
    again = pickle.loads(content)
    np.testing.assert_array_equal(again.boxes, segments.boxes)
    np.testing.assert_array_equal(again.back, segments.back)
