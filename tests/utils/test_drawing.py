"""Drawing on images: what stays visible of the image, and of what is small."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_segad.utils.drawing import outline_mask, overlay_heat, shrink_mask, tint_mask

RED, CYAN = "#ff0000", "#00dcff"


def test_hot_pixels_hide_more_of_the_image() -> None:
    image = np.full((1, 2, 3), 100, np.uint8)
    cold, hot = overlay_heat(image, np.array([[0.0, 1.0]]))[0].astype(int)
    assert cold == pytest.approx([75] * 3, abs=1), "the black end of the colours at a quarter"
    assert hot[0] > 150
    assert hot[2] < hot[0]


def test_a_mask_is_red_on_grey() -> None:
    image = np.array([[[0, 150, 0], [0, 150, 0]]], np.uint8)
    assert tint_mask(image, np.array([[False, True]]), RED).tolist() == [[[50, 50, 50], [173, 20, 20]]]


def test_the_outline_leaves_what_it_surrounds() -> None:
    image = np.full((15, 15, 3), 77, np.uint8)
    mask = np.zeros((15, 15), bool)
    mask[7, 7] = True
    result = outline_mask(image, mask, CYAN)
    assert (result[6:9, 6:9] == 77).all()
    assert (result[4:6, 4:11] == (0, 220, 255)).all()
    assert (result[3, 3:12] == 0).all()
    assert (result[:3] == 77).all()
    assert (image == 77).all(), "the image itself stays"


def test_a_single_pixel_stays_when_a_mask_shrinks_and_when_it_grows() -> None:
    mask = np.zeros((90, 60), np.uint8)
    mask[50, 10] = 255
    small = shrink_mask(mask, (7, 10))
    assert np.argwhere(small).tolist() == [[5, 1]]
    large = shrink_mask(mask, (120, 180))
    assert np.argwhere(large).tolist() == [[100, 20], [100, 21], [101, 20], [101, 21]]
