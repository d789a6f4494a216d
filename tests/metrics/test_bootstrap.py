"""The bootstrap: weights are repetitions of images, and draws keep the classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from fiftyone_segad.metrics import bootstrap
from fiftyone_segad.metrics.curves import auroc, average_precision, count_scores, partial_area
from fiftyone_segad.metrics.pixels import Bins, PixelCounts

Images = list[tuple[NDArray[np.float32], NDArray[np.bool_]]]

BINS = Bins(0, 1, 65)
LIMITS = [0.05, 0.3, 1.0]


def drawn_scores(seed: int, decimals: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    random = np.random.default_rng(seed)
    defective = random.permutation(np.arange(30) < 11)
    return np.round(random.normal(size=30) + defective, decimals), defective


def drawn_images(seed: int) -> Images:
    """Draw maps of 64 levels that are high on most defects; every third image is normal."""
    random = np.random.default_rng(seed)
    images: Images = []
    for index in range(6):
        mask = np.kron(random.random((4, 5)) < (0.3 if index % 3 else 0), np.ones((4, 4))).astype(bool)
        anomaly = np.clip(random.normal(0.4, 0.1, mask.shape) + 0.15 * mask, 0, 1)
        images.append(((np.rint(anomaly * 64) / 64).astype(np.float32), mask))
    return images


def histograms(images: Images) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the normal pixels, the defective pixels and the regions of equal weight of each image."""
    counts = [PixelCounts.of(BINS, anomaly, mask) for anomaly, mask in images]
    nothing = np.zeros(BINS.count)
    return (
        np.stack([image.normal for image in counts]),
        np.stack([nothing if image.defective is None else image.defective for image in counts]),
        np.stack([nothing if image.overlap is None else image.overlap for image in counts]),
    )


