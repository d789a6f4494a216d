"""Connected regions, and predicted ones against those of the ground truth, drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.segments.regions import (
    MIN_OVERLAP,
    RegionCounts,
    connected_regions,
    label_regions,
    match_regions,
    size_of,
)

MAP = np.array(
    [
        [0.9, 0.6, 0.0, 0.0, 0.6],
        [0.0, 0.0, 0.6, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.6],
        [0.5, 0.8, 0.0, 0.0, 0.6],
    ]
)


def test_connected_regions() -> None:
    regions = connected_regions((MAP > 0.55).astype(np.uint8), MAP)
    assert [region.score for region in regions] == [0.9, 0.8, 0.6, 0.6]
    assert [region.area for region in regions] == [3, 1, 1, 2]
    assert [region.box for region in regions] == [(0, 0, 3, 2), (1, 3, 2, 4), (4, 0, 5, 1), (4, 2, 5, 4)]
    assert regions[0].mask.tolist() == [[True, True, False], [False, False, True]]  # joined at a corner


def test_a_region_ignores_others_in_its_box() -> None:
    ring = np.ones((5, 5))
    ring[1:4, 1:4] = 0
    ring[2, 2] = 9  # a region of its own within the ring's box
    inner, outer = connected_regions((ring > 0.5).astype(np.uint8), ring)
    assert (inner.score, inner.area, inner.box) == (9, 1, (2, 2, 3, 3))
    assert (outer.score, outer.area, outer.box) == (1, 16, (0, 0, 5, 5))
    assert not outer.mask[2, 2]


def test_a_mask_of_nothing_has_no_regions() -> None:
    assert connected_regions(np.zeros((3, 4), np.uint8), np.ones((3, 4))) == []


def matches(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[list[bool], list[bool]]:
    """Match the regions, numbered from the top left."""
    (labels, p), (truth_labels, g) = label_regions(predicted), label_regions(truth)
    matched = match_regions(labels, truth_labels, (p, g))
    assert matched.true.dtype == matched.found.dtype == bool
    return matched.true.tolist(), matched.found.tolist()


def drawn(*rows: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return predicted mask and ground truth from one drawing: ``p``, ``t``, ``b`` for both."""
    picture = np.array([list(row) for row in rows])
    return np.isin(picture, ["p", "b"]), np.isin(picture, ["t", "b"])


def test_regions_that_overlap_match() -> None:
    assert matches(*drawn("pb......", "ptt...pp", "....t...", "........")) == ([True, False], [True, False])


def test_the_iou_of_a_region_is_that_with_the_defect_it_covers_best() -> None:
    predicted, truth = drawn("ppbbt.pp", "........", "bb.t....")
    (labels, p), (truth_labels, g) = label_regions(predicted), label_regions(truth)
    # 2 of 5 pixels, none, and all of 2
    assert match_regions(labels, truth_labels, (p, g)).iou.tolist() == [2 / 5, 0, 1]
    assert match_regions(labels, np.zeros_like(truth_labels), (p, 0)).iou.tolist() == [0, 0, 0]


def test_regions_side_by_side_do_not_match() -> None:
    assert matches(*drawn("pptt", "pptt")) == ([False], [False])


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    # One region each, of 4 and 4 pixels, with one in common
    assert matches(*drawn("p...t", ".p.t.", "..b..", ".t.p.")) == ([True], [True])
    # The right half of the predicted one is found through its left half
    assert matches(*drawn("bb...", "..p..", "...pp")) == ([True], [True])


def test_one_predicted_region_may_find_two_defects() -> None:
    assert matches(*drawn("ppppppp", "pbbpbbp", "ppppppp")) == ([True], [True, True])


def test_one_defect_may_be_found_by_two_predicted_regions() -> None:
    assert matches(*drawn("ttttttt", "tbbtbbt", "ttttttt")) == ([True, True], [True])


def test_a_tiny_defect_inside_of_a_large_blob() -> None:
    predicted, truth = np.ones((100, 100), bool), np.zeros((100, 100), bool)
    truth[40, 60] = True
    assert matches(predicted, truth) == ([True], [True]), "all of the smaller one is shared"
    assert matches(truth, predicted) == ([True], [True])


