"""Grey parts, some with the same red spot, among normal images and among those to score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
from PIL import Image


def picture(number: int, spotted: bool = False) -> Image.Image:
    """Draw a grey part with a little noise, and with the spot."""
    pixels = 120 + np.random.default_rng(number).normal(0, 5, (72, 72, 3))
    if spotted:
        pixels[24:40, 24:40] = [220, 30, 30]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def spotted_set(dataset_of: Callable[..., fo.Dataset], folder: Path, spotted: set[int]) -> fo.Dataset:
    """Make a dataset of thirty normal pictures, "100.png" on, and twenty to score, some of them with the spot."""
    files = [folder / f"{number}.png" for number in range(100, 150)]
    for number, file in enumerate(files):
        picture(100 + number, spotted=number in spotted).save(file)
    return dataset_of(files, split=["train"] * 30 + ["test"] * 20)
