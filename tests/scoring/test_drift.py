"""Drift by hand: shares of unusual images, where they are unusual, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_segad.scoring.drift import Drift, measure_drift, quartiles

NORMALS = np.stack([np.arange(40.0), 100 + np.arange(40.0)], axis=1)  # quartiles of 40 normal images
ALONE = np.arange(40)


def test_quartiles() -> None:
    assert quartiles(np.array([0.0, 1, 2, 3, 100])) == (1, 3)


def test_images_like_the_normal_ones_do_not_drift() -> None:
    drift = measure_drift(NORMALS + 0.5, NORMALS, ALONE)
    assert drift is not None and not drift
    assert drift.share == 4 / 40  # a p-value of at most 0.1 takes at most 3 of 40 normals above: 36.5 to 39.5
    assert "no drift: 10 of 100" in str(drift)


@pytest.mark.parametrize(
    ("moved", "where", "share"),
    [([30, 0], "all over", 0.85), ([0, 30], "in places", 0.85), ([30, 30], "all over", 0.85), ([10, 10], "", 0.35)],
)
def test_where_images_are_unusual(moved: list[float], where: str, share: float) -> None:
    drift = measure_drift(NORMALS + 0.5 + np.array(moved), NORMALS, ALONE)
    assert drift is not None and (drift.where, drift.share, drift.images) == (where, share, 40)
    assert bool(drift) == bool(where)


def test_a_few_defective_images_are_no_drift() -> None:
    images = NORMALS + 0.5
    images[:15] += 1000
    drift = measure_drift(images, NORMALS, ALONE)
    assert drift is not None and not drift


@pytest.mark.parametrize(("images", "normals", "parts"), [(4, 40, 40), (40, 8, 8), (40, 40, 8), (1, 2, 2)])
def test_of_few_images_only_plain_drift_is_told(images: int, normals: int, parts: int) -> None:
    groups = np.arange(normals) % parts
    limit = 1.5 * (normals - 1)  # half of the highest above it, which is as far as that is above the median
    assert measure_drift(np.full((images, 2), limit), NORMALS[:normals], groups) is None
    drift = measure_drift(np.full((images, 2), limit + 0.01), NORMALS[:normals], groups)
    assert drift is not None and (drift.where, drift.share) == ("all over", 1)


@pytest.mark.parametrize(("images", "normals"), [(3, 0), (3, 1), (0, 3)])
def test_nothing_to_tell_from(images: int, normals: int) -> None:
    assert measure_drift(NORMALS[:images] + 1000, NORMALS[:normals], ALONE[:normals]) is None


@pytest.mark.parametrize(
    ("brightness", "sharpness", "words"),
    [
        (0.75, 1.1, "darker (0.75 times)."),
        (1.2, 0.5, "brighter (1.2 times) and less sharp (0.5 times)."),
        (1.01, 1.4, "they are sharper (1.4 times)."),
    ],
)
def test_words(brightness: float, sharpness: float, words: str) -> None:
    text = str(Drift(0.9, 20, "all over", brightness, sharpness))
    assert text.startswith("Drift: 90 of 100 scored images are all over less like") and words in text
    assert "they are" not in str(Drift(0.9, 20, "in places"))
