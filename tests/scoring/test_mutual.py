"""Mutual scores, against the same written out for one segment at a time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.scoring.mutual import FEWEST, SHARE, mutual_scores
from fiftyone_segad.scoring.neighbors import NeighborIndex


def naive(features: NDArray[np.floating], others: list[NDArray[np.floating]], images: int) -> list[float]:
    """Of each segment the mean distance to its nearest in the images that have the nearest ones."""
    scores = []
    for feature in features.astype(np.float64):
        distances = sorted(min(float(np.linalg.norm(feature - row)) for row in rows) for rows in others)
        scores.append(sum(distances[:images]) / images)
    return scores


def several(count: int, seed: int = 0, width: int = 5) -> list[NDArray[np.float32]]:
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
    pool, features = several(count), np.random.default_rng(77).normal(size=(11, 5)).astype(np.float32)
    found = mutual_scores(NeighborIndex(pool), features)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive(features, pool, images), atol=1e-5)


@pytest.mark.parametrize("excluded", [0, 4, 9])
def test_an_image_is_not_compared_with_itself(excluded: int) -> None:
    pool = several(10, seed=1)
    others = [rows for index, rows in enumerate(pool) if index != excluded]
    found = mutual_scores(NeighborIndex(pool), pool[excluded], excluded)
    np.testing.assert_allclose(found, naive(pool[excluded], others, 3), atol=1e-5)
    assert (mutual_scores(NeighborIndex(pool), pool[excluded]) < found).all()  # in which it is its own nearest


def test_an_exact_copy_is_another_image() -> None:
    image = several(1)[0]
    assert mutual_scores(NeighborIndex([image, image.copy(), image.copy()]), image, excluded=1).max() < 1e-2


def test_the_order_of_the_pool_does_not_matter() -> None:
    pool, features = several(30, seed=2), several(1, seed=3)[0]
    np.testing.assert_allclose(
        mutual_scores(NeighborIndex(pool[::-1]), features), mutual_scores(NeighborIndex(pool), features), atol=1e-6
    )


def test_what_most_images_have_no_counterpart_of_stands_out() -> None:
    random = np.random.default_rng(4)
    kinds = 10 * random.normal(size=(6, 8))
    pool = [(kinds + 0.1 * random.normal(size=kinds.shape)).astype(np.float32) for _ in range(20)]
    defect = 10 * random.normal(size=8)
    pool[7][2] = pool[8][5] = defect  # in two images alike: with three others it still has no counterpart
    scores = np.array([mutual_scores(NeighborIndex(pool), rows, index) for index, rows in enumerate(pool)])
    ranked = sorted(np.ndindex(scores.shape), key=lambda place: -scores[place])
    assert set(ranked[:2]) == {(7, 2), (8, 5)}
    assert scores[7, 2] > 5 * scores[ranked[2]]


def test_half_precision_of_the_pool() -> None:
    pool, features = several(6, seed=5), several(1, seed=6)[0]
    halves = [rows.astype(np.float16) for rows in pool]
    np.testing.assert_allclose(mutual_scores(NeighborIndex(halves), features), naive(features, halves, 3), atol=1e-5)


def test_error_without_another_image() -> None:
    with pytest.raises(ValueError, match="only one"):
        mutual_scores(NeighborIndex(several(1)), np.ones((2, 5), np.float32), excluded=0)