@pytest.mark.parametrize("shared", [0, 1, 2, 9, 10, 11, 100])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_tenth_of_the_smaller_region_must_be_shared(shared: int, swapped: bool) -> None:
    assert MIN_OVERLAP == 0.1
    small, large = np.zeros((2, 1, 400), bool)
    small[0, :100] = True  # 100 pixels
    large[0, 100 - shared : 300 - shared] = True  # 200 pixels
    hit = shared >= 10
    first, second = (large, small) if swapped else (small, large)
    assert matches(first, second) == ([hit], [hit])


@pytest.mark.parametrize("area", [1, 3, 9, 10, 11, 19, 20, 21, 30, 70, 1000])
def test_the_limit_is_exact_at_every_area(area: int) -> None:
    needed = -(-area // 10)  # a tenth, rounded up
    for shared in (needed - 1, needed):
        one, other = np.zeros((2, 1, 2 * area), bool)
        one[0, :area] = True
        other[0, area - shared : 2 * area - shared] = True
        assert matches(one, other) == ([shared == needed], [shared == needed]), shared


def test_two_defects_that_share_too_little_each() -> None:
    # 9 pixels of each of two defects of 100; the predicted one is of 200, so that 18 of them do not add up
    predicted, truth = np.zeros((2, 1, 400), bool)
    truth[0, 10:110] = truth[0, 292:392] = True
    predicted[0, 101:301] = True
    assert matches(predicted, truth) == ([False], [False, False])


@pytest.mark.parametrize(("p", "g"), [(0, 0), (0, 2), (2, 0)])
def test_no_regions(p: int, g: int) -> None:
    two = np.array([list("##..#..")] * 3) == "#"
    nothing = np.zeros_like(two)
    assert matches(two if p else nothing, two if g else nothing) == ([False] * p, [False] * g)


def test_equals_a_loop_over_pairs() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(30):
        predicted, truth = (np.kron(random.random((2, 9, 9)) < 0.25, np.ones((2, 3)))).astype(bool)
        predicted = np.roll(predicted, (1, 2), (0, 1))
        (labels, p), (truth_labels, g) = label_regions(predicted), label_regions(truth)
        pairs = np.zeros((p, g), bool)
        for i in range(p):
            for j in range(g):
                one, other = labels == i + 1, truth_labels == j + 1
                shared = int((one & other).sum())
                pairs[i, j] = shared > 0 and 10 * shared >= min(one.sum(), other.sum())
        assert matches(predicted, truth) == (pairs.any(axis=1).tolist(), pairs.any(axis=0).tolist())
        hits += int(pairs.any(axis=1).sum())
    assert hits > 30


def test_rates() -> None:
    counts = RegionCounts(found=2, missed=2, true=3, false=1)
    assert (counts.precision, counts.recall) == (3 / 4, 2 / 4)
    assert counts.f1 == pytest.approx(2 * 0.75 * 0.5 / 1.25)
    assert counts + RegionCounts(10, 20, 30, 40) == RegionCounts(found=12, missed=22, true=33, false=41)


@pytest.mark.parametrize(
    ("counts", "precision", "recall", "f1"),
    [
        pytest.param(RegionCounts(), None, None, None, id="no regions at all"),
        pytest.param(RegionCounts(missed=3), None, 0, 0, id="nothing predicted"),
        pytest.param(RegionCounts(false=3), 0, None, 0, id="no defects"),
        pytest.param(RegionCounts(missed=1, false=1), 0, 0, 0, id="nothing matches"),
        pytest.param(RegionCounts(found=2, true=1), 1, 1, 1, id="all match"),
        pytest.param(RegionCounts(found=1, missed=3), None, 1 / 4, None, id="found by regions of another size"),
        pytest.param(RegionCounts(true=1, false=3), 1 / 4, None, None, id="true by defects of another size"),
        pytest.param(RegionCounts(found=1, false=1), 0, 1, 0, id="found by another size, beside a false alarm"),
    ],
)
def test_rates_of_what_is_absent(
    counts: RegionCounts, precision: float | None, recall: float | None, f1: float | None
) -> None:
    assert (counts.precision, counts.recall, counts.f1) == (precision, recall, f1)


@pytest.mark.parametrize(
    ("area", "size"),
    [
        (1, "small"),
        (32**2, "small"),
        (32**2 + 1, "medium"),
        (96**2, "medium"),
        (96**2 + 1, "large"),
        (10**7, "large"),
    ],
)
def test_sizes(area: int, size: str) -> None:
    assert size_of(area) == size
