"""Grey pictures, some with a red square, some with a blue bar, whose regions are of two kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

import fiftyone_segad as segad

GOOD, EACH = 6, 5
RED, BLUE, GREEN = (250, 20, 20), (20, 20, 250), (20, 250, 20)


def save_picture(path: Path, seed: int, colour: tuple[int, int, int] | None, bar: bool = False) -> Path:
    """Save a picture of noise, 96 px, with a square or a bar of a colour at a place of the grid of 8 x 8 cells."""
    random = np.random.default_rng(seed)
    pixels = random.integers(105, 135, (96, 96, 3), dtype=np.uint8)
    row, column = random.integers(1, 5, 2) * 12
    height, width = (12, 36) if bar else (24, 24)
    if colour is not None:
        patch = random.integers(-12, 13, (height, width, 3)) + colour
        pixels[row : row + height, column : column + width] = np.clip(patch, 0, 255)
    Image.fromarray(pixels).save(path)
    return path


def make_kinds(dataset_of: Callable[..., fo.Dataset], folder: Path) -> fo.Dataset:
    """Make six good pictures, tagged ``good``, five red squares and five blue bars, by their ``kind``."""
    kinds: list[tuple[str, Any, bool]] = [("good", None, False)] * GOOD
    kinds += [("red", RED, False)] * EACH + [("blue", BLUE, True)] * EACH
    paths = [save_picture(folder / f"{i}.png", i, colour, bar) for i, (_, colour, bar) in enumerate(kinds)]
    dataset = dataset_of(paths)
    dataset.set_values("kind", [kind for kind, _, _ in kinds])
    dataset.limit(GOOD).tag_samples("good")
    return dataset


def add_picture(dataset: fo.Dataset, path: Path, colour: tuple[int, int, int], bar: bool = False) -> fo.Sample:
    """Add a picture that comes later."""
    sample = fo.Sample(save_picture(path, 1000 + len(dataset), colour, bar), kind="later")
    dataset.add_sample(sample)
    return sample


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    settings = {"reference": dataset.match_tags("good"), "segments": "grid:8", "threshold": 0.05}
    return segad.compute_segment_anomalies(dataset.skip(GOOD), **{**settings, **options})


def kinds_by_family(dataset: fo.Dataset, families: segad.Families) -> dict[str, set[str]]:
    """The kinds of the pictures of each family's regions."""
    kinds = dict(zip(*dataset.values(["id", "kind"]), strict=True))
    return {family.label: {kinds[id] for id in family.sample_ids} for family in families.families}
