"""Mutual scores, against the same written out for one segment at a time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.scoring.mutual import FEWEST, SHARE, coarsen, mutual_scores
from fiftyone_segad.scoring.neighbors import NeighborIndex
from fiftyone_segad.segments.boxes import from_boxes, patch_grid


def naive(features: NDArray[np.floating], others: list[NDArray[np.floating]], images: int) -> list[float]:
    """Of each segment the mean distance to its nearest in the images that have the nearest ones."""
    scores = []
    for feature in features.astype(np.float64):
        distances = sorted(min(float(np.linalg.norm(feature - row)) for row in rows) for rows in others)
        scores.append(sum(distances[:images]) / images)
    return scores


def random_images(count: int, seed: int = 0, width: int = 5) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return [random.normal(size=(random.integers(1, 9), width)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize(
    ("count", "images"),
    [
        pytest.param(1, 1, id="only one other"),
        pytest.param(2, 2, id="fewer others than three"),
        pytest.param(3, 3, id="three others"),
        pytest.param(40, 3, id="3 % are less than three"),
        pytest.param(200, 6, id="3 %"),
    ],
)
def test_scores_equal_the_naive_ones(count: int, images: int) -> None:
    assert (SHARE, FEWEST) == (0.03, 3)  # what the numbers of images above follow from
    pool, features = random_images(count), np.random.default_rng(77).normal(size=(11, 5)).astype(np.float32)
    scores = mutual_scores(NeighborIndex(pool), features)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, naive(features, pool, images), atol=1e-5)


@pytest.mark.parametrize("excluded", [0, 4, 9])
def test_an_image_is_not_compared_with_itself(excluded: int) -> None:
    pool = random_images(10, seed=1)
    others = [rows for index, rows in enumerate(pool) if index != excluded]
    scores = mutual_scores(NeighborIndex(pool), pool[excluded], excluded)
    np.testing.assert_allclose(scores, naive(pool[excluded], others, 3), atol=1e-5)
    assert (mutual_scores(NeighborIndex(pool), pool[excluded]) < scores).all()  # in which it is its own nearest


def test_an_exact_copy_is_another_image() -> None:
    image = random_images(1)[0]
    assert mutual_scores(NeighborIndex([image, image.copy(), image.copy()]), image, excluded=1).max() < 1e-2


def test_the_order_of_the_pool_does_not_matter() -> None:
    pool, features = random_images(30, seed=2), random_images(1, seed=3)[0]
    np.testing.assert_allclose(
        mutual_scores(NeighborIndex(pool[::-1]), features), mutual_scores(NeighborIndex(pool), features), atol=1e-6
    )


def test_what_most_images_have_nothing_like_stands_out() -> None:
    random = np.random.default_rng(4)
    kinds = 10 * random.normal(size=(6, 8))
    pool = [(kinds + 0.1 * random.normal(size=kinds.shape)).astype(np.float32) for _ in range(20)]
    defect = 10 * random.normal(size=8)
    pool[7][2] = pool[8][5] = defect  # in two images alike: with three others there is still nothing like it
    scores = np.array([mutual_scores(NeighborIndex(pool), rows, index) for index, rows in enumerate(pool)])
    ranked = sorted(np.ndindex(scores.shape), key=lambda place: -scores[place])
    assert set(ranked[:2]) == {(7, 2), (8, 5)}
    assert scores[7, 2] > 5 * scores[ranked[2]]


def test_half_precision_of_the_pool() -> None:
    pool, features = random_images(6, seed=5), random_images(1, seed=6)[0]
    halves = [rows.astype(np.float16) for rows in pool]
    np.testing.assert_allclose(mutual_scores(NeighborIndex(halves), features), naive(features, halves, 3), atol=1e-5)


def test_error_without_another_image() -> None:
    with pytest.raises(ValueError, match="only one"):
        mutual_scores(NeighborIndex(random_images(1)), np.ones((2, 5), np.float32), excluded=0)


@pytest.mark.parametrize(
    ("rows", "columns", "step"),
    [
        pytest.param(64, 64, 2, id="4096 segments are 4 times as many"),
        pytest.param(41, 60, 2, id="41 rows do not divide by 2"),
        pytest.param(70, 70, 3, id="4900 segments, and 70 does not divide by 3"),
    ],
)
def test_many_segments_are_averaged_in_squares(rows: int, columns: int, step: int) -> None:
    features = np.random.default_rng(7).normal(size=(rows, columns, 3)).astype(np.float16)
    coarse, means = coarsen(patch_grid((640, 480), rows, columns), features.reshape(-1, 3))
    assert coarse.size == (640, 480) and coarse.shape == (-(-rows // step), -(-columns // step))
    assert len(coarse) == len(means) <= 1024 and means.dtype == np.float32
    for index, mean in enumerate(means):
        row, column = divmod(index, coarse.shape[1])
        # What a square at the border lacks is what it has last, repeated
        down = np.minimum(np.arange(row * step, (row + 1) * step), rows - 1)
        across = np.minimum(np.arange(column * step, (column + 1) * step), columns - 1)
        expected = features[np.ix_(down, across)].astype(float).mean(axis=(0, 1))
        np.testing.assert_allclose(mean, expected, atol=1e-6)


def test_few_segments_and_those_without_a_grid_stay() -> None:
    features = np.ones((1100, 2), np.float16)
    few, many = patch_grid((64, 64), 32, 32), from_boxes((2000, 10), [(i, 0, i + 1, 10) for i in range(1100)])
    for segments in (few, many):
        same, values = coarsen(segments, features[: len(segments)])
        assert same is segments and values.shape == (len(segments), 2) and values.dtype == np.float32
