"""The levels of a run: what is fitted to them is stored, and gives the same when it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fiftyone_segad.embedders.base import Level, Patches, normalize
from fiftyone_segad.scoring.levels import LevelScorer, LevelScores, fit_projection
from fiftyone_segad.segments.boxes import Segments, patch_grid
from fiftyone_segad.storage.store import RunStore

LEVELS = (
    Level("fine", weight=2, components=3, whiten=True, positional=True),
    Level("by cosine"),
    Level("coarse", components=64, positional=True),
)
GRIDS: tuple[Segments, ...] = tuple(patch_grid((96, 80), n, n) for n in (8, 5, 4))


def patches(seed: int) -> list[Patches]:
    """Features of one image, of 6, 9 and 5 numbers a segment."""
    random = np.random.default_rng(seed)
    widths = (6, 9, 5)
    return [
        Patches(segments, random.normal(3, 2, (len(segments), width)).astype(np.float32))
        for segments, width in zip(GRIDS, widths, strict=True)
    ]


def scored(seed: int) -> list[LevelScores]:
    random = np.random.default_rng(seed)
    return [(segments, random.random(len(segments)).astype(np.float32)) for segments in GRIDS]


@pytest.fixture
def fitted() -> LevelScorer:
    levels = LevelScorer(LEVELS)
    levels.fit([patches(seed) for seed in range(4)], seed=0)
    levels.fit_normalizers([scored(seed) for seed in range(5)])
    return levels


def test_round_trip(fitted: LevelScorer, tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run", {})
    assert store.levels() == {}
    store.save_levels(fitted.arrays())
    again = LevelScorer(LEVELS, RunStore(store.folder).levels())
    assert not again.needs_fit and again.arrays().keys() == fitted.arrays().keys()
    for features, expected in zip(again.transform(patches(9)), fitted.transform(patches(9)), strict=True):
        np.testing.assert_array_equal(features, expected)
    np.testing.assert_array_equal(again.fuse(scored(9))[1], fitted.fuse(scored(9))[1])


def test_components_can_be_stored_before_there_is_a_scale(tmp_path: Path) -> None:
    levels = LevelScorer(LEVELS)
    levels.fit([patches(0)], seed=0)
    store = RunStore.create(tmp_path / "run", {})
    store.save_levels(levels.arrays())
    again = LevelScorer(LEVELS, store.levels())
    assert not again.needs_fit
    np.testing.assert_array_equal(again.transform(patches(1))[0], levels.transform(patches(1))[0])
    again.fit_normalizers([scored(seed) for seed in range(5)])
    levels.fit_normalizers([scored(seed) for seed in range(5)])
    np.testing.assert_array_equal(again.fuse(scored(9))[1], levels.fuse(scored(9))[1])


def test_features_are_components_or_of_length_one(fitted: LevelScorer) -> None:
    image = patches(7)
    fine, by_cosine, coarse = fitted.transform(image)
    images = [patches(seed) for seed in range(4)]
    of_fine = fit_projection(np.concatenate([image_patches[0].features for image_patches in images]), 3, whiten=True)
    of_coarse = fit_projection(
        np.concatenate([image_patches[2].features for image_patches in images]), 64, whiten=False
    )
    half = 2**-11  # components are rounded to half precision, by half a unit of the last of 11 bits
    np.testing.assert_allclose(fine, of_fine(image[0].features), rtol=1.01 * half, atol=1e-7)
    np.testing.assert_array_equal(by_cosine, normalize(image[1].features))
    np.testing.assert_allclose(coarse, of_coarse(image[2].features), rtol=1.01 * half, atol=1e-7)
    for rows in (fine, coarse):
        np.testing.assert_array_equal(rows.astype(np.float16).astype(np.float32), rows)  # stored without loss
    assert (fine.shape, coarse.shape) == ((64, 3), (16, 5))


def test_fused_scores_have_one_scale(fitted: LevelScorer) -> None:
    images = [fitted.fuse(scored(seed)) for seed in range(5)]
    assert all(segments is GRIDS[0] for segments, _ in images)
    # Each level is 0 on average and at most about 1 on these images, and so is their mean
    assert abs(np.mean([scores.mean() for _, scores in images])) < 0.15
    assert 0.3 < np.mean([scores.max() for _, scores in images]) < 1.1


@pytest.mark.parametrize(
    ("levels", "needs_fit", "has_common_scale"),
    [
        pytest.param([Level("a")], False, False, id="one by cosine"),
        pytest.param([Level("a", components=2)], True, True, id="one by components"),
        pytest.param([Level("a"), Level("b")], False, True, id="two by cosine"),
        pytest.param([Level("a"), Level("b", components=2)], True, True, id="mixed"),
    ],
)
def test_what_levels_need(levels: list[Level], needs_fit: bool, has_common_scale: bool) -> None:
    scorer = LevelScorer(levels)
    assert (scorer.needs_fit, scorer.has_common_scale) == (needs_fit, has_common_scale)
    assert scorer.arrays() == {}
    scorer.fit([patches(0)[: len(levels)]], seed=0)
    assert not scorer.needs_fit
    assert sorted(scorer.arrays()) == sorted(
        f"{name}{i}" for i, level in enumerate(levels) if level.components for name in ("mean", "matrix")
    )


def test_one_level_by_cosine_stays_distances() -> None:
    image = scored(1)[:1]
    assert LevelScorer([Level("a")]).fuse(image) is image[0]


def test_many_rows_are_sampled_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fiftyone_segad.scoring.levels._FIT_ROWS", 100)
    images = [patches(seed) for seed in range(4)]  # 256 rows of the first level

    def matrix(seed: int) -> list[list[float]]:
        levels = LevelScorer(LEVELS)
        levels.fit(images, seed)
        return levels.arrays()["matrix0"].tolist()

    assert matrix(1) == matrix(1) != matrix(2)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_error_of_features_that_are_not_finite(fitted: LevelScorer, level: int, value: float) -> None:
    image = patches(3)
    image[level].features[2, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        fitted.transform(image)
    if LEVELS[level].components is not None:
        with pytest.raises(ValueError, match="finite"):
            LevelScorer(LEVELS).fit([patches(0), image], seed=0)
