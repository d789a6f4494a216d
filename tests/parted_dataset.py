"""Images of parts of which some were photographed several times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
from PIL import Image

PARTS = 12
PICTURES = 3
"""Pictures of each of the first four parts; the others have one."""


def part_image(part: int, picture: int, light: float = 1.0) -> Image.Image:
    """Draw a part: a pattern of coarse squares of its own, and a little noise in each picture of it."""
    pattern = np.random.default_rng(part).integers(40, 200, (6, 6, 3)).astype(float)
    pixels = np.kron(pattern, np.ones((12, 12, 1))) * light
    noise = np.random.default_rng([part, picture]).normal(0, 4, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def make_parts(dataset_of: Callable[..., fo.Dataset], folder: Path) -> fo.Dataset:
    """Make twenty normal pictures of twelve parts, and six of other parts to score."""
    files, parts, splits = [], [], []
    for part in range(PARTS + 6):
        for picture in range(PICTURES if part < 4 else 1):
            files.append(folder / f"{part}-{picture}.png")
            part_image(part, picture).save(files[-1])
            parts.append(f"part {part}")
            splits.append("train" if part < PARTS else "test")
    return dataset_of(files, part=parts, split=splits)
