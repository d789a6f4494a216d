"""Scores of several levels on one scale, and their fusion."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.embedders.base import Level
from fiftyone_segad.scoring.levels import MAP_SIDE, LevelScores, ScoreNormalizer, fit_normalizer, fuse
from fiftyone_segad.segments.boxes import grid, patch_grid

SIZE = (320, 240)
PLAIN, POSITIONAL = Level("plain"), Level("positional", positional=True)
NEUTRAL = ScoreNormalizer(0, 1, np.ones((MAP_SIDE, MAP_SIDE), np.float32))


def random_images(count: int, seed: int = 0, n: int = 16) -> list[LevelScores]:
    """Scores of images that differ, around 5."""
    random = np.random.default_rng(seed)
    segments = patch_grid(SIZE, n, n)
    return [
        (segments, (random.uniform(4, 5) + random.exponential(0.5, n * n)).astype(np.float32)) for _ in range(count)
    ]


def with_border(count: int, border: float, n: int = 16) -> list[LevelScores]:
    """Scores of 1, but for the columns at the left, which are usually high."""
    scores = np.ones((n, n), np.float32)
    scores[:, :3] = border
    return [(patch_grid(SIZE, n, n), scores.ravel()) for _ in range(count)]


@pytest.mark.parametrize("level", [PLAIN, POSITIONAL])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_0_is_usual_and_1_the_peak_of_a_usual_image(level: Level, count: int) -> None:
    images = random_images(count)
    normalizer = fit_normalizer(level, images)
    scaled = [normalizer(image) for image in images]
    assert scaled[0].dtype == np.float32 and scaled[0].shape == (256,)
    assert np.median([scores.mean() for scores in scaled]) == pytest.approx(0, abs=1e-5)
    assert np.median([scores.max() for scores in scaled]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("level", [PLAIN, POSITIONAL])
def test_the_unit_of_the_scores_does_not_matter(level: Level) -> None:
    images = random_images(5)
    millionths = [(segments, scores * np.float32(1e-6)) for segments, scores in images]
    expected = fit_normalizer(level, images)(images[0])
    # Spreads below 1e-6 count as none, so that these are still above
    np.testing.assert_allclose(fit_normalizer(level, millionths)(millionths[0]), expected, atol=1e-3)


def test_equal_scores_are_all_usual() -> None:
    images = [(patch_grid(SIZE, 4, 4), np.full(16, 3, np.float32))] * 3
    for level in (PLAIN, POSITIONAL):
        np.testing.assert_allclose(fit_normalizer(level, images)(images[0]), 0, atol=1e-5)


def test_damping_only_where_usual_scores_are_high() -> None:
    damping = fit_normalizer(POSITIONAL, with_border(20, 9)).damping
    assert damping.shape == (MAP_SIDE, MAP_SIDE)
    assert damping.min() == 1
    # The border is 3 of 16 columns; the map is smoothed over a few cells
    assert (damping[:, :5] > 1.2).all() and (damping[:, 12:] == 1).all()
    assert (np.diff(damping, axis=1) <= 1e-6).all()
    np.testing.assert_allclose(damping, np.tile(damping[0], (MAP_SIDE, 1)), rtol=1e-5)  # rows are alike


def test_damping_is_smoothed_by_a_gaussian_of_one_cell() -> None:
    usual = np.ones((MAP_SIDE, MAP_SIDE), np.float32)
    usual[16, 10] += 500  # one cell of the map, far from its border
    image = (grid((320, 320), MAP_SIDE), usual.ravel())
    damping = fit_normalizer(POSITIONAL, [image] * 30).damping
    gaussian = np.exp(-0.5 * np.arange(-4, 5) ** 2)
    gaussian /= gaussian.sum()
    smooth = 1 + 500 * np.outer(gaussian, gaussian)
    excess = np.maximum(smooth / usual.mean(), 1)
    np.testing.assert_allclose(damping[12:21, 6:15], excess ** (0.5 * 30 / 40), rtol=1e-3)
    assert (damping[:12] == 1).all() and (damping[:, 15:] == 1).all()


def test_damping_tends_to_the_square_root_of_the_excess() -> None:
    images = with_border(1000, 9)
    mean = (3 * 9 + 13 * 1) / 16
    assert fit_normalizer(POSITIONAL, images).damping[:, 0] == pytest.approx((9 / mean) ** 0.5, rel=0.05)


def test_damping_is_weak_with_few_images() -> None:
    peaks = [float(fit_normalizer(POSITIONAL, with_border(count, 9)).damping.max()) for count in (1, 3, 10, 100)]
    assert peaks == sorted(peaks) and peaks[0] < 1.1 < peaks[-1]
    full = peaks[-1] ** (110 / 100)
    np.testing.assert_allclose(peaks, [full ** (n / (n + 10)) for n in (1, 3, 10, 100)], rtol=1e-4)


def test_no_damping_where_the_level_is_not_positional() -> None:
    assert (fit_normalizer(PLAIN, with_border(20, 9)).damping == 1).all()


def test_damping_lowers_what_is_usual_but_not_what_is_not() -> None:
    images = with_border(50, 9)
    normalizer = fit_normalizer(POSITIONAL, images)
    segments, scores = images[0]
    odd = scores.copy()
    odd[8 * 16 + 12] = 9  # as high as the border, where that is not usual
    scaled = normalizer((segments, odd)).reshape(16, 16)
    assert scaled[8, 12] > 1.3 * scaled[:, :3].max()
    undamped = fit_normalizer(PLAIN, images)((segments, odd)).reshape(16, 16)
    assert undamped[8, 12] == undamped[:, :3].max()


def test_factors_are_those_of_the_place_of_a_segment() -> None:
    damping = (1 + np.arange(MAP_SIDE)[None] + 100 * np.arange(MAP_SIDE)[:, None]).astype(np.float32)
    segments = patch_grid((640, 320), MAP_SIDE, MAP_SIDE)
    factors = ScoreNormalizer(0, 1, damping).factors(segments).reshape(MAP_SIDE, MAP_SIDE)
    # But for the border, where boxes are cut, segments are centred on the cells of the map
    np.testing.assert_allclose(factors[1:-1, 1:-1], damping[1:-1, 1:-1], rtol=1e-5)
    scores = np.ones(MAP_SIDE * MAP_SIDE, np.float32)
    scaled = ScoreNormalizer(0, 1, damping)((segments, scores))
    np.testing.assert_allclose(scaled, 1 / factors.ravel(), rtol=1e-5)


@pytest.mark.parametrize("level", [PLAIN, POSITIONAL])
def test_a_defective_image_among_many_hardly_changes_the_scale(level: Level) -> None:
    images = random_images(21)
    segments, scores = images[3]
    defective = scores.copy()
    defective.reshape(16, 16)[4:9, 5:11] += 100
    without = fit_normalizer(level, images)
    among = fit_normalizer(level, [*images[:3], (segments, defective), *images[4:]])
    assert among.centre == pytest.approx(without.centre, rel=0.02)
    assert among.scale == pytest.approx(without.scale, rel=0.1)
    np.testing.assert_allclose(among.damping, without.damping, rtol=0.05)
    assert among((segments, defective)).max() > 20  # and it stands out


def test_error_without_images() -> None:
    with pytest.raises(ValueError, match="needs scored images"):
        fit_normalizer(PLAIN, [])


def test_fused_scores_are_the_weighted_mean() -> None:
    segments = patch_grid(SIZE, 6, 8)
    random = np.random.default_rng(1)
    first, second = random.random((2, 48)).astype(np.float32)
    levels = [Level("a", weight=3), Level("b", weight=1)]
    normalizers = [ScoreNormalizer(0.5, 2, NEUTRAL.damping), ScoreNormalizer(-1, 0.25, NEUTRAL.damping * 2)]
    finest, fused = fuse(levels, [(segments, first), (segments, second)], normalizers)
    assert finest is segments and fused.dtype == np.float32
    expected = 0.75 * (first - 0.5) / 2 + 0.25 * (second / 2 + 1) / 0.25
    np.testing.assert_allclose(fused, expected, rtol=1e-5, atol=1e-6)


def test_one_level_is_only_scaled() -> None:
    image = random_images(1)[0]
    normalizer = ScoreNormalizer(2, 3, NEUTRAL.damping)
    np.testing.assert_allclose(fuse([Level("a", weight=7)], [image], [normalizer])[1], normalizer(image), rtol=1e-6)


def ramp(boxes: NDArray[np.int64]) -> NDArray[np.float32]:
    """A score that grows linearly with the place of a segment."""
    x, y = (boxes[:, :2] + boxes[:, 2:]).T / 2
    return (0.01 * x - 0.03 * y + 2).astype(np.float32)


@pytest.mark.parametrize("coarse_first", [False, True])
def test_a_ramp_of_a_coarse_level_stays_a_ramp_on_the_finest_grid(coarse_first: bool) -> None:
    fine, coarse = patch_grid(SIZE, 24, 32), patch_grid(SIZE, 6, 8)
    scored = [(fine, np.zeros(len(fine), np.float32)), (coarse, ramp(coarse.boxes))]
    if coarse_first:
        scored.reverse()
    finest, fused = fuse([Level("a"), Level("b")], scored, [NEUTRAL, NEUTRAL])
    assert finest is fine
    # Beyond the centres of the outermost coarse segments there is nothing to interpolate between
    x, y = np.clip(
        (fine.boxes[:, :2] + fine.boxes[:, 2:]) / 2,
        (coarse.boxes[0, :2] + coarse.boxes[0, 2:]) / 2,
        (coarse.boxes[-1, :2] + coarse.boxes[-1, 2:]) / 2,
    ).T
    np.testing.assert_allclose(fused, (0.01 * x - 0.03 * y + 2) / 2, atol=1e-4)


def test_a_defect_is_fused_at_its_place() -> None:
    fine, coarse = patch_grid(SIZE, 32, 32), patch_grid(SIZE, 8, 8)
    low, high = np.zeros((8, 8), np.float32), np.zeros((32, 32), np.float32)
    low[2, 5] = 1  # row 2 of 8, column 5 of 8
    high[10, 21] = 1  # within that
    _, fused = fuse([Level("a"), Level("b")], [(fine, high.ravel()), (coarse, low.ravel())], [NEUTRAL, NEUTRAL])
    grid = fused.reshape(32, 32)
    assert np.unravel_index(grid.argmax(), grid.shape) == (10, 21)
    # The coarse score fades out towards the centres of its neighbours, at rows 6 and 14, columns 18 and 26
    assert (grid[:5] == 0).all() and (grid[15:] == 0).all() and (grid[:, :17] == 0).all() and (grid[:, 27:] == 0).all()
