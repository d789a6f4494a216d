"""Metrics, against scikit-learn, a slow direct AUPRO and closed forms."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from fiftyone_segad.metrics import (
    PixelCounts,
    ScoreCounts,
    auroc,
    average_precision,
    count_scores,
    f1_max,
    partial_area,
    rates_at,
)

Images = list[tuple[NDArray[np.float32], NDArray[np.bool_]]]
LEVELS = 64
"""Levels of the random maps: few enough for the slow AUPRO, and each in a bin of its own."""


def random_images(seed: int, levels: int | None = None, scale: int = 1) -> Images:
    """Maps that are high on most of the defects, in blobs that touch at corners; the last image is normal."""
    random = np.random.default_rng(seed)
    images: Images = []
    for index in range(4):
        mask = np.kron(random.random((6, 8)) < (0.2 if index < 3 else 0), np.ones((5 * scale, 4 * scale))).astype(bool)
        anomaly = np.clip(random.normal(0.4, 0.1, mask.shape) + 0.15 * mask, 0, 1)
        images.append(((np.rint(anomaly * levels) / levels if levels else anomaly).astype(np.float32), mask))
    return images


def counted(images: Images, low: float = 0, high: float = 1) -> PixelCounts:
    counts = PixelCounts(low, high)
    for anomaly, mask in images:
        counts.add(anomaly, mask)
    return counts


def flattened(images: Images) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return (
        np.concatenate([anomaly.ravel() for anomaly, _ in images]).astype(np.float64),
        np.concatenate([mask.ravel() for _, mask in images]),
    )


def regions_of(mask: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """8-connected regions by flood fill."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    regions = []
    while left:
        region, edge = [], [left.pop()]
        while edge:
            y, x = edge.pop()
            region.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        regions.append(region)
    return regions


