"""Decoding: every kind of file becomes the RGB array that the App shows, or a named error."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from fiftyone_segad.errors import ImageError
from fiftyone_segad.utils import images
from fiftyone_segad.utils.grey_scale import GreyScale
from fiftyone_segad.utils.images import count_pixels, read_ahead, read_header, read_image
from fiftyone_segad.utils.masks import read_mask_pixels

Array = NDArray[np.uint8]

TURNS: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
"""What each EXIF orientation asks for, by the EXIF standard."""


def colours(height: int = 5, width: int = 7) -> Array:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> str:
    image.save(path, **options)
    return str(path)


def png(path: Path, width: int, height: int, depth: int, colour: int, data: bytes) -> str:
    """Writes a PNG by hand, with right checksums; ``data`` holds unfiltered rows."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)), (b"IDAT", zlib.compress(data))]
    body = b"".join(
        struct.pack(">I", len(value)) + name + value + struct.pack(">I", zlib.crc32(name + value))
        for name, value in [*chunks, (b"IEND", b"")]
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return str(path)


def test_rgb_is_unchanged(tmp_path: Path) -> None:
    decoded = read_image(save(tmp_path / "a.png", Image.fromarray(colours())))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, colours())


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_and_one_bit_are_repeated_over_channels(tmp_path: Path, mode: str) -> None:
    values = np.array([[0, 255, 255], [255, 0, 0]], np.uint8) if mode == "1" else colours()[..., 0]
    decoded = read_image(save(tmp_path / "a.png", Image.fromarray(values).convert(mode)))
    np.testing.assert_array_equal(decoded, np.repeat(values[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lie_over_black(tmp_path: Path, mode: str) -> None:
    rgb = colours() if mode == "RGBA" else np.repeat(colours()[..., :1], 3, axis=2)
    alpha = np.zeros(rgb.shape[:2], np.uint8)
    alpha[:, 2:4], alpha[:, 4:] = 128, 255
    bands = rgb if mode == "RGBA" else rgb[..., :1]
    decoded = read_image(save(tmp_path / "a.png", Image.fromarray(np.dstack([bands, alpha]), mode)))
    assert np.abs(decoded - rgb * (alpha[..., None] / 255)).max() <= 1
    assert not decoded[:, :2].any()


@pytest.mark.parametrize(
    ("transparency", "opacity"),
    [
        pytest.param(None, [1, 1, 1], id="opaque"),
        pytest.param(1, [1, 0, 1], id="one transparent entry"),
        pytest.param(bytes([255, 128, 0]), [1, 128 / 255, 0], id="an alpha for each entry"),
    ],
)
def test_palette(tmp_path: Path, transparency: int | bytes | None, opacity: list[float]) -> None:
    entries = np.array([[200, 10, 30], [0, 90, 250], [255, 255, 255]], np.uint8)
    index = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    image = Image.fromarray(index, "P")
    image.putpalette(entries.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    decoded = read_image(save(tmp_path / "a.png", image, **options))
    assert np.abs(decoded - (entries * np.array(opacity)[:, None])[index]).max() <= 1


def test_transparent_colour_of_rgb_is_black(tmp_path: Path) -> None:
    values = np.array([[[9, 8, 7], [200, 100, 50]]], np.uint8)
    decoded = read_image(save(tmp_path / "a.png", Image.fromarray(values), transparency=(200, 100, 50)))
    np.testing.assert_array_equal(decoded, [[[9, 8, 7], [0, 0, 0]]])


def test_sixteen_bit_grey_keeps_the_high_byte_without_a_scale(tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 511], [0x1234, 0x80FF, 0xFF00, 0xFFFF]], np.uint16)
    decoded = read_image(save(tmp_path / "a.png", Image.fromarray(values)))
    np.testing.assert_array_equal(decoded, np.repeat((values >> 8)[..., None], 3, axis=2))


def test_sixteen_bit_rgb_keeps_the_high_byte(tmp_path: Path) -> None:
    values = np.array([[0x12FF, 0x00FF, 0xFFFF], [0xFF00, 0x7F80, 0x0100]], ">u2")
    decoded = read_image(png(tmp_path / "a.png", 2, 1, 16, 2, b"\0" + values.tobytes()))
    np.testing.assert_array_equal(decoded, (values >> 8)[None])


def test_cmyk_jpeg(tmp_path: Path) -> None:
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, :16], inks[:, 16:32] = (0, 255, 255, 0), (255, 0, 0, 0)  # red, cyan, paper white
    decoded = read_image(save(tmp_path / "a.jpg", Image.fromarray(inks, "CMYK"), quality=100, subsampling=0))
    np.testing.assert_allclose(decoded[8, [8, 24, 40]], [[255, 0, 0], [0, 255, 255], [255, 255, 255]], atol=4)


@pytest.mark.parametrize("kind", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation(tmp_path: Path, orientation: int, kind: str) -> None:
    image = Image.fromarray(colours(24, 40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = read_image(save(tmp_path / f"plain.{kind}", image))
    turned = save(tmp_path / f"turned.{kind}", image, exif=exif)
    expected = TURNS[orientation](plain)
    np.testing.assert_array_equal(read_image(turned), expected)
    assert read_header(turned).size == (expected.shape[1], expected.shape[0])


def test_first_of_several_frames(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    path = save(tmp_path / "a.tif", frames[0], save_all=True, append_images=frames[1:])
    assert (read_image(path) == (255, 0, 0)).all()


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_error_of_a_truncated_file(tmp_path: Path, kind: str) -> None:
    path = Path(save(tmp_path / f"cut.{kind}", Image.fromarray(colours(64, 64))))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"Cannot decode '.*cut\.{kind}'"):
        read_image(str(path))
    with pytest.raises(ImageError, match=rf"Cannot decode mask '.*cut\.{kind}'"):
        read_mask_pixels(str(path))


def test_size_of_a_truncated_png_is_read_from_its_header(tmp_path: Path) -> None:
    path = Path(save(tmp_path / "cut.png", Image.fromarray(colours(64, 48))))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read_header(str(path)).size == (48, 64)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "No such image file: '.*bad.png'", id="missing"),
        pytest.param(b"", r"bad.png' is empty \(0 bytes\)", id="empty"),
        pytest.param(b"not an image at all", "bad.png' is not an image that can be read", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "bad.png' is not an image that can be read", id="only a signature"),
    ],
)
@pytest.mark.parametrize("read", [read_image, read_mask_pixels, read_header])
def test_error_of_what_is_no_image(
    tmp_path: Path, read: Callable[[str], object], content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(ImageError, match=message):
        read(str(tmp_path / "bad.png"))


def test_error_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such image file"):
        read_image(str(tmp_path))


@pytest.mark.parametrize("read", [read_image, read_mask_pixels, read_header])
def test_huge_image_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[str], object]
) -> None:
    path = png(tmp_path / "huge.png", 20000, 20000, 8, 2, b"")

    def decode(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", decode)
    with pytest.raises(ImageError, match=r"huge\.png' is too large"):
        read(path)


def test_own_bound_on_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(colours(5, 7)))
    monkeypatch.setattr(images, "MAX_PIXELS", 35)
    assert read_header(path).size == (7, 5)
    monkeypatch.setattr(images, "MAX_PIXELS", 34)
    with pytest.raises(ImageError, match="too large: 7 x 5 px, more than 34"):
        read_header(path)


