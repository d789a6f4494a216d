"""Counts of pixels in bins: metrics of them against scikit-learn and a slow direct AUPRO."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from fiftyone_segad.metrics.curves import ScoreCounts, auroc, average_precision, f1_max, partial_area
from fiftyone_segad.metrics.pixels import PIXEL_BINS, Bins, PixelCounts

Images = list[tuple[NDArray[np.float32], NDArray[np.bool_]]]
LEVELS = 64
"""Levels of the random maps: few enough for the slow AUPRO, and each in a bin of its own."""


def random_images(seed: int, levels: int | None = None, scale: int = 1) -> Images:
    """Draw maps that are high on most of the defects, in blobs that touch at corners; the last image is normal."""
    random = np.random.default_rng(seed)
    images: Images = []
    for index in range(4):
        mask = np.kron(random.random((6, 8)) < (0.2 if index < 3 else 0), np.ones((5 * scale, 4 * scale))).astype(bool)
        anomaly = np.clip(random.normal(0.4, 0.1, mask.shape) + 0.15 * mask, 0, 1)
        images.append(((np.rint(anomaly * levels) / levels if levels else anomaly).astype(np.float32), mask))
    return images


def counted(images: Images, low: float = 0, high: float = 1) -> PixelCounts:
    bins = Bins(low, high)
    return PixelCounts.merge(bins, [PixelCounts.of(bins, anomaly, mask) for anomaly, mask in images])


def flattened(images: Images) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return (
        np.concatenate([anomaly.ravel() for anomaly, _ in images]).astype(np.float64),
        np.concatenate([mask.ravel() for _, mask in images]),
    )


def regions_of(mask: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Find the 8-connected regions by flood fill."""
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
    """Compute AUPRO threshold by threshold and region by region, as MVTec defines it."""
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


def assert_pixels_equal_scikit_learn(counts: ScoreCounts, images: Images, tolerance: float) -> None:
    scores, truth = flattened(images)
    assert auroc(counts) == pytest.approx(roc_auc_score(truth, scores), abs=tolerance)
    assert average_precision(counts) == pytest.approx(average_precision_score(truth, scores), abs=tolerance)
    best = f1_max(counts)
    assert best is not None and best[0] == pytest.approx(best_f1(truth, scores), abs=tolerance)


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
    assert partial_area(counts.by_region(), limit) == pytest.approx(slow_aupro(images, limit), abs=1e-9)


def test_aupro_weighs_regions_not_pixels() -> None:
    mask = np.zeros((10, 10), bool)
    mask[0, 0] = True  # one pixel, found
    mask[5:, 5:] = True  # 25 pixels, missed
    anomaly = np.zeros(mask.shape, np.float32)
    anomaly[0, 0] = 1
    counts = counted([(anomaly, mask)])
    # Half of the regions at once; then all the rest is tied: the line from (0, 1/2) to (1, 1)
    assert partial_area(counts.by_region(), 0.3) == pytest.approx(0.5 + 0.15 / 2)
    assert auroc(counts.pixels()) == pytest.approx(1 / 26 + 25 / 26 / 2)


def test_aupro_of_perfect_and_inverted_maps() -> None:
    mask = random_images(0)[0][1]
    perfect, inverted = (counted([((mask == flag).astype(np.float32), mask)]) for flag in (True, False))
    assert partial_area(perfect.by_region(), 0.3) == pytest.approx(1)
    assert partial_area(inverted.by_region(), 0.3) == pytest.approx(0)


def test_pixels_are_counted_in_the_nearest_bin() -> None:
    bins = Bins(-1, 3, 9)
    assert bins.width == 0.5
    scores = np.array([[-1, -0.76, -0.74, 0.3, 1.2, 2.9, 3]])
    assert bins(scores).tolist() == [[0, 0, 1, 3, 4, 8, 8]]
    np.testing.assert_allclose(bins.scores(), [3, 2.5, 2, 1.5, 1, 0.5, 0, -0.5, -1])
    counts = PixelCounts.of(bins, scores, None).pixels()
    np.testing.assert_array_equal(counts.scores, bins.scores())
    assert counts.normal.tolist() == [2, 0, 0, 0, 1, 1, 0, 1, 2]
    assert not counts.defective.any()


def test_scores_beyond_the_bins_count_in_the_outermost() -> None:
    assert Bins(0, 1, 5)(np.array([-0.4, 1.6, 0.25], np.float32)).tolist() == [0, 4, 1]


def test_neighbouring_bins_are_told_apart() -> None:
    bins = Bins(0, 1)
    assert bins.count == PIXEL_BINS == len(bins.scores())
    scores = bins.scores()[::-1]
    assert (bins(scores) == np.arange(PIXEL_BINS)).all()
    assert scores[1] - scores[0] == pytest.approx(bins.width)