def slow_aupro(images: Images, limit: float) -> float:
    """AUPRO threshold by threshold and region by region, as MVTec defines it."""
    scores, truth = flattened(images)
    curve = [(0.0, 0.0)]
    for threshold in np.unique(scores)[::-1]:
        overlaps = []
        for anomaly, mask in images:
            for region in regions_of(mask):
                overlaps.append(np.mean([anomaly[pixel] >= threshold for pixel in region]))
        curve.append((float(np.mean(scores[~truth] >= threshold)), float(np.mean(overlaps))))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            area += (limit - x0) * (y0 + y1) / 2
            break
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def best_f1(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    precision, recall, _ = precision_recall_curve(truth, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("decimals", [1, 2, 12])  # many ties, few, none
def test_image_metrics_equal_scikit_learn(seed: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.random(80) < 0.3
    scores = np.round(random.normal(size=80) + truth, decimals)
    counts = count_scores(scores, truth)
    assert auroc(counts) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert average_precision(counts) == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
    found = f1_max(counts)
    assert found is not None
    assert found[0] == pytest.approx(best_f1(truth, scores), abs=1e-12)
    assert f1_score(truth, scores >= found[1]) == pytest.approx(found[0], abs=1e-12)


def test_image_metrics_by_hand() -> None:
    # Descending: defective 4, normal 3, a tie of both at 2, normal 1
    counts = count_scores([1, 2, 4, 2, 3], [False, True, True, False, False])
    assert counts.scores.tolist() == [4, 3, 2, 1]
    assert counts.normal.tolist() == [0, 1, 1, 1] and counts.defective.tolist() == [1, 0, 1, 0]
    assert auroc(counts) == pytest.approx((3 + 1.5) / 6)  # pairs in order; the tie counts half
    assert average_precision(counts) == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    assert f1_max(counts) == pytest.approx((2 / 3, 4))  # 4: 2*1/(1+2); 2: 2*2/(4+2), the same: the higher stays
    # ROC (0, 0) (0, .5) (1/3, .5) (2/3, 1) (1, 1); up to 1/2: 1/3 * .5 + 1/6 * (.5 + .75) / 2
    assert partial_area(counts, 0.5) == pytest.approx((1 / 6 + 1 / 6 * 0.625) / 0.5)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_perfect_and_inverted_predictions(limit: float) -> None:
    truth = np.array([True] * 3 + [False] * 7)
    perfect, inverted = count_scores(truth * 1.0, truth), count_scores(truth * -1.0, truth)
    assert (auroc(perfect), average_precision(perfect), f1_max(perfect)) == (1, 1, (1, 1))
    assert (auroc(inverted), average_precision(inverted)) == (0, pytest.approx(0.3))
    assert f1_max(inverted) == (pytest.approx(2 * 3 / (10 + 3)), -1)  # flagging everything
    assert partial_area(perfect, limit) == pytest.approx(1)
    assert partial_area(inverted, limit) == pytest.approx(0)


def test_partial_area_up_to_one_is_the_auroc() -> None:
    random = np.random.default_rng(1)
    counts = count_scores(random.integers(0, 9, 60), random.random(60) < 0.4)
    assert partial_area(counts, 1.0) == pytest.approx(auroc(counts))


def test_absent_classes_give_none() -> None:
    normal, defective = count_scores([1, 2], [False, False]), count_scores([1, 2], [True, True])
    empty = count_scores([], [])
    for counts in (normal, defective, empty):
        assert auroc(counts) is None and partial_area(counts, 0.3) is None
    for counts in (normal, empty):
        assert average_precision(counts) is None and f1_max(counts) is None
    assert average_precision(defective) == 1 and f1_max(defective) == (1, 1)


@pytest.mark.parametrize("scores", [[1, np.nan], [1, np.inf]])
def test_error_of_scores_that_are_not_finite(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        count_scores(scores, [True, False])


def test_error_of_lengths_that_differ() -> None:
    with pytest.raises(ValueError, match="do not match"):
        count_scores([1, 2, 3], [True, False])


@pytest.mark.parametrize(
    ("threshold", "precision", "recall", "fpr"),
    [
        pytest.param(2, 1 / 2, 1 / 2, 1 / 3, id="scores equal to the threshold are not flagged"),
        pytest.param(1.999, 1 / 2, 1, 2 / 3, id="just below"),
        pytest.param(4, None, 0, 0, id="nothing flagged"),
        pytest.param(0, 2 / 5, 1, 1, id="all flagged"),
    ],
)
def test_rates_at(threshold: float, precision: float | None, recall: float, fpr: float) -> None:
    rates = rates_at([1, 2, 4, 2, 3], [False, True, True, False, False], threshold)
    assert rates == {"precision": precision, "recall": recall, "fpr": fpr}


def test_rates_of_absent_classes() -> None:
    assert rates_at([1], [False], 0) == {"precision": 0, "recall": None, "fpr": 1}
    assert rates_at([1], [True], 0) == {"precision": 1, "recall": 1, "fpr": None}
    assert rates_at([], [], 0) == {"precision": None, "recall": None, "fpr": None}


def assert_pixels_equal_scikit_learn(counts: ScoreCounts, images: Images, tolerance: float) -> None:
    scores, truth = flattened(images)
    assert auroc(counts) == pytest.approx(roc_auc_score(truth, scores), abs=tolerance)
    assert average_precision(counts) == pytest.approx(average_precision_score(truth, scores), abs=tolerance)
    found = f1_max(counts)
    assert found is not None and found[0] == pytest.approx(best_f1(truth, scores), abs=tolerance)


@pytest.mark.parametrize("seed", range(4))
def test_pixel_metrics_equal_scikit_learn(seed: int) -> None:
    images = random_images(seed)
    assert_pixels_equal_scikit_learn(counted(images).pixels(), images, 1e-4)


@pytest.mark.parametrize(
    ("outlier", "tolerance"),
    [
        pytest.param(20.0, 1e-4, id="others share a 20th of the range: still exact"),
        pytest.param(100.0, None, id="others share a 100th: within the documented bound"),
        pytest.param(1000.0, None, id="others share a 1000th: within the documented bound"),
    ],
)
def test_pixel_metrics_of_a_skewed_range(outlier: float, tolerance: float | None) -> None:
    images = random_images(7, scale=8)
    images[0][0][0, 0] = outlier
    counts = counted(images, 0, outlier).pixels()
    share = (counts.normal + counts.defective).max() / sum(mask.size for _, mask in images)
    assert_pixels_equal_scikit_learn(counts, images, tolerance or share)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_aupro_equals_the_direct_computation(seed: int, limit: float) -> None:
    images = random_images(seed, LEVELS)
    counts = counted(images)
    assert counts.regions == sum(len(regions_of(mask)) for _, mask in images)
    assert partial_area(counts.overlap(), limit) == pytest.approx(slow_aupro(images, limit), abs=1e-9)


def test_aupro_weighs_regions_not_pixels() -> None:
    mask = np.zeros((10, 10), bool)
    mask[0, 0] = True  # one pixel, found
    mask[5:, 5:] = True  # 25 pixels, missed
    anomaly = np.zeros(mask.shape, np.float32)
    anomaly[0, 0] = 1
    counts = counted([(anomaly, mask)])
    # Half of the regions at once; then all the rest is tied: the line from (0, 1/2) to (1, 1)
    assert partial_area(counts.overlap(), 0.3) == pytest.approx(0.5 + 0.15 / 2)
    assert auroc(counts.pixels()) == pytest.approx(1 / 26 + 25 / 26 / 2)


def test_aupro_of_perfect_and_inverted_maps() -> None:
    mask = random_images(0)[0][1]
    perfect, inverted = (counted([((mask == flag).astype(np.float32), mask)]) for flag in (True, False))
    assert partial_area(perfect.overlap(), 0.3) == pytest.approx(1)
    assert partial_area(inverted.overlap(), 0.3) == pytest.approx(0)


def test_pixels_are_counted_in_the_nearest_bin() -> None:
    counts = PixelCounts(-1, 3, bins=9)
    assert counts.bin_width == 0.5
    counts.add(np.array([[-1, -0.76, -0.74, 0.3, 1.2, 2.9, 3]]), None)
    found = counts.pixels()
    np.testing.assert_allclose(found.scores, [3, 2.5, 2, 1.5, 1, 0.5, 0, -0.5, -1])
    assert found.normal.tolist() == [2, 0, 0, 0, 1, 1, 0, 1, 2]


def test_pixels_without_defects() -> None:
    normal = random_images(0)[-1][0]
    counts = PixelCounts(0, 1)
    counts.add(normal, None)
    counts.add(normal, np.zeros(normal.shape, bool))
    assert counts.pixels().normal.sum() == 2 * normal.size and counts.regions == 0
    assert auroc(counts.pixels()) is None and partial_area(counts.overlap(), 0.3) is None


def test_equal_scores_everywhere() -> None:
    mask = random_images(0)[0][1]
    counts = counted([(np.full(mask.shape, 0.5, np.float32), mask)], 0.5, 0.5)
    assert auroc(counts.pixels()) == pytest.approx(0.5)
    assert partial_area(counts.overlap(), 0.3) == pytest.approx(0.15)


def test_merge_equals_adding_everything_to_one() -> None:
    images = random_images(2)
    merged = PixelCounts.merge(0, 1, [counted(images[:1]), counted(images[1:3]), counted(images[3:])])
    whole = counted(images)
    assert merged.regions == whole.regions
    for one, other in ((merged.pixels(), whole.pixels()), (merged.overlap(), whole.overlap())):
        np.testing.assert_array_equal(one.normal, other.normal)
        np.testing.assert_allclose(one.defective, other.defective, atol=1e-12)
        np.testing.assert_array_equal(one.scores, other.scores)


def test_merge_keeps_the_number_of_bins() -> None:
    part = PixelCounts(0, 1, bins=16)
    part.add(np.zeros((2, 2), np.float32), None)
    assert PixelCounts.merge(0, 1, [part, part]).pixels().normal.sum() == 8


def test_error_of_a_mask_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"mask is \(3, 4\), the map \(4, 3\)"):
        PixelCounts(0, 1).add(np.zeros((4, 3)), np.zeros((3, 4), bool))
