"""Parts turned to one angle: drawn ones, whose angle is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bolts import GROUND, bolt, red
from fiftyone_segad.embedders.aligned import align, aligned_patches
from fiftyone_segad.embedders.base import Embedder, Level, Patches
from fiftyone_segad.segments.boxes import Segments, from_boxes, patch_grid
from fiftyone_segad.segments.turned import TurnedSegments, lay_back
from fiftyone_segad.utils.images import rotate


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
    mark = from_boxes(aligned.pixels.shape[1::-1], [[x.min(), y.min(), x.max() + 1, y.max() + 1]])
    [(x0, y0, x1, y1)] = lay_back((300, 280), mark, aligned.back).boxes
    y, x = np.nonzero(red(picture))
    # A turned box is inside the upright box around it
    assert x0 - 3 <= x.min() and x.max() <= x1 + 3 and y0 - 3 <= y.min() and y.max() <= y1 + 3
    assert (x0 + x1) / 2 == pytest.approx(x.mean(), abs=4) and (y0 + y1) / 2 == pytest.approx(y.mean(), abs=4)


def test_dirt_beside_the_part_is_gone() -> None:
    picture = bolt(30)
    picture[10:22, 10:22] = 0
    dirty, clean = align(picture), align(bolt(30))
    np.testing.assert_array_equal(dirty.pixels, clean.pixels)
    area = 60 * 60 + 130 * 24  # of head and shaft
    assert clean.share == 1 and dirty.share == pytest.approx(area / (area + 12 * 12), abs=0.01)


@pytest.mark.parametrize("kind", ["blank", "uneven"])
def test_images_without_a_part_on_a_ground(kind: str) -> None:
    picture = np.full((60, 80, 3), 90, np.uint8)
    if kind == "uneven":
        picture = np.repeat(np.linspace(0, 255, 80).astype(np.uint8)[None, :, None], 60, axis=0).repeat(3, axis=2)
    with pytest.raises(ValueError, match="no part on a plain ground"):
        align(picture)


class Pictures(Embedder):
    """Gives what it was shown, as features of a segment a pixel."""

    name, identity, levels = "pictures", "pictures", (Level("pixels"),)

    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        raise NotImplementedError

    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        height, width = image.shape[:2]
        return [Patches(patch_grid((width, height), height, width), image.reshape(-1, 3).astype(np.float32))]


def shown(patches: list[Patches]) -> NDArray[np.float32]:
    return patches[0].features.reshape(*(patches[0].segments.straight.shape or ()), 3)


@pytest.mark.parametrize("angle", [0, 180])
def test_the_embedder_gets_the_straight_part(angle: float) -> None:
    patches = aligned_patches(Pictures(), bolt(70), angle)
    straight = align(bolt(70))
    np.testing.assert_array_equal(shown(patches), rotate(straight.pixels, angle))
    segments = patches[0].segments
    assert isinstance(segments, TurnedSegments) and segments.size == (300, 280)
    np.testing.assert_array_equal(segments.back, straight.back)


@pytest.mark.parametrize("angle", [0, 180])
def test_without_a_part_it_gets_the_image(angle: float) -> None:
    picture = np.full((60, 80, 3), 90, np.uint8)
    picture[10] = 91
    patches = aligned_patches(Pictures(), picture, angle)
    np.testing.assert_array_equal(shown(patches), rotate(picture, angle))
    assert not isinstance(patches[0].segments, TurnedSegments)


@pytest.mark.parametrize("angle", [0, 35, 110])
def test_the_way_back_is_that_of_the_pixels(angle: float) -> None:
    """Each pixel of the straight part has the colour of the place that it goes back to."""
    picture = bolt(angle)
    straight = align(picture)
    places = np.argwhere(red(straight.pixels))[:, ::-1] + 0.5  # centres, x and y
    x, y = (straight.back @ np.hstack([places, np.ones((len(places), 1))]).T).astype(int)
    assert red(picture)[y, x].mean() > 0.9
    middle = red(picture).nonzero()[1].mean() + 0.5, red(picture).nonzero()[0].mean() + 0.5
    np.testing.assert_allclose(straight.back @ [*places.mean(axis=0), 1], middle, atol=0.3)
