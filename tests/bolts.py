"""Drawn parts whose angle is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

GOOD = 10
"""Bolts that ``save_bolts`` draws without a mark; two with one follow."""

ANGLES: list[float] = np.random.default_rng(5).uniform(0, 360, GOOD + 2).tolist()

GROUND, HEAD, SHAFT, MARK = 180, 40, 70, (250, 10, 10)


def bolt(angle: float, centre: tuple[int, int] = (150, 140), size: tuple[int, int] = (300, 280)) -> np.ndarray:
    """A bolt on a plain ground, its head at the angle 0 to the left, with a red mark on the shaft near its end."""
    picture = np.full((size[1], size[0], 3), GROUND, np.uint8)
    turn = np.deg2rad(angle)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])

    def box(x0: float, y0: float, x1: float, y1: float, colour: object) -> None:
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) @ axes + centre
        cv2.fillPoly(picture, [np.rint(corners).astype(np.int32)], colour)

    box(-90, -30, -50, 30, (HEAD,) * 3)
    box(-50, -12, 80, 12, (SHAFT,) * 3)
    box(50, -8, 66, 8, MARK)
    return picture


def red(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 0] > 150) & (picture[..., 1] < 90)


def save_bolts(folder: Path) -> list[Path]:
    """Save pictures of bolts at any angle, with some noise."""
    paths = [folder / f"{i:02}.png" for i in range(len(ANGLES))]
    for i, (path, angle) in enumerate(zip(paths, ANGLES, strict=True)):
        picture = bolt(angle)
        if i < GOOD:
            picture[red(picture)] = SHAFT
        noisy = picture + np.random.default_rng(i).normal(0, 3, (280, 300, 1))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
    return paths