def repetitions(seed: int, images: int) -> NDArray[np.int64]:
    """Draw how often each image counts; each draw has some of both classes."""
    weights = np.random.default_rng(seed).integers(0, 4, (5, images))
    weights[:, :3] += 1
    return weights


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decimals", [0, 1, 9])  # nearly all tied, some ties, none
def test_weights_of_one_give_the_plain_metrics(seed: int, decimals: int) -> None:
    scores, defective = drawn_scores(seed, decimals)
    counts, weights = count_scores(scores, defective), np.ones((2, 30))
    for weighted, plain, reference in (
        (bootstrap.weighted_auroc, auroc(counts), roc_auc_score(defective, scores)),
        (bootstrap.weighted_average_precision, average_precision(counts), average_precision_score(defective, scores)),
    ):
        values = weighted(scores, defective, weights)
        assert values.shape == (2,)
        assert values == pytest.approx([reference] * 2, abs=1e-12)
        assert values == pytest.approx([plain] * 2, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decimals", [0, 1, 9])
@pytest.mark.parametrize(
    ("weighted", "reference"),
    [
        (bootstrap.weighted_auroc, roc_auc_score),
        (bootstrap.weighted_average_precision, average_precision_score),
    ],
)
def test_weights_of_images_are_repetitions(
    seed: int, decimals: int, weighted: Callable[..., NDArray[np.float64]], reference: Callable[..., float]
) -> None:
    scores, defective = drawn_scores(seed, decimals)
    order = np.argsort(~defective, kind="stable")  # a defective image is among the first three
    order[1], order[-1] = order[-1], order[1]  # and a normal one
    scores, defective = scores[order], defective[order]
    weights = repetitions(seed, 30)
    expected = [reference(np.repeat(defective, row), np.repeat(scores, row)) for row in weights]
    assert weighted(scores, defective, weights.astype(float)) == pytest.approx(expected, abs=1e-12)


def test_by_hand() -> None:
    # Descending: defective 4, normal 3, a tie of both at 2; the normal 3 was drawn twice, the others once
    scores, defective = np.array([2.0, 3, 2, 4]), np.array([True, False, False, True])
    weights = np.array([[1.0, 2, 1, 1], [2, 0, 1, 0]])
    # Pairs in order: 3 of the defective 4, half of one of the defective 2; in the other draw only the tie is left
    assert bootstrap.weighted_auroc(scores, defective, weights) == pytest.approx([3.5 / 6, 0.5])
    assert bootstrap.weighted_average_precision(scores, defective, weights) == pytest.approx(
        [0.5 * 1 + 0.5 * 2 / 5, 2 / 3]
    )


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("seed", range(3))
def test_areas_with_weights_of_one_are_the_plain_ones(seed: int, limit: float) -> None:
    images = drawn_images(seed)
    normal, positive, overlap = histograms(images)
    total = PixelCounts.merge(BINS, [PixelCounts.of(BINS, *image) for image in images])
    ones = np.ones((1, len(images)))
    by_pixel = bootstrap.weighted_partial_areas(normal, positive, ones, limit)
    by_region = bootstrap.weighted_partial_areas(normal, overlap, ones, limit)
    assert by_pixel == pytest.approx([partial_area(total.pixels(), limit)], abs=1e-6)
    assert by_region == pytest.approx([partial_area(total.by_region(), limit)], abs=1e-6)
    if limit == 1:
        truth = np.concatenate([mask.ravel() for _, mask in images])
        scores = np.concatenate([anomaly.ravel() for anomaly, _ in images])
        assert by_pixel == pytest.approx([roc_auc_score(truth, scores)], abs=1e-6)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("seed", range(3))
def test_areas_of_weighted_images_are_those_of_repeated_ones(seed: int, limit: float) -> None:
    images = drawn_images(seed)
    normal, positive, overlap = histograms(images)
    weights = repetitions(seed, len(images))
    by_pixel = bootstrap.weighted_partial_areas(normal, positive, weights.astype(float), limit)
    by_region = bootstrap.weighted_partial_areas(normal, overlap, weights.astype(float), limit)
    assert len(by_pixel) == len(by_region) == len(weights)
    for row, pixel, region in zip(weights, by_pixel, by_region, strict=True):
        repeated = [image for image, count in zip(images, row, strict=True) for _ in range(count)]
        total = PixelCounts.merge(BINS, [PixelCounts.of(BINS, *image) for image in repeated])
        assert pixel == pytest.approx(partial_area(total.pixels(), limit), abs=1e-6)
        assert region == pytest.approx(partial_area(total.by_region(), limit), abs=1e-6)


def test_a_partial_area_by_hand() -> None:
    # Lowest score first. Image 0: four normal pixels; image 1: a normal and a defective pixel; image 1 counts twice:
    # from the highest score on, normal 1, 0 + 2, 3 of 6 and defective 0, 2, 0 of 2
    normal, positive = np.array([[3.0, 0, 1], [0, 1, 0]]), np.array([[0.0, 0, 0], [0, 1, 0]])
    weights = np.array([[1.0, 2.0]])
    # (0, 0) (1/6, 0) (1/2, 1) (1, 1)
    areas = {1 / 6: 0.0, 1 / 3: 1 / 6 * 0.5 / 2, 1 / 2: 1 / 3 / 2, 1.0: 1 / 3 / 2 + 1 / 2}
    for limit, area in areas.items():
        value = bootstrap.weighted_partial_areas(normal, positive, weights, limit)
        assert value == pytest.approx([area / limit], abs=1e-7)


def all_weights(defective: NDArray[np.bool_], draws: int, seed: int = 0) -> NDArray[np.float64]:
    return np.concatenate(list(bootstrap.draw_weights(defective, draws, seed)))


@pytest.mark.parametrize("draws", [1, 99, 100, 101, 250])
def test_draws_keep_the_sizes_of_the_classes(draws: int) -> None:
    defective = np.random.default_rng(0).permutation(np.arange(40) < 7)
    weights = all_weights(defective, draws)
    assert weights.shape == (draws, 40)
    assert (weights == np.rint(weights)).all() and (weights >= 0).all()
    assert (weights[:, defective].sum(axis=1) == 7).all()
    assert (weights[:, ~defective].sum(axis=1) == 33).all()


def test_every_image_is_drawn_as_often() -> None:
    defective = np.arange(12) < 4
    weights = all_weights(defective, 4000)
    # Drawn k times out of k, each with chance 1 / k: mean 1, variance 1 - 1 / k; five standard errors of the mean
    assert weights.mean(axis=0) == pytest.approx(np.ones(12), abs=5 / np.sqrt(4000))
    assert weights[:, :4].var() == pytest.approx(3 / 4, abs=0.05)
    assert weights[:, 4:].var() == pytest.approx(7 / 8, abs=0.05)
    assert len(np.unique(weights, axis=0)) > 100


@pytest.mark.parametrize("only", [True, False])
def test_draws_of_one_class(only: bool) -> None:
    weights = all_weights(np.full(5, only), 20)
    assert (weights.sum(axis=1) == 5).all()


def test_draws_depend_on_the_seed_alone() -> None:
    defective = np.arange(20) < 8
    np.testing.assert_array_equal(all_weights(defective, 150), all_weights(defective, 150))
    assert (all_weights(defective, 150, 1) != all_weights(defective, 150)).any()


def test_an_interval_leaves_out_as_much_on_either_side() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1001.0))
    assert bootstrap.interval(values) == pytest.approx((25, 975))
    assert bootstrap.interval(values, 0.5) == pytest.approx((250, 750))
    assert bootstrap.interval(values, 1) == (0, 1000)
    assert bootstrap.interval([0.7] * 9) == pytest.approx((0.7, 0.7))


def test_an_interval_is_about_as_wide_as_theory_says() -> None:
    # The mean of n values: its bootstrap interval is close to +- 1.96 standard errors
    values = np.random.default_rng(1).normal(size=400)
    means = all_weights(np.ones(400, bool), 1000) @ values / 400
    low, high = bootstrap.interval(means)
    expected = 1.96 * values.std() / 20
    assert values.mean() - low == pytest.approx(expected, rel=0.15)
    assert high - values.mean() == pytest.approx(expected, rel=0.15)