def test_bound_on_pixels_is_the_documented_one(tmp_path: Path) -> None:
    sides = {"allowed.ppm": 13377, "refused.ppm": 13378}  # the root of the bound is 13377.5
    for name, side in sides.items():
        (tmp_path / name).write_bytes(f"P5 {side} {side} 255\n".encode())
    assert read_header(str(tmp_path / "allowed.ppm")).size == (13377, 13377)
    with pytest.raises(ImageError, match="too large"):
        read_header(str(tmp_path / "refused.ppm"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(np.full((3, 3), 0.5, np.float32), "floating-point pixels", id="float"),
        pytest.param(np.full((3, 3), 70000, np.int32), "32-bit pixels outside 0 to 65535", id="too high"),
        pytest.param(np.full((3, 3), -1, np.int32), "32-bit pixels outside 0 to 65535", id="negative"),
    ],
)
def test_error_of_pixels_without_a_range(tmp_path: Path, values: NDArray[np.generic], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(save(tmp_path / "a.tif", Image.fromarray(values)))


def test_read_ahead_keeps_order_and_puts_errors_in_place(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.png", Image.new("RGB", (3, 2), (i, 0, 0))) for i in range(12)]
    paths[4] = str(tmp_path / "missing.png")
    results = list(read_ahead(paths, 3))
    assert len(results) == 12
    for i, result in enumerate(results):
        if i == 4:
            assert isinstance(result, ImageError) and "missing.png" in str(result)
        else:
            assert not isinstance(result, ImageError) and result[0, 0, 0] == i


def test_read_ahead_looks_ahead_by_two_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def read(path: str, scale: GreyScale) -> Array:
        started.append(path)
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr(images, "read_image", read)
    decoded = read_ahead([str(i) for i in range(40)], 2)
    for taken in (1, 2, 3):
        next(decoded)
        time.sleep(0.05)  # lets the threads run as far as they may
        assert len(started) <= taken + 2 * 2
    decoded.close()
    assert len(started) < 40


def test_read_ahead_of_nothing() -> None:
    assert list(read_ahead([], 2)) == []


def test_pixels_are_counted_without_decoding(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "text.png").write_text("no image")
    assert count_pixels(str(tmp_path / "a.png")) == count_pixels(str(tmp_path / "half.png")) == 1200
    for nothing in (str(tmp_path / "text.png"), str(tmp_path / "absent.png"), "s3://bucket/a.png"):
        assert count_pixels(nothing) == 0


@pytest.mark.parametrize(("budget", "begun"), [(10_000, 5), (2000, 2), (100, 1)])
def test_large_images_are_not_all_decoded_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int, begun: int
) -> None:
    paths = [str(tmp_path / f"{i}.png") for i in range(20)]
    for path in paths:
        Image.new("RGB", (40, 25)).save(path)
    seen: list[str] = []
    monkeypatch.setattr(images, "PIXELS_AHEAD", budget)
    monkeypatch.setattr(images, "read_image_or_error", lambda path, scale: seen.append(path) or read_image(path, scale))
    following = read_ahead(paths, workers=2)
    next(following)
    time.sleep(0.2)  # what the threads were given they have begun now
    assert sorted(seen) == sorted(paths[:begun])
    assert sum(1 for _ in following) == 19


def test_error_of_a_file_that_vanishes_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.png"
    Image.new("RGB", (40, 25)).save(file)

    def vanish(path: str) -> int:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(images.os.path, "getsize", vanish)
    with pytest.raises(ImageError, match=r"a\.png.*No such file"):
        read_image(str(file))
    assert count_pixels(str(file)) == 0
