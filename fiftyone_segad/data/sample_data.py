"""A small dataset in MVTec layout, made from the real textures that ship in scikit-image (CC0).

Each texture is cut into cells without overlap. Every normal image shows a cell of its own, so that training and test
images are as alike as different photographs of one material; defects are put onto cells of the test images.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage import data, draw, transform

Array = NDArray[np.float64]

CATEGORIES = ("brick", "gravel", "grass")
TRAIN_GOOD, TEST_GOOD, PER_DEFECT = 24, 12, 4
SIDE = 256
ENLARGED = 3  # times, so that a texture of 512 px has a cell for each of the 36 normal images
VISIBLE = 0.1  # opacity from which on a pixel belongs to the defect


def make_category(folder: Path, category: str, seed: int = 0) -> None:
    """Write one category; the same seed gives the same files.

    Args:
        folder: gets ``train/good``, ``test/good``, ``test/<defect>`` and ``ground_truth/<defect>``
        category: one of ``CATEGORIES``
        seed (0): seed of the defects

    Examples:
        >>> make_category(Path("sample") / "brick", "brick")  # doctest: +SKIP
    """
    random = np.random.default_rng([seed, CATEGORIES.index(category)])
    cells = random.permutation(cut(transform.rescale(getattr(data, category)() / 255.0, ENLARGED, order=3)))
    train, test = cells[:TRAIN_GOOD], cells[TRAIN_GOOD : TRAIN_GOOD + TEST_GOOD]
    for split, part in (("train", train), ("test", test)):
        for index, cell in enumerate(part):
            save(photograph(cell, random), folder / split / "good" / f"{index:03d}.png")
    for make in DEFECTS[category]:
        name = make.__name__
        for index in range(PER_DEFECT):
            below, other = random.choice(test, 2, replace=False)
            image, opacity = make(photograph(below, random), photograph(other, random), random)
            save(image, folder / "test" / name / f"{index:03d}.png")
            save(opacity > VISIBLE, folder / "ground_truth" / name / f"{index:03d}_mask.png")


def cut(texture: Array) -> Array:
    """Cut a texture into all its cells ``[n, SIDE, SIDE]``.

    Examples:
        >>> cut(np.zeros((2 * SIDE, 3 * SIDE + 1))).shape
        (6, 256, 256)
    """
    rows, columns = (length // SIDE for length in texture.shape)
    cells = texture[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE)
    return cells.swapaxes(1, 2).reshape(-1, SIDE, SIDE)


def photograph(cell: Array, random: np.random.Generator) -> Array:
    """Show a cell, flipped or not, under slightly varying light and with a little noise; values in [0, 1]."""
    image = cell[:: random.choice([-1, 1]), :: random.choice([-1, 1])]
    across, down = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    light = 1 + random.uniform(-0.06, 0.06) + random.uniform(-0.06, 0.06) * across + random.uniform(-0.06, 0.06) * down
    return image * light + random.normal(0, 0.008, image.shape)


def scratch(image: Array, other: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Draw a thin bent line, lighter or darker than what it crosses."""
    length, angle, bend = random.uniform(60, 180), random.uniform(0, np.pi), random.uniform(-0.4, 0.4)
    steps = np.linspace(-0.5, 0.5, 300)
    direction = angle + bend * steps
    x, y = np.cumsum(np.cos(direction)) * length / 300, np.cumsum(np.sin(direction)) * length / 300
    centre = random.uniform(0.3, 0.7, 2) * SIDE
    line = np.zeros_like(image)
    x, y = x - x.mean() + centre[0], y - y.mean() + centre[1]
    inside = (x >= 0) & (x < SIDE) & (y >= 0) & (y < SIDE)
    line[y[inside].astype(int), x[inside].astype(int)] = 1
    opacity = soft(ndimage.binary_dilation(line > 0, iterations=int(random.integers(1, 3))), 0.8)
    return blend(image, np.full_like(image, random.choice([0.08, 0.92])), opacity * random.uniform(0.7, 1))


def hole(image: Array, other: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Draw a dark pit with an uneven rim."""
    opacity = soft(blob(random, random.uniform(9, 22)), 1.2)
    depth = 0.05 + 0.1 * ndimage.gaussian_filter(random.random(image.shape), 3)
    return blend(image, depth, opacity)


def stain(image: Array, other: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Draw a large patch with soft edges, darker or lighter, through which the texture shows."""
    opacity = soft(blob(random, random.uniform(25, 45)), 3)
    stained = image * random.uniform(0.45, 0.6) if random.random() < 0.7 else 0.5 + image * 0.5
    return blend(image, stained, opacity)


def displaced(image: Array, other: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Put a piece of the same texture on the image, turned and out of place."""
    opacity = soft(blob(random, random.uniform(22, 36)), 1)
    turned = transform.rotate(other, random.uniform(30, 150), mode="reflect")
    return blend(image, turned, opacity)


def missing(image: Array, other: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Take the texture away from a place, so that plain ground shows."""
    ground = ndimage.gaussian_filter(image, 12) * random.uniform(0.7, 0.9)
    return blend(image, ground, soft(blob(random, random.uniform(16, 30)), 1.5))


def foreign_object(image: Array, other: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Put a smooth round thing with a highlight on the image."""
    radii = random.uniform(10, 26, 2)
    centre = random.uniform(40, SIDE - 40, 2)
    shape = np.zeros(image.shape, bool)
    shape[draw.ellipse(*centre, *radii, shape=image.shape, rotation=random.uniform(0, np.pi))] = True
    height = ndimage.gaussian_filter(shape.astype(float), min(radii) / 2)
    shaded = np.clip(random.uniform(0.3, 0.7) + 4 * (height - np.roll(height, (3, 3), (0, 1))), 0, 1)
    return blend(image, shaded, soft(shape, 0.8))


Defect = Callable[[Array, Array, np.random.Generator], tuple[Array, Array]]

COMMON: tuple[Defect, ...] = (scratch, hole, stain, foreign_object)
DEFECTS: dict[str, tuple[Defect, ...]] = {
    "brick": (*COMMON, displaced),  # in the other textures nobody would see that a piece was turned
    "gravel": (*COMMON, missing),
    "grass": (*COMMON, missing),
}


def blob(random: np.random.Generator, radius: float) -> NDArray[np.bool_]:
    """Draw a connected shape with an uneven outline around a random place; bool ``[SIDE, SIDE]``."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = radius * (1 + 0.35 * ndimage.gaussian_filter1d(random.normal(size=40), 2, mode="wrap"))
    y, x = random.uniform(radius * 1.3, SIDE - radius * 1.3, 2)
    shape = np.zeros((SIDE, SIDE), bool)
    shape[draw.polygon(y + outline * np.sin(angles), x + outline * np.cos(angles), shape.shape)] = True
    return shape


def soft(shape: NDArray[np.bool_], width: float) -> Array:
    """Blur the edges of a shape to a width in pixels; opacity in [0, 1]."""
    softened: Array = ndimage.gaussian_filter(shape.astype(float), width)
    return softened


def blend(image: Array, above: Array, opacity: Array) -> tuple[Array, Array]:
    """Lay an image over another one; return the result and the opacity."""
    return image * (1 - opacity) + above * opacity, opacity


def save(image: Array | NDArray[np.bool_], path: Path) -> None:
    """Write values in [0, 1] as an 8-bit PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8)).save(path)
