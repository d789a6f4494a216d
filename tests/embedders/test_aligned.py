"""Parts turned to one angle: drawn ones, whose angle is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bolts import GROUND, bolt, red
from fiftyone_segad.embedders.aligned import AlignedEmbedder, align, map_boxes_back


@pytest.mark.parametrize("angle", [0, 20, 90, 135, 200, 333])
def test_parts_are_shown_alike_whatever_their_angle(angle: float) -> None:
    upright, turned = align(bolt(0)), align(bolt(angle, centre=(160, 130)))
    height, width = upright.pixels.shape[:2]
    np.testing.assert_allclose(turned.pixels.shape[:2], (height, width), atol=8)
    both = [cv2.resize(aligned.pixels, (200, 100)).astype(int) for aligned in (upright, turned)]
    assert np.abs(both[0] - both[1]).mean() < 8
    assert red(turned.pixels).any() and np.nonzero(red(turned.pixels))[1].mean() > 0.6 * width, "the head is left"
    assert np.abs(turned.pixels[0].astype(int) - GROUND).max() <= 1, "nothing but ground above it"


@pytest.mark.parametrize("angle", [0, 20, 90, 250])
def test_boxes_go_back_to_where_they_were(angle: float) -> None:
    picture = bolt(angle)
    aligned = align(picture)
    y, x = np.nonzero(red(aligned.pixels))
    [(x0, y0, x1, y1)] = map_boxes_back(
        aligned.back, np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]]), (300, 280)
    )
    y, x = np.nonzero(red(picture))
    # A turned box is inside the upright box around it
    assert x0 - 3 <= x.min() and x.max() <= x1 + 3 and y0 - 3 <= y.min() and y.max() <= y1 + 3
    assert (x0 + x1) / 2 == pytest.approx(x.mean(), abs=4) and (y0 + y1) / 2 == pytest.approx(y.mean(), abs=4)


def test_dirt_beside_the_part_is_gone() -> None:
    picture = bolt(30)
    picture[10:22, 10:22] = 0
    np.testing.assert_array_equal(align(picture).pixels, align(bolt(30)).pixels)


def test_boxes_are_clipped() -> None:
    boxes = map_boxes_back(np.eye(2, 3), np.array([[-5, 2, 8, 90]]), (6, 60))
    np.testing.assert_array_equal(boxes, [[0, 2, 6, 60]])


@pytest.mark.parametrize("kind", ["blank", "uneven"])
def test_images_without_a_part_on_a_ground(kind: str) -> None:
    picture = np.full((60, 80, 3), 90, np.uint8)
    if kind == "uneven":
        picture = np.repeat(np.linspace(0, 255, 80).astype(np.uint8)[None, :, None], 60, axis=0).repeat(3, axis=2)
    with pytest.raises(ValueError, match="no part on a plain ground"):
        align(picture)


def test_the_embedder_gets_the_turned_part() -> None:
    class Inner:
        name, identity, levels = "inner", "inner-1", ()
        closed = False

        def patches(self, image: np.ndarray) -> list[np.ndarray]:
            return [image]

        def close(self) -> None:
            self.closed = True

    inner = Inner()
    with AlignedEmbedder(inner) as embedder:
        np.testing.assert_array_equal(embedder.patches(bolt(70))[0], align(bolt(70)).pixels)
        assert embedder.identity != inner.identity, "its features are others"
    assert inner.closed
