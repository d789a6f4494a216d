"""Distances to the second-nearest part of a bank, against a direct search."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.scoring import neighbors
from fiftyone_segad.scoring.neighbors import EXACT_ROWS, NeighborIndex

IMAGES = 40


def direct(
    images: list[NDArray[np.float32]], parts: NDArray[np.int64], query: NDArray[np.float32], excluded: list[int]
) -> float:
    """Return the second of the parts' distances, in double precision."""
    by_part: dict[int, float] = {}
    for number, rows in enumerate(images):
        if number not in excluded and len(rows):
            distance = float(np.linalg.norm(rows.astype(np.float64) - query, axis=1).min())
            by_part[int(parts[number])] = min(distance, by_part.get(int(parts[number]), np.inf))
    return sorted(by_part.values())[1]


def rows_of(count: int, seed: int, width: int = 6) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


@pytest.mark.parametrize("excluded", [[], [2], [0, 5, 6]])
def test_small_banks_are_searched_completely(excluded: list[int]) -> None:
    images = [rows_of(count, seed) for seed, count in enumerate((9, 1, 0, 30, 30, 4, 7))]
    parts = np.array([0, 1, 2, 3, 3, 5, 0])
    distances = NeighborIndex(images).second_distances(queries := rows_of(50, 99), parts, excluded)
    assert distances.dtype == np.float32
    expected = [direct(images, parts, query, excluded) for query in queries]
    np.testing.assert_allclose(distances, expected, atol=1e-5)


def test_pictures_of_one_part_count_as_one() -> None:
    index = NeighborIndex([np.array([[position]]) for position in (0.0, 1.0, 5.0)])
    query = np.array([[0.0]])
    assert index.second_distances(query, np.array([0, 1, 2])).tolist() == [1.0]
    assert index.second_distances(query, np.array([0, 0, 2])).tolist() == [5.0]
    assert index.second_distances(query, np.array([0, 1, 2]), excluded=[0]).tolist() == [5.0]


def test_a_part_of_many_near_rows_hides_no_other() -> None:
    """More rows of the nearest part than are looked at lie nearer than any of another part."""
    near = np.linspace(0, 0.1, 3 * neighbors._ROWS_OF_TWO_PARTS)[:, None]
    index = NeighborIndex([near, near + 0.2, np.array([[4.0]]), np.array([[9.0]])])
    parts = np.array([0, 0, 1, 2])
    assert index.second_distances(np.array([[0.0], [9.0]]), parts).tolist() == [4.0, 5.0]
    assert index.second_distances(np.array([[0.0]]), parts, excluded=[2]).tolist() == [9.0]


@pytest.mark.parametrize(("parts", "excluded"), [([0, 0, 0, 1], []), ([0, 0, 2, 1], [2])])
def test_of_one_part_the_nearest_row_counts(parts: list[int], excluded: list[int]) -> None:
    """The last image has no rows, as a coreset may leave it."""
    index = NeighborIndex([np.array([[0.0]]), np.array([[1.0]]), np.array([[5.0]]), np.zeros((0, 1))])
    assert index.second_distances(np.array([[0.5], [3.0]]), np.array(parts), excluded).tolist() == [0.5, 2.0]


def test_without_any_part_there_is_no_distance() -> None:
    with pytest.raises(ValueError, match="no rows of others"):
        NeighborIndex([np.array([[0.0]])]).second_distances(np.array([[0.0]]), np.array([0]), excluded=[0])


@pytest.fixture(scope="module")
def large() -> tuple[NeighborIndex, list[NDArray[np.float32]]]:
    """Make a bank that is searched by an inverted file: rows of 200 kinds, which all images have."""
    random = np.random.default_rng(1)
    kinds = 10 * random.normal(size=(200, 8))
    images = [
        (kinds[random.integers(200, size=600)] + random.normal(size=(600, 8))).astype(np.float32) for _ in range(IMAGES)
    ]
    assert sum(map(len, images)) > EXACT_ROWS
    return NeighborIndex(images), images


def test_large_banks_miss_little(large: tuple[NeighborIndex, list[NDArray[np.float32]]]) -> None:
    index, images = large
    parts, excluded = np.arange(IMAGES) // 2, [6, 7]
    queries = images[6][:100]
    distances = index.second_distances(queries, parts, excluded)
    expected = np.array([direct(images, parts, query, excluded) for query in queries])
    assert (distances >= expected - 1e-4).all()
    assert np.mean(distances <= expected + 1e-4) > 0.9
    assert (distances >= index.distances(queries, excluded) - 1e-4).all()


def test_large_banks_look_on_where_the_lists_hold_one_part(
    large: tuple[NeighborIndex, list[NDArray[np.float32]]],
) -> None:
    """A kind that one image alone has fills the lists next to it; the second part is far."""
    _, images = large
    alone = (1000 + np.random.default_rng(2).normal(size=(600, 8))).astype(np.float32)
    index = NeighborIndex([*images, alone])
    parts = np.arange(IMAGES + 1)
    distances = index.second_distances(alone[:20], parts)
    others = np.concatenate(images).astype(np.float64)
    expected = [np.linalg.norm(others - query, axis=1).min() for query in alone[:20]]
    assert np.all(distances >= np.array(expected) - 1e-2)
    assert np.all(distances < 1.05 * np.array(expected))
