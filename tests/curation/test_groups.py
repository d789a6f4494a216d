"""Groups of images that are alike, of features made for the test."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_segad.curation import groups
from fiftyone_segad.curation.groups import connected_groups, equal_pairs, near_pairs, nearest


def test_nearest_is_what_all_distances_say() -> None:
    rows = np.random.default_rng(1).normal(size=(50, 8))
    rows[7] = rows[3] * 5  # the same direction
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    products = unit @ unit.T
    np.fill_diagonal(products, -np.inf)
    similarities, neighbours = nearest(rows, 3)
    np.testing.assert_allclose(similarities, -np.sort(-products, axis=1)[:, :3], atol=1e-5)
    np.testing.assert_array_equal(neighbours, np.argsort(-products, axis=1)[:, :3])
    assert similarities[3, 0] == pytest.approx(1, abs=1e-6) and neighbours[3, 0] == 7


def test_many_images_are_searched_by_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers are those of the exhaustive search but for few."""
    rows = np.random.default_rng(1).normal(size=(400, 8))
    exact = nearest(rows, 2)[1]
    monkeypatch.setattr(groups, "EXACT_IMAGES", 100)
    assert (nearest(rows, 2)[1] == exact).mean() > 0.95


@pytest.mark.parametrize("count", [1, 2, 5])
def test_equal_images_do_not_find_themselves(count: int) -> None:
    neighbours = nearest(np.ones((count, 4)), 2)[1]
    assert neighbours.shape == (count, min(2, count - 1))
    assert not (neighbours == np.arange(count)[:, None]).any()


def test_near_pairs_at_the_threshold() -> None:
    angle = np.arccos(0.96)
    rows = np.array([[1, 0], [np.cos(angle * 0.99), np.sin(angle * 0.99)], [-1, 0]])
    assert {frozenset(pair) for pair in near_pairs(rows).tolist()} == {frozenset((0, 1))}
    rows[1] = [np.cos(angle * 1.01), np.sin(angle * 1.01)]
    assert len(near_pairs(rows)) == 0


def test_groups_are_in_order() -> None:
    pairs = np.array([[5, 1], [4, 0], [1, 3]])
    assert connected_groups(7, pairs) == [[0, 4], [1, 3, 5]]
    assert connected_groups(3, np.zeros((0, 2), np.int64)) == []
    assert equal_pairs(["a", "b", "a", "c", "b", "a"]).tolist() == [[0, 2], [1, 4], [0, 5]]
