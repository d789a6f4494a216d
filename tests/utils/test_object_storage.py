"""Images in object storage are read as files are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fiftyone_segad.errors import ImageError
from fiftyone_segad.utils.images import read_header, read_image
from fiftyone_segad.utils.object_storage import object_state


def test_images_in_object_storage(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="pip install fsspec")
    storage = fsspec.filesystem("memory")
    pixels = np.random.default_rng(2).integers(0, 255, (12, 20, 3), dtype=np.uint8)
    for name, options in (("plain.png", {}), ("scans.jpg", {"progressive": True, "quality": 95})):
        Image.fromarray(pixels).save(tmp_path / name, **options)
        storage.pipe(f"/bucket/{name}", (tmp_path / name).read_bytes())
        np.testing.assert_array_equal(read_image(f"memory://bucket/{name}"), read_image(str(tmp_path / name)))
        assert read_header(f"memory://bucket/{name}").size == (20, 12)
    storage.pipe("/bucket/empty.png", b"")
    storage.pipe("/bucket/text.png", b"no image")
    for name, reason in (("gone", "No such image"), ("empty", "is empty"), ("text", "not an image")):
        with pytest.raises(ImageError, match=f"{reason}.*" if name == "gone" else f"memory://bucket/{name}.*{reason}"):
            read_image(f"memory://bucket/{name}.png")
    with pytest.raises(ImageError, match=r"Cannot fetch 'nosuch://x/y.png'"):
        read_image("nosuch://x/y.png")
    before = object_state("memory://bucket/plain.png")
    assert before == object_state("memory://bucket/plain.png") and before[0] > 0
    storage.pipe("/bucket/plain.png", b"other")
    assert object_state("memory://bucket/plain.png") != before
    assert object_state("memory://bucket/gone.png") == (-1, -1)
