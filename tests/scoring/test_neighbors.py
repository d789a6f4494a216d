"""The bank: distances to the nearest row, with or without the image itself, against a direct search."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.scoring import neighbors as bank_module
from fiftyone_segad.scoring.neighbors import EXACT_ROWS, NeighborIndex

X, Y = [1.0, 0.0], [0.0, 1.0]


def nearest(queries: NDArray[np.floating], rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distances of all pairs in double precision, without the expansion of the square that loses digits."""
    return np.array([np.linalg.norm(rows.astype(np.float64) - query, axis=1).min() for query in queries])


def clustered(images: int, rows: int, seed: int, width: int = 8) -> list[NDArray[np.float32]]:
    """Features as those of photographs are: each image has rows of the same 500 kinds, which overlap."""
    random = np.random.default_rng(seed)
    kinds = 10 * np.random.default_rng(99).normal(size=(500, width))
    rows_by_image = [
        kinds[random.integers(500, size=rows)] + 6 * random.normal(size=(rows, width)) for _ in range(images)
    ]
    return [image_rows.astype(np.float32) for image_rows in rows_by_image]


@pytest.fixture(scope="module")
def large() -> tuple[NeighborIndex, list[NDArray[np.float32]]]:
    images = clustered(40, 1000, seed=1)
    assert sum(map(len, images)) > EXACT_ROWS
    return NeighborIndex(images), images


@pytest.mark.parametrize(
    ("query", "distance"),
    [
        pytest.param(X, 0, id="the same"),
        pytest.param([4, 0], 3, id="the same direction"),
        pytest.param(Y, math.sqrt(2), id="at a right angle"),
        pytest.param([-3, -3], 5, id="a triangle of 3, 4 and 5"),
    ],
)
def test_distance_is_euclidean(query: list[float], distance: float) -> None:
    assert NeighborIndex([np.array([X])]).distances(np.array([query]))[0] == pytest.approx(distance, abs=1e-6)


def test_nearest_of_several_images() -> None:
    random = np.random.default_rng(3)
    images = [random.normal(size=(n, 6)) for n in (7, 1, 0, 40)]
    bank, queries = NeighborIndex(images), random.normal(size=(50, 6))
    distances = bank.distances(queries)
    assert (bank.images, bank.size, distances.dtype) == (4, 48, np.float32)
    np.testing.assert_allclose(distances, nearest(queries, np.concatenate(images)), atol=1e-5)


def test_images_may_come_from_an_iterator() -> None:
    images = [np.array([X]), np.array([Y, X])]
    assert NeighborIndex(iter(images)).offsets.tolist() == [0, 1, 3]


def test_an_image_is_not_compared_with_itself() -> None:
    random = np.random.default_rng(5)
    images = [random.normal(size=(n, 8)) for n in (3, 1, 6, 4)]
    bank = NeighborIndex(images)
    for image, rows in enumerate(images):
        others = np.concatenate([other for index, other in enumerate(images) if index != image])
        np.testing.assert_allclose(bank.distances(rows, excluded=[image]), nearest(rows, others), atol=1e-5)
        assert bank.distances(rows).max() < 1e-3  # with itself there is no distance


def test_several_images_are_left_out() -> None:
    bank = NeighborIndex([np.array([[position]]) for position in (0.0, 1.0, 2.0, 4.0)])
    queries = np.array([[0.0], [4.0]])
    assert bank.distances(queries, excluded=[3, 0]).tolist() == [1, 2]
    assert bank.distances(queries, excluded=[0, 1, 2]).tolist() == [4, 0]
    with pytest.raises(ValueError, match="others"):
        bank.distances(queries, excluded=[0, 1, 2, 3])


def test_an_exact_copy_is_another_image() -> None:
    bank = NeighborIndex([np.array([X, Y]), np.array([X])])
    np.testing.assert_allclose(bank.distances(np.array([X, Y]), excluded=[0]), [0, math.sqrt(2)], atol=1e-6)


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_an_image_without_rows(empty: int) -> None:
    images = [np.array([X]), np.array([Y])]
    images.insert(empty, np.zeros((0, 2)))
    bank = NeighborIndex(images)
    assert bank.images == 3
    # Leaving out the image that has no rows leaves out none
    np.testing.assert_allclose(bank.distances(np.array([X, Y]), excluded=[empty]), [0, 0], atol=1e-6)
    first = 1 if empty == 0 else 0
    np.testing.assert_allclose(bank.distances(np.array([X, Y]), excluded=[first]), [math.sqrt(2), 0], atol=1e-6)


def test_no_queries() -> None:
    assert NeighborIndex([np.array([X])]).distances(np.zeros((0, 2))).shape == (0,)


def test_the_given_arrays_are_not_changed() -> None:
    rows, queries = np.array([X, Y]), np.array([[2.0, 2.0]])
    NeighborIndex([rows]).distances(queries)
    assert rows.tolist() == [X, Y] and queries.tolist() == [[2, 2]]


def test_errors() -> None:
    for nothing in ([], [np.zeros((0, 3))]):
        with pytest.raises(ValueError, match="at least one row"):
            NeighborIndex(nothing)
    with pytest.raises(ValueError, match="others"):
        NeighborIndex([np.array([X, Y])]).distances(np.array([X]), excluded=[0])
    with pytest.raises(ValueError, match="others"):  # the other image holds nothing
        NeighborIndex([np.array([X, Y]), np.zeros((0, 2))]).distances(np.array([X]), excluded=[0])


