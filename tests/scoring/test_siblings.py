"""Siblings: images of one part find each other, those of different parts do not, and alike images do not either."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.scoring.neighbors import NeighborIndex
from fiftyone_segad.scoring.siblings import FEWEST, SIBLING_VOTES, groups_of, sibling_groups, sibling_votes


def pictures(parts: list[int], seed: int = 0, noise: float = 0.1) -> list[NDArray[np.float64]]:
    """Make the rows of images of parts: each part has patches of its own, each picture of it some noise."""
    random = np.random.default_rng(seed)
    own = {part: random.normal(size=(60, 8)) for part in sorted(set(parts))}
    return [own[part] + noise * random.normal(size=(60, 8)) for part in parts]


def find(images: list[NDArray[np.float64]]) -> list[list[int]]:
    index = NeighborIndex(images)
    return sibling_groups(((i, sibling_votes(index, rows, i)) for i, rows in enumerate(images)), len(images))


def test_pictures_of_one_part_are_found() -> None:
    parts = [0, 1, 2, 3, 4, 5, 6, 7, 1, 4, 1, *range(8, 20)]
    assert find(pictures(parts)) == [[1, 8, 10], [4, 9]]


def test_different_parts_stand_alone() -> None:
    for count in (16, 40, 120):
        assert find(pictures(list(range(count)))) == []


def test_images_that_are_all_alike_stand_alone() -> None:
    """Where parts hardly differ, as with a plain material, no image is nearer than others."""
    assert find(pictures([0] * 30)) == []


def test_few_images_cannot_tell() -> None:
    images = pictures([0, 0, *range(1, FEWEST - 1)])
    assert find(images) == [[0, 1]]
    assert find(images[:-1]) == []
    assert sibling_votes(NeighborIndex(images[:1]), images[0], 0).tolist() == [0]


def test_images_of_which_a_coreset_has_no_rows_do_not_count() -> None:
    images = pictures(list(range(30)))
    few = [rows[:1] if image < 3 else rows[:0] for image, rows in enumerate(images)]
    assert sibling_votes(NeighborIndex(few), images[0], 0).tolist() == [0] * 30


def test_groups_are_joined_through_others() -> None:
    votes = np.zeros((5, 5))
    votes[0, 3] = votes[3, 4] = SIBLING_VOTES
    votes[1, 2] = SIBLING_VOTES - 1e-9
    assert sibling_groups(enumerate(votes), 5) == [[0, 3, 4]]
    assert sibling_groups([], 5) == []


@pytest.mark.parametrize(
    ("labels", "groups"),
    [([], []), ([None, None], []), (["a", "b"], []), (["a", "b", "a", None, "b", "c"], [[0, 2], [1, 4]])],
)
def test_groups_of_labels(labels: list[str | None], groups: list[list[int]]) -> None:
    assert groups_of(labels) == groups
