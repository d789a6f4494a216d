"""What a browser sends: pictures of all kinds, and what is none."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fiftyone_segad import ImageError
from fiftyone_segad.utils import images
from fiftyone_segad.utils.uploads import MAX_UPLOAD_BYTES, decode_upload


def picture(width: int = 20, height: int = 10) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
def test_lossless_pictures_come_as_they_are(kind: str, head: str) -> None:
    assert np.array_equal(decode_upload(head + encoded(picture(), kind)), np.asarray(picture()))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_lossy_ones_nearly(kind: str) -> None:
    smooth = Image.linear_gradient("L").convert("RGB")
    decoded = decode_upload(encoded(smooth, kind)).astype(int)
    assert np.abs(decoded - np.asarray(smooth)).mean() < 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("data:image/png;base64,", "empty"),
        ("this is no base64!", "not base64"),
        (
            base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9").decode(),
            "not an image",
        ),
        (base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(), "not an image"),
        (encoded(picture(), "PNG")[: 4 * 40], "the file"),
    ],
)
def test_what_is_no_picture_is_refused(content: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode_upload(content)


def test_what_is_too_large_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="larger than 32 MB"):
        decode_upload("A" * (4 * MAX_UPLOAD_BYTES // 3 + 10_000))
    monkeypatch.setattr(images, "MAX_PIXELS", 199)
    with pytest.raises(ImageError, match="the file is too large: 21 x 10 px"):
        decode_upload(encoded(picture(21), "PNG"))
