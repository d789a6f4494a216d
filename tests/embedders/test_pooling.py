"""Feature maps averaged over boxes, against the same patch by patch."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.embedders.pooling import pool_boxes
from fiftyone_segad.segments.boxes import Segments, from_boxes, grid, tiles


def noise(rows: int, columns: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, columns, width)).astype(np.float32)


def naive_mean(features: NDArray[np.float32], box: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Mean over the patches whose centres lie within a box, one axis being as good as both."""
    rows, columns, _ = features.shape
    x0, y0, x1, y1 = box
    within = [
        features[row, column]
        for row in range(rows)
        for column in range(columns)
        if x0 <= (column + 0.5) * size[0] / columns < x1 and y0 <= (row + 0.5) * size[1] / rows < y1
    ]
    assert within, "the box holds no centre"
    return np.mean(within, axis=0, dtype=np.float64)


@pytest.mark.parametrize(
    "segments",
    [
        pytest.param(tiles((200, 137)), id="tiles"),
        pytest.param(grid((200, 137), 5), id="grid"),
        pytest.param(from_boxes((200, 137), [[0, 0, 200, 137], [13, 40, 140, 60], [180, 120, 200, 137]]), id="boxes"),
        # Centres of the patches lie on the borders of the boxes: they belong to the box that begins there
        pytest.param(from_boxes((80, 48), [[5, 3, 15, 9], [15, 9, 25, 15], [5, 3, 75, 45]]), id="borders on centres"),
    ],
)
def test_pooled_features_equal_the_naive_ones(segments: Segments) -> None:
    maps = [noise(16, 16, 6), noise(8, 24, 3, seed=1)] if segments.size == (200, 137) else [noise(8, 8, 6)]
    pooled = pool_boxes(maps, segments)
    assert pooled.dtype == np.float32 and pooled.shape == (len(segments), sum(features.shape[2] for features in maps))
    for features, box in zip(pooled, segments.boxes, strict=True):
        levels = [naive_mean(features, box, segments.size) for features in maps]
        expected = np.concatenate([level / np.linalg.norm(level) for level in levels])
        np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("box", "patch"),
    [
        pytest.param((0, 0, 2, 2), (0, 0), id="first corner"),
        pytest.param((98, 58, 100, 60), (3, 4), id="last corner"),
        pytest.param((99, 59, 100, 60), (3, 4), id="last pixel"),
        pytest.param((11, 0, 19, 7), (0, 0), id="between two centres, nearer to the first"),
        pytest.param((13, 20, 29, 22), (1, 1), id="between two centres, nearer to the second"),
        pytest.param((45, 31, 48, 33), (2, 2), id="within a patch"),
    ],
)
def test_a_box_without_a_centre_takes_the_nearest_patch(box: tuple[int, int, int, int], patch: tuple[int, int]) -> None:
    features = noise(4, 5, 7)  # patches of 20 x 15 px, centres at 10, 30, ... and 7.5, 22.5, ...
    expected = features[patch] / np.linalg.norm(features[patch])
    np.testing.assert_allclose(pool_boxes([features], from_boxes((100, 60), [box]))[0], expected, atol=1e-6)


def test_a_box_that_is_thin_along_one_axis_only() -> None:
    features = noise(4, 5, 7)
    pooled = pool_boxes([features], from_boxes((100, 60), [[0, 31, 100, 33]]))[0]
    expected = features[2].mean(axis=0)
    np.testing.assert_allclose(pooled, expected / np.linalg.norm(expected), atol=1e-6)


def test_images_smaller_than_the_map() -> None:
    features = noise(32, 32, 3)
    pooled = pool_boxes([features], grid((8, 8), 8))
    means = features.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3)).reshape(64, 3)
    np.testing.assert_allclose(pooled, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-5)


def test_no_boxes() -> None:
    assert pool_boxes([noise(4, 4, 3), noise(2, 2, 5)], from_boxes((10, 10), [])).shape == (0, 8)