def test_normal_and_defective_pixels_and_regions_by_hand() -> None:
    mask = np.array([[1, 0, 0, 0], [0, 1, 0, 1]], bool)  # the corner joins two pixels; the third is by itself
    anomaly = np.array([[2, 0, 1, 1], [0, 1, 0, 3]], np.float32)
    counts = PixelCounts.of(Bins(0, 3, 4), anomaly, mask)
    assert counts.normal.tolist() == [3, 2, 0, 0]
    assert counts.defective is not None and counts.defective.tolist() == [0, 1, 1, 1]
    assert counts.overlap is not None and counts.overlap.tolist() == [0, 0.5, 0.5, 1]
    assert counts.regions == 2
    assert counts.pixels().normal.tolist() == counts.by_region().normal.tolist() == [0, 0, 2, 3]
    assert counts.pixels().defective.tolist() == [1, 1, 1, 0]
    assert counts.by_region().defective.tolist() == [1, 0.5, 0.5, 0]


def test_pixels_without_defects() -> None:
    normal, bins = random_images(0)[-1][0], Bins(0, 1)
    counts = PixelCounts.of(bins, normal, None)
    assert counts.defective is None and counts.overlap is None
    counts.add(PixelCounts.of(bins, normal, np.zeros(normal.shape, bool)))
    assert counts.pixels().normal.sum() == 2 * normal.size and counts.regions == 0
    assert auroc(counts.pixels()) is None and partial_area(counts.by_region(), 0.3) is None


def test_equal_scores_everywhere() -> None:
    mask = random_images(0)[0][1]
    counts = counted([(np.full(mask.shape, 0.5, np.float32), mask)], 0.5, 0.5)
    assert auroc(counts.pixels()) == pytest.approx(0.5)
    assert partial_area(counts.by_region(), 0.3) == pytest.approx(0.15)


def assert_equal_counts(one: PixelCounts, other: PixelCounts) -> None:
    assert one.regions == other.regions
    for a, b in ((one.pixels(), other.pixels()), (one.by_region(), other.by_region())):
        np.testing.assert_array_equal(a.normal, b.normal)
        np.testing.assert_allclose(a.defective, b.defective, atol=1e-12)
        np.testing.assert_array_equal(a.scores, b.scores)


def test_merge_equals_adding_everything_to_one() -> None:
    images = random_images(2)
    parts = [counted(images[:1]), counted(images[1:3]), counted(images[3:])]
    before = [part.pixels().defective.copy() for part in parts]
    assert_equal_counts(PixelCounts.merge(Bins(0, 1), parts), counted(images))
    for part, defective in zip(parts, before, strict=True):
        np.testing.assert_array_equal(part.pixels().defective, defective, "the parts stay as they were")


def test_images_side_by_side_count_like_one_image() -> None:
    images = random_images(3)
    # A column between them keeps their regions apart
    gap = np.zeros((30, 1))
    anomaly = np.hstack([part for anomaly, _ in images for part in (anomaly, gap)]).astype(np.float32)
    mask = np.hstack([part for _, mask in images for part in (mask, gap.astype(bool))])
    parts = [*images, (np.zeros((30, len(images)), np.float32), np.zeros((30, len(images)), bool))]
    assert_equal_counts(counted([(anomaly, mask)]), counted(parts))


def test_merge_keeps_the_number_of_bins() -> None:
    bins = Bins(0, 1, 16)
    part = PixelCounts.of(bins, np.zeros((2, 2), np.float32), None)
    merged = PixelCounts.merge(bins, [part, part]).pixels()
    assert merged.normal.tolist() == [0] * 15 + [8]


def test_error_of_a_mask_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"mask is \(3, 4\), the map \(4, 3\)"):
        PixelCounts.of(Bins(0, 1), np.zeros((4, 3)), np.zeros((3, 4), bool))


def test_void_pixels_are_in_no_bin() -> None:
    anomaly = np.array([[0, 1, 2, 3]], np.float32)
    void = np.array([[False, True, False, True]])
    bins = Bins(0, 3, 4)
    assert PixelCounts.of(bins, anomaly, None, void).normal.tolist() == [1, 0, 1, 0]
    counts = PixelCounts.of(bins, anomaly, np.array([[False, False, True, False]]), void)
    assert counts.defective is not None
    assert (counts.normal.tolist(), counts.defective.tolist()) == ([1, 0, 0, 0], [0, 0, 1, 0])
    with pytest.raises(ValueError, match="void area"):
        PixelCounts.of(bins, anomaly, None, void[:, :2])
