"""The bootstrap intervals of AnomalyResults."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    roc_auc_score,
)

from fiftyone_segad.metrics import bootstrap
from fiftyone_segad.metrics.bootstrap import INTERVAL_NAMES
from made_results import aupro, make_pictures, pixels_of, results_of, truth_and_scores


def test_the_bootstrap_is_that_of_the_repeated_images() -> None:
    pictures = make_pictures()
    results = results_of(pictures)
    drawn = results.bootstrap(6, seed=3)
    assert tuple(drawn) == INTERVAL_NAMES
    (weights,) = bootstrap.draw_weights(np.array([picture.defective for picture in pictures]), 6, 3)
    for index, row in enumerate(weights.astype(int)):
        again = [picture for picture, count in zip(pictures, row, strict=True) for _ in range(count)]
        truth, scores = truth_and_scores(again)
        mask, anomaly = pixels_of(again)
        assert drawn["image_auroc"][index] == pytest.approx(roc_auc_score(truth, scores))
        assert drawn["image_ap"][index] == pytest.approx(average_precision_score(truth, scores))
        assert drawn["pixel_auroc"][index] == pytest.approx(roc_auc_score(mask, anomaly), abs=1e-6)
        assert drawn["aupro_30"][index] == pytest.approx(aupro(again, 0.3), abs=1e-6)
        assert drawn["aupro_05"][index] == pytest.approx(aupro(again, 0.05), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_intervals_contain_the_estimate(seed: int) -> None:
    results = results_of(make_pictures(seed=seed))
    metrics = results.metrics()
    bounds = results.intervals(draws=300)
    assert set(bounds) == set(INTERVAL_NAMES)
    for name, (low, high) in bounds.items():
        assert 0 <= low < high <= 1 + 1e-9
        assert low <= metrics[name] <= high, name


def test_intervals_are_percentiles_of_the_draws() -> None:
    results = results_of(make_pictures())
    drawn = results.bootstrap(200, 5)
    for name, (low, high) in results.intervals(200, 5).items():
        assert (low, high) == pytest.approx((np.percentile(drawn[name], 2.5), np.percentile(drawn[name], 97.5)))


def test_more_images_make_intervals_narrower() -> None:
    def width(times: int) -> float:
        groups = [("", "good", 8 * times), ("", "dent", 8 * times)]
        low, high = results_of(make_pictures(groups)).intervals(300)["pixel_auroc"]
        return high - low

    assert width(9) < 0.6 * width(1)


def test_the_same_images_have_the_same_draws() -> None:
    pictures = make_pictures()
    one = results_of(pictures)
    normal, defective = [p for p in pictures if not p.defective], [p for p in pictures if p.defective]
    other = results_of([*normal[::-1], *defective[::-1]])  # as another run may have them
    for image in other.images.values():
        image.score = 2 * image.score + 1  # its scores differ, but not their order
    for seed in (0, 1):
        a, b = one.bootstrap(50, seed), other.bootstrap(50, seed)
        for name in INTERVAL_NAMES:
            np.testing.assert_allclose(a[name], b[name], atol=1e-6)
    assert (one.bootstrap(50, 0)["image_auroc"] != one.bootstrap(50, 1)["image_auroc"]).any()


@pytest.mark.parametrize("groups", [[("", "good", 3)], [("", "dent", 3)]])
def test_one_class_has_no_intervals(groups: list[tuple[str, str, int]]) -> None:
    results = results_of(make_pictures(groups))
    assert results.bootstrap(10) == {} and results.intervals(10) == {}
    assert "bootstrap" not in results.report()
