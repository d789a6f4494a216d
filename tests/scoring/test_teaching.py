"""What marked defects teach: a direction that is found, a scale that normal images set, and honest calibration."""

from __future__ import annotations

import numpy as np

from fiftyone_segad.embedders.base import Level
from fiftyone_segad.scoring.levels import LevelScorer
from fiftyone_segad.scoring.teaching import DefectModel, fit_defects, peak, scaling, weight_of
from fiftyone_segad.segments.boxes import patch_grid


def rows(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Draw rows ``[count, 6]`` whose first component has a tenth of the spread of the others, and a shift."""
    values = np.random.default_rng(seed).normal(size=(count, 6)) * [0.1, 1, 1, 1, 1, 1]
    values[:, 0] += shift
    return values.astype(np.float32)


def test_a_direction_of_little_spread_is_found() -> None:
    model = fit_defects([rows(5, 1, 1.0), rows(30, 2, 1.0)], rows(500, 3), [4, 2])
    weights = np.concatenate(model.weights)
    assert np.abs(weights).argmax() == 0 and weights[0] > 0
    assert [len(values) for values in model.weights] == [4, 2]


def test_a_marked_image_counts_once_however_large_its_region_is() -> None:
    small, large, normal = rows(4, 1, 1.0), rows(4, 2, -1.0), rows(500, 3)
    once = fit_defects([small, large], normal, [6])
    many = fit_defects([small, np.tile(large, (50, 1))], normal, [6])
    np.testing.assert_allclose(many.weights[0], once.weights[0], rtol=1e-4, atol=1e-5)


def test_levels_add_up_on_the_finest_grid() -> None:
    fine, coarse = patch_grid((64, 64), 4, 4), patch_grid((64, 64), 2, 2)
    model = DefectModel([np.array([1, 0], np.float32), np.array([0, 10], np.float32)], bias=0.5)
    fine_rows, coarse_rows = np.zeros((16, 2), np.float32), np.ones((4, 2), np.float32)
    fine_rows[7, 0] = 3
    expected = np.full(16, 10.5)
    expected[7] += 3
    np.testing.assert_allclose(model.likeness([fine_rows, coarse_rows], [fine, coarse]), expected)


def test_the_scale_of_likeness_is_that_of_the_scores_of_normal_images() -> None:
    """A high normal image (quantile .9) is as high in likeness as a usual one is in the scores."""
    centre, scale, score_scale = scaling([(1.0, 3.0)] * 9 + [(1.0, 5.0)] * 3, [(10.0, 14.0)] * 12)
    assert (centre, scale, score_scale) == (1, 4, 4)
    model = DefectModel([np.ones(1, np.float32)], 0.0).scaled(centre, scale, score_scale, 0.5)
    segments = patch_grid((2, 1), 1, 2)
    np.testing.assert_allclose(model.taught([np.array([[1], [5]], np.float32)], [segments]), [0, 2])


def test_evidence_grows_with_the_images_and_is_bounded() -> None:
    weights = [weight_of(images) for images in range(100)]
    assert weights[0] == 0 and (np.diff(weights) > 0).all() and weights[-1] < 0.45


def test_a_scorer_keeps_what_was_learnt_and_scores_as_before_without() -> None:
    levels, segments = [Level("tiles")], patch_grid((64, 64), 4, 4)
    scored = [(segments, np.linspace(0, 1, 16, dtype=np.float32))]
    scorer = LevelScorer(levels)
    assert scorer.arrays() == {}
    np.testing.assert_array_equal(scorer.score(scored, [rows(16, 0)])[1], scored[0][1])
    scorer.defects = fit_defects([rows(9, 1, 1.0)], rows(500, 3), [6]).scaled(0.0, 2.0, 0.5, 0.2)
    again = LevelScorer(levels, scorer.arrays())
    taught = scorer.score(scored, [rows(16, 0, 1.0)])[1]
    np.testing.assert_array_equal(again.score(scored, [rows(16, 0, 1.0)])[1], taught)
    assert (taught > scored[0][1]).all()


def test_normal_images_that_a_model_has_seen_look_better_than_others_and_cross_fitting_repairs_it() -> None:
    """With as few rows as components a model separates all that it has seen; thresholds would be far too low."""
    random = np.random.default_rng(5)
    images = [random.normal(size=(8, 60)) for _ in range(12)]
    unseen = [random.normal(size=(8, 60)) for _ in range(60)]
    defects = [random.normal(size=(8, 60)) + 0.3]

    def peaks(model: DefectModel, of: list[np.ndarray]) -> list[float]:
        return [peak(image @ model.weights[0] + model.bias) for image in of]

    full = fit_defects(defects, np.concatenate(images), [60])
    folds = [
        fit_defects(defects, np.concatenate([image for i, image in enumerate(images) if i % 3 != fold]), [60])
        for fold in range(3)
    ]
    new = np.median(peaks(full, unseen))
    seen = np.median(peaks(full, images))
    crossed = np.median([peaks(folds[i % 3], [image])[0] for i, image in enumerate(images)])
    assert seen < new - 0.5
    assert crossed > new - (new - seen) / 4
