"""Families of vectors: how many there are is found, and later ones are assigned to those that they fit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.scoring.families import SINGLE, group_regions, make_prototypes, member_fits, split_regions


def kinds(counts: list[int], seed: int = 0) -> tuple[NDArray[np.float32], list[int]]:
    """Vectors of length 1 around as many directions at right angles, and the number of the direction of each."""
    width, noise = 40, 0.4
    random = np.random.default_rng(seed)
    rows = np.repeat(np.eye(width)[: len(counts)], counts, axis=0)
    rows = rows + random.normal(0, noise / np.sqrt(width), rows.shape)
    order = random.permutation(len(rows))
    labels = np.repeat(np.arange(len(counts)), counts)[order]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)[order], labels.tolist()


@pytest.mark.parametrize("counts", [[20, 20], [30, 10, 6], [40, 12, 9, 8, 7], [15] * 9])
def test_the_number_of_families_is_found(counts: list[int]) -> None:
    vectors, labels = kinds(counts)
    families = group_regions(vectors)
    assert len(set(families.tolist())) == len(counts)
    assert len(set(zip(families.tolist(), labels, strict=True))) == len(counts)
    assert np.bincount(families).tolist() == sorted(counts, reverse=True)


def test_what_fits_nowhere_is_single() -> None:
    vectors, _ = kinds([12, 12])
    stranger = np.zeros((1, vectors.shape[1]), np.float32)
    stranger[0, 20] = 1
    families = group_regions(np.concatenate([vectors, stranger]))
    assert families[-1] == SINGLE and set(families[:-1].tolist()) == {0, 1}


def test_the_order_of_the_regions_changes_no_family() -> None:
    vectors, _ = kinds([14, 9, 5])
    order = np.random.default_rng(1).permutation(len(vectors))
    assert (group_regions(vectors)[order] == group_regions(vectors[order])).all()


def test_there_are_no_more_families_than_a_person_can_decide_on() -> None:
    vectors, _ = kinds([4] * 30)
    assert group_regions(vectors).max() < 15
    assert group_regions(vectors, most=4).max() < 4


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_regions_for_a_family_are_single(count: int) -> None:
    assert group_regions(np.ones((count, 1), np.float32)).tolist() == [SINGLE] * count


def test_regions_that_are_all_the_same_are_one_family() -> None:
    assert group_regions(np.ones((3, 1), np.float32)).tolist() == [0, 0, 0]


def test_later_regions_belong_where_they_fit_as_well_as_the_members() -> None:
    vectors, labels = kinds([20, 20, 1], seed=3)
    labels_known = np.array(labels)
    known = labels_known < 2
    prototypes = make_prototypes(vectors[known], labels_known[known])
    later, later_labels = kinds([10, 10, 10], seed=4)
    assigned, fits = prototypes.assign(later)
    in_kind = np.array(later_labels) < 2
    right = assigned[in_kind] == np.array(later_labels)[in_kind]
    assert right.mean() >= 0.8, "but for those that fit less than 95 % of the members"
    assert (assigned[~in_kind] == SINGLE).all() and fits[~in_kind].max() < fits[in_kind].min()


def test_without_families_nothing_fits() -> None:
    prototypes = make_prototypes(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    assert prototypes.assign(np.ones((2, 3), np.float32))[0].tolist() == [SINGLE, SINGLE]


def test_the_fit_of_a_member_is_its_mean_similarity_to_the_others() -> None:
    vectors, _ = kinds([6])
    similarities = vectors @ vectors.T
    expected = [np.delete(similarities[i], i).mean() for i in range(6)]
    np.testing.assert_allclose(member_fits(vectors), expected, rtol=1e-5)


def test_a_split_takes_two_kinds_apart() -> None:
    vectors, labels = kinds([9, 4])
    assert (split_regions(vectors) == (np.array(labels) == 1)).all()
