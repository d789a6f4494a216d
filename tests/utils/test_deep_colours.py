"""Colours of 16 bits: both bytes are read, whatever the file, and one scale for all channels keeps their hue."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fiftyone_segad.utils.deep_colours import has_deep_colours
from fiftyone_segad.utils.grey_scale import FULL_RANGE, GreyScale
from fiftyone_segad.utils.images import find_scale, open_image, read_image
from fiftyone_segad.utils.masks import read_mask_pixels

COLOURS = np.random.default_rng(3).integers(0, 256, (40, 50, 3)).astype(np.uint8)
COLOURS[0, 0], COLOURS[0, 1] = 0, 255
FILES: dict[str, list[int]] = {
    "a.png": [],
    "plain.tif": [cv2.IMWRITE_TIFF_COMPRESSION, 1],
    "packed.tif": [cv2.IMWRITE_TIFF_COMPRESSION, 5],
    "a.ppm": [],
}


def save(path: Path, values: NDArray[Any], options: list[int] | None = None) -> str:
    """Save 16-bit values, which OpenCV takes as blue, green, red."""
    order = [2, 1, 0, 3][: values.shape[2]]
    assert cv2.imwrite(str(path), values[..., order].astype(np.uint16), options or [])
    return str(path)


def png(path: Path, values: NDArray[Any], kind: int, extra: bytes = b"") -> str:
    """Save 16-bit values as a PNG of a kind of colours: 2 for red, green, blue, 4 for grey with opacity."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = values.shape[:2]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + (chunk(b"tRNS", extra) if extra else b"") + data)
    return str(path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("shift", [0, 2, 4])
def test_few_bits_in_16_become_what_they_were(tmp_path: Path, name: str, shift: int) -> None:
    path = save(tmp_path / name, COLOURS.astype(int) << shift, FILES[name])
    scale = find_scale([path])
    assert scale == GreyScale(0, (256 << shift) - 1)
    np.testing.assert_array_equal(read_image(path, scale), COLOURS)


@pytest.mark.parametrize("name", FILES)
def test_colours_of_all_bits_are_read_as_without_a_scale(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, np.random.default_rng(1).integers(2000, 60_000, (200, 300, 3)), FILES[name])
    assert find_scale([path]) == FULL_RANGE


def test_one_scale_for_all_channels(tmp_path: Path) -> None:
    """A reddish image stays reddish."""
    values = np.tile(np.arange(1024), (64, 1))[..., None] // [1, 2, 4]
    path = save(tmp_path / "a.png", values)
    np.testing.assert_array_equal(read_image(path, find_scale([path])), values // 4)


def test_rows_of_a_large_image_fit_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fiftyone_segad.utils.images._PIXELS_AT_ONCE", 70)
    path = save(tmp_path / "a.png", COLOURS.astype(int) * 4)
    np.testing.assert_array_equal(read_image(path, find_scale([path])), COLOURS)


def test_both_bytes_are_turned_as_exif_says(tmp_path: Path) -> None:
    plain = save(tmp_path / "plain.png", COLOURS.astype(int) * 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    content, data = Path(plain).read_bytes(), exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    (tmp_path / "turned.png").write_bytes(content[:33] + chunk + content[33:])
    path = str(tmp_path / "turned.png")
    np.testing.assert_array_equal(read_image(path, find_scale([path])), np.rot90(COLOURS, -1))


def test_what_is_not_drawn_is_black(tmp_path: Path) -> None:
    """By opacity, beside grey too, and by the one colour that is named as clear."""
    opaque = np.full((40, 50, 1), 65_535)
    opaque[:, :10] = 0
    expected = COLOURS.copy()
    expected[:, :10] = 0
    scale = GreyScale(0, 1023)
    path = save(tmp_path / "a.png", np.concatenate([COLOURS.astype(int) * 4, opaque], axis=2))
    np.testing.assert_array_equal(read_image(path, scale), expected)
    grey = np.concatenate([COLOURS[..., :1].astype(int) * 4, opaque], axis=2)
    path = png(tmp_path / "grey.png", grey, 4)
    np.testing.assert_array_equal(read_image(path, scale), np.repeat(expected[..., :1], 3, axis=2))
    values = np.full((2, 2, 3), 1020)
    values[0, 0], values[0, 1] = (4, 8, 260), (260, 8, 260)  # the second shares the low bytes of the first
    path = png(tmp_path / "clear.png", values, 2, struct.pack(">HHH", 4, 8, 260))
    assert read_image(path, scale).tolist() == [[[0, 0, 0], [65, 2, 65]], [[255, 255, 255], [255, 255, 255]]]


def test_file_in_memory() -> None:
    _, content = cv2.imencode(".png", (COLOURS[..., ::-1].astype(np.uint16) * 4))
    file = io.BytesIO(content.tobytes())
    np.testing.assert_array_equal(read_image(file, find_scale([file])), COLOURS)


@pytest.mark.parametrize(("kind", "deep"), [(np.uint8, False), (np.uint16, True)])
def test_only_16_bits_are_deep(tmp_path: Path, kind: type, deep: bool) -> None:
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, COLOURS.astype(kind))
    with open_image(path) as image:
        assert has_deep_colours(image) == deep


def test_masks_of_few_bits_are_not_black(tmp_path: Path) -> None:
    values = np.zeros((20, 30, 3), int)
    values[5:10, 5:12] = 255
    pixels = read_mask_pixels(save(tmp_path / "mask.png", values))
    np.testing.assert_array_equal(pixels.values, values)
    pixels = read_mask_pixels(save(tmp_path / "wide.png", values * 257))
    np.testing.assert_array_equal(pixels.values, values)
