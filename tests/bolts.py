"""Drawn parts whose angle is known."""

from __future__ import annotations

import cv2
import numpy as np

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