@pytest.mark.parametrize("excluded", [[], [17], [3, 17, 18, 34]])
def test_a_large_bank_finds_most_of_the_nearest(
    large: tuple[NeighborIndex, list[NDArray[np.float32]]], excluded: list[int]
) -> None:
    bank, images = large
    queries = images[excluded[0]][:300] if excluded else clustered(1, 300, seed=2)[0]
    others = np.concatenate([rows for index, rows in enumerate(images) if index not in excluded])
    expected, distances = nearest(queries, others), bank.distances(queries, excluded)
    assert (distances > expected - 1e-3).all()  # what is not found makes distances larger, never smaller
    assert np.isclose(distances, expected, atol=1e-3).mean() > 0.85
    assert distances.mean() < 1.02 * expected.mean()
    assert distances.min() > 0.01  # none is the query itself


def test_no_result_is_lost_where_all_visited_lists_are_of_the_image_itself() -> None:
    images = clustered(35, 1000, seed=3)
    # Far from all others and with rows enough to fill whole lists of its own
    images.append((np.random.default_rng(4).normal(size=(4000, 8)) + 1000).astype(np.float32))
    bank = NeighborIndex(images)
    queries = images[-1][:50]
    distances = bank.distances(queries, excluded=[35])
    np.testing.assert_allclose(distances, nearest(queries, np.concatenate(images[:-1])), rtol=1e-3)
    # The case is the one of the name: with the visited lists alone there would be no result
    others = bank._faiss.IDSelectorNot(bank._faiss.IDSelectorRange(35000, 39000))
    parameters = bank._faiss.SearchParametersIVF(nprobe=bank_module.PROBES, sel=others)
    assert (bank._index.search(queries, 1, params=parameters)[1] < 0).all()


def test_a_large_bank_is_the_same_by_its_seed(large: tuple[NeighborIndex, list[NDArray[np.float32]]]) -> None:
    bank, images = large
    # Between the clusters, where it matters most which lists are visited
    queries = 5 * np.random.default_rng(6).normal(size=(2000, 8))
    first = bank.distances(queries)
    np.testing.assert_array_equal(NeighborIndex(images).distances(queries), first)
    assert (NeighborIndex(images, seed=1).distances(queries) != first).any()


def nearest_images(
    queries: NDArray[np.floating], images: list[NDArray[np.float32]], count: int
) -> NDArray[np.floating]:
    """Distances to the nearest row of each of the nearest images."""
    return np.sort([nearest(queries, rows) for rows in images], axis=0)[:count].T


@pytest.mark.parametrize("excluded", [[], [0], [3], [1, 4]])
def test_distances_to_the_nearest_images(excluded: list[int]) -> None:
    random = np.random.default_rng(6)
    images = [random.normal(size=(n, 6)).astype(np.float32) for n in (3, 9, 1, 5, 4)]
    queries = random.normal(size=(20, 6))
    others = [rows for i, rows in enumerate(images) if i not in excluded]
    distances, numbers = NeighborIndex(images).nearest_images(queries, 3, excluded)
    assert distances.dtype == np.float32
    np.testing.assert_allclose(distances, nearest_images(queries, others, 3), atol=1e-5)
    assert not np.isin(numbers, excluded).any()
    for column in range(3):  # each distance is to the image that is named
        own = [nearest(queries[i : i + 1], images[numbers[i, column]])[0] for i in range(len(queries))]
        np.testing.assert_allclose(distances[:, column], own, atol=1e-5)


def test_nearest_images_of_a_large_bank(large: tuple[NeighborIndex, list[NDArray[np.float32]]]) -> None:
    bank, images = large
    queries, others = images[7][:60], images[:7] + images[8:]
    exact = nearest_images(queries, others, 5)
    distances, numbers = bank.nearest_images(queries, 5, excluded=[7])
    assert set(np.unique(numbers)) <= {-1, *range(bank.images)} - {7}
    named = np.array([nearest(queries[i : i + 1], images[numbers[i, 0]])[0] for i in range(len(queries))])
    np.testing.assert_allclose(distances[:, 0], named, rtol=1e-3)
    assert (distances[:, 0] >= exact[:, 0] - 1e-3).all()  # none of its own rows is among them
    assert np.abs(distances / exact - 1).mean() < 0.05


def test_nearest_images_are_exact_where_every_row_is_looked_at(
    large: tuple[NeighborIndex, list[NDArray[np.float32]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, images = large
    monkeypatch.setattr(bank_module, "IMAGE_PROBES", bank.size)
    monkeypatch.setattr(bank_module, "_ROWS_PER_IMAGE", bank.size // 2)
    queries = clustered(1, 10, seed=3)[0]
    np.testing.assert_allclose(bank.image_distances(queries, 2), nearest_images(queries, images, 2), rtol=1e-4)


def test_error_with_too_few_images() -> None:
    with pytest.raises(ValueError, match="3 images were asked for, the bank has 3"):
        NeighborIndex([np.eye(2)] * 3).image_distances(np.eye(2), 3, excluded=[0])
