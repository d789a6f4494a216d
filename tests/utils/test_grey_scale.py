"""Grey values of more than 8 bits: one scale for many images, which loses as few of their levels as it can."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fiftyone_segad.engine.single_image import find_outlier_segments
from fiftyone_segad.utils.grey_scale import FULL_RANGE, VALUES, GreyScale
from fiftyone_segad.utils.images import SCALE_IMAGES, find_scale, read_ahead, read_image
from fiftyone_segad.utils.uploads import decode_upload

RAMP = np.tile(np.arange(1024), (64, 1))
EIGHT_BITS = np.random.default_rng(0).integers(20, 230, (40, 50)).astype(np.uint8)


def save(path: Path, values: NDArray[Any], kind: type[np.generic] = np.uint16) -> str:
    Image.fromarray(values.astype(kind)).save(path)
    return str(path)


def levels(path: str) -> int:
    return len(np.unique(read_image(path, find_scale([path]))))


@pytest.mark.parametrize(
    "values",
    [RAMP, 4 * RAMP, 16 * RAMP, 60 * RAMP, 30_000 + RAMP // 2, 64_512 + RAMP, 20_000 + 30 * RAMP],
    ids=["10 bits", "12 bits", "14 bits", "16 bits", "narrow", "at the upper end", "half of the range"],
)
def test_ramps_keep_their_levels(tmp_path: Path, values: NDArray[Any]) -> None:
    assert levels(save(tmp_path / "a.png", values)) >= 230


@pytest.mark.parametrize(("kind", "suffix"), [(np.uint16, "png"), (np.uint16, "tif"), (np.int32, "tif")])
def test_ramp_of_ten_bits(tmp_path: Path, kind: type[np.generic], suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", RAMP, kind)
    assert find_scale([path]) == GreyScale(0, 1023)
    np.testing.assert_array_equal(read_image(path, GreyScale(0, 1023)), np.repeat(RAMP[..., None] // 4, 3, axis=2))


@pytest.mark.parametrize("factor", [1, 4, 16, 256, 257])
@pytest.mark.parametrize("darker", [1, 3])
@pytest.mark.parametrize(("kind", "suffix"), [(np.uint16, "png"), (np.int32, "tif")])
def test_eight_bits_in_more_become_what_they_were(
    tmp_path: Path, factor: int, darker: int, kind: type[np.generic], suffix: str
) -> None:
    """Their own range does not count: dark images stay dark."""
    expected = EIGHT_BITS // darker
    path = save(tmp_path / f"a.{suffix}", expected.astype(int) * factor, kind)
    np.testing.assert_array_equal(read_image(path, find_scale([path]))[..., 0], expected)


def test_narrow_range_far_from_black(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", 30_000 + 2 * EIGHT_BITS.astype(int))
    scale = find_scale([path])
    assert scale.low <= 30_040 < 30_460 <= scale.high < scale.low + 512
    assert levels(path) == len(np.unique(EIGHT_BITS))


def test_full_range_is_read_as_without_a_scale(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(2000, 60_000, (200, 300))
    path = save(tmp_path / "a.png", values)
    assert find_scale([path]) == FULL_RANGE
    np.testing.assert_array_equal(read_image(path)[..., 0], values >> 8)


def test_values_outside_of_the_scale_are_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 499, 500, 755, 756, 65_535]])
    path = save(tmp_path / "a.png", values)
    assert read_image(path, GreyScale(500, 755))[0, :, 0].tolist() == [0, 0, 0, 255, 255, 255]


def test_one_scale_for_all_images(tmp_path: Path) -> None:
    """A dark image is not stretched beside a bright one, and 8-bit images are as they are."""
    dark, bright = save(tmp_path / "dark.png", RAMP // 8), save(tmp_path / "bright.png", RAMP)
    plain = save(tmp_path / "plain.png", EIGHT_BITS, np.uint8)
    scale = find_scale([plain, dark, str(tmp_path / "absent.png"), bright])
    assert scale == GreyScale(0, 1023)
    pixels = list(read_ahead([dark, plain], 1, scale))
    assert isinstance(pixels[0], np.ndarray) and pixels[0].max() == 31
    assert isinstance(pixels[1], np.ndarray)
    np.testing.assert_array_equal(pixels[1][..., 0], EIGHT_BITS)


def test_stray_pixels_do_not_darken_the_others(tmp_path: Path) -> None:
    values = RAMP.copy()
    values[5, 7] = values[40, 900] = 65_535
    assert find_scale([save(tmp_path / "a.png", values)]) == GreyScale(0, 1023)


def test_others_decide_only_where_no_image_has_more_bits(tmp_path: Path) -> None:
    plain = save(tmp_path / "plain.png", EIGHT_BITS, np.uint8)
    deep, deeper = save(tmp_path / "deep.png", RAMP), save(tmp_path / "deeper.png", 4 * RAMP)
    assert find_scale([plain], [deep]) == find_scale([deep], [deeper]) == GreyScale(0, 1023)
    assert find_scale([plain], [plain]) == find_scale([], []) == FULL_RANGE


def test_eight_bit_images_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = save(tmp_path / "plain.png", EIGHT_BITS, np.uint8)
    monkeypatch.setattr(Image.Image, "__array_interface__", property(lambda image: pytest.fail("decoded")))
    assert find_scale([plain]) == FULL_RANGE


def test_number_of_images_that_are_looked_at_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("fiftyone_segad.utils.images.open_image", opened.append)
    paths = [f"{i}.png" for i in range(1000)]
    find_scale(paths)
    assert len(opened) <= SCALE_IMAGES and {"0.png", "992.png"} <= set(opened)


def test_single_pictures_are_scaled_by_themselves(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RAMP)
    content = base64.b64encode(Path(path).read_bytes()).decode()
    expected = np.repeat(RAMP[..., None] // 4, 3, axis=2)
    np.testing.assert_array_equal(decode_upload(content), expected)
    np.testing.assert_array_equal(find_outlier_segments(path, "grid:3", "efficientnet").image, expected)


def test_scale_of_a_file_in_memory() -> None:
    file = io.BytesIO()
    Image.fromarray(RAMP.astype(np.uint16)).save(file, "PNG")
    assert find_scale([file]) == GreyScale(0, 1023)


@pytest.mark.parametrize(("low", "high"), [(-1, 5), (5, 5), (7, 5), (0, VALUES)])
def test_error_of_a_scale_that_is_none(low: int, high: int) -> None:
    with pytest.raises(ValueError, match=f"from {low} to {high} is not within 0 to 65535"):
        GreyScale(low, high)
