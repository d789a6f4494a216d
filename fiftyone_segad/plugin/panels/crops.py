"""Crops of segments as pictures that a panel can show."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types
from PIL import Image, ImageDraw

from ...errors import ImageError
from ...segments.boxes import PixelBox
from ...utils.images import read_image
from ...visualization.explain import explain_sample

_SIDE = 160  # pixels of a crop
_SHOWN = "104px"
"""Its side in the panel: four beside each other fit in half of a page of 1280 px."""
_AROUND = 0.12
"""Side of a crop at least, as a share of the image's shorter side: a patch alone does not tell where it is."""


def explained(dataset: fo.Dataset, key: str, sample_id: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The explanation of a sample as plain values.

    Returns:
        ``{"sample_id", "name", "segments": [[{"label", "filepath"}, ...], ...]}``, in which the first crop of a segment
        is the sample's own, and the pictures by their place in the panel. These are apart, for the App sends the
        panel's state along with each event

    Raises:
        ValueError, SegadError: as ``explain_sample``
    """
    filepath = dataset[sample_id].filepath
    segments: list[list[dict[str, str]]] = []
    pictures = {}
    for segment in explain_sample(dataset, key, sample_id):
        parts: list[tuple[str, PixelBox | None, str]] = [(filepath, segment.box, f"score {segment.score:.2f}")]
        parts += [(near.filepath, near.box, f"distance {near.distance:.2f}") for near in segment.neighbours]
        row: list[dict[str, str]] = []
        for path, box, label in parts:
            picture = _crop(path, box)
            if picture is not None:
                pictures[f"{_row(len(segments))}.{_place(len(row))}"] = picture
                row.append({"label": label, "filepath": path})
        segments.append(row)
    return {"sample_id": sample_id, "name": Path(filepath).name, "segments": segments}, pictures


def add(panel: types.Object, why: dict[str, Any], on_click: Callable[[foo.ExecutionContext], None]) -> None:
    """Add an explanation to a panel; a click on a crop hands on the file of its image."""
    title = f"**{why['name']}**: its worst segments, and the most similar ones it was compared with"
    panel.md(title, name="why_title")
    for i, crops in enumerate(why["segments"]):
        row = panel.h_stack(_row(i), gap=1)
        for j, crop in enumerate(crops):
            view = types.ImageView(
                height=_SHOWN,
                width=_SHOWN,
                alt=crop["label"],
                label=crop["label"],
                operator=on_click,
                params={"filepath": crop["filepath"]},
            )
            row.view(_place(j), view)


def _row(index: int) -> str:
    return f"segment{index}"


def _place(index: int) -> str:
    return f"crop{index}"


def _crop(filepath: str, box: PixelBox | None) -> str | None:
    try:
        image = Image.fromarray(read_image(filepath))
    except ImageError:
        return None
    if box is not None:
        image = _framed(image, box)
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _framed(image: Image.Image, box: PixelBox) -> Image.Image:
    """A square around a box, with the box outlined."""
    x0, y0, x1, y1 = box
    half = max(x1 - x0, y1 - y0, _AROUND * min(image.size)) * 0.8
    centre = ((x0 + x1) / 2, (y0 + y1) / 2)
    corner = (centre[0] - half, centre[1] - half)
    scale = _SIDE / (2 * half)
    crop = image.crop((*corner, centre[0] + half, centre[1] + half))
    crop = crop.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    frame = [(value - corner[i % 2]) * scale for i, value in enumerate(box)]
    ImageDraw.Draw(crop).rectangle(frame, outline=(213, 94, 0), width=2)
    return crop
