"""Crops of segments as pictures for the panel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo

from ...errors import ImageError
from ...registry.run import load_run
from ...segments.boxes import PixelBox
from ...utils.drawing import jpeg_url
from ...utils.grey_scale import GreyScale
from ...visualization.explain import ExplainedSegment, explain_sample
from ...visualization.explain_miss import explain_miss
from ...visualization.pictures import crop_segment


def explained(dataset: fo.Dataset, key: str, sample_id: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Explain a sample in plain values.

    Returns:
        ``{"sample_id", "name", "segments": [[{"label", "filepath"}, ...], ...], "reasons": [...]}``, in which the first
        crop of a segment is the sample's own, and the pictures by their place in the panel. These are apart, for the
        App sends the panel's state along with each event

    Raises:
        ValueError, SegadError: as ``explain_sample``
    """
    filepath, scale = dataset[sample_id].filepath, load_run(dataset, key).grey_scale
    rows: list[list[dict[str, str]]] = []
    pictures: dict[str, str] = {}
    reasons = []
    for segment in explain_sample(dataset, key, sample_id, max_neighbours=1):
        reasons.append(str(segment))
        crops = _crops(filepath, segment, scale)
        rows.append([{"label": label, "filepath": path} for label, path, _ in crops])
        for column, (_, _, picture) in enumerate(crops):
            pictures[f"{row_name(len(rows) - 1)}.{crop_name(column)}"] = picture
    return {"sample_id": sample_id, "name": Path(filepath).name, "segments": rows, "reasons": reasons}, pictures


def excused(dataset: fo.Dataset, key: str, sample_id: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Explain in plain values why a defect is missed.

    Returns:
        ``{"text", "excuses": [{"text", "crops": [{"label", "filepath"}, ...], "suspect"}, ...]}``, where ``suspect`` is
        the file of a normal image that is probably defective, or None, and the pictures by their place in the panel

    Raises:
        ValueError, SegadError: as ``explain_miss``
    """
    filepath, scale = dataset[sample_id].filepath, load_run(dataset, key).grey_scale
    miss = explain_miss(dataset, key, sample_id)
    excuses: list[dict[str, Any]] = []
    pictures: dict[str, str] = {}
    for i, excuse in enumerate(miss.excuses):
        near = excuse.neighbour
        places = [("its defect", filepath, excuse.box), (f"distance {near.distance:.3g}", near.filepath, near.box)]
        crops = _pictures(places, scale)
        shown = [{"label": label, "filepath": path} for label, path, _ in crops]
        suspect = near.filepath if excuse.suspicious and not excuse.is_mark else None
        excuses.append({"text": str(excuse), "crops": shown, "suspect": suspect})
        for column, (_, _, picture) in enumerate(crops):
            pictures[f"{excuse_name(i)}.{crop_name(column)}"] = picture
    return {"text": str(miss).splitlines()[0], "excuses": excuses}, pictures


def _crops(filepath: str, segment: ExplainedSegment, scale: GreyScale) -> list[tuple[str, str, str]]:
    """Return label, file and picture of a segment and of its neighbours, but for images that are gone."""
    places: list[tuple[str, str, PixelBox | None]] = [(f"score {segment.score:.2f}", filepath, segment.box)]
    if segment.marked:
        label = f"marked {segment.kind}" if segment.kind else "marked"
        places.append((label, segment.marked.filepath, segment.marked.box))
    places += [(f"distance {near.distance:.3g}", near.filepath, near.box) for near in segment.neighbours]
    return _pictures(places, scale)


def _pictures(places: Sequence[tuple[str, str, PixelBox | None]], scale: GreyScale) -> list[tuple[str, str, str]]:
    """Return label, file and picture of segments, but for images that are gone."""
    crops = []
    for label, path, box in places:
        try:
            crops.append((label, path, jpeg_url(crop_segment(path, box, scale))))
        except ImageError:
            continue
    return crops


def row_name(index: int) -> str:
    """Return where in the panel a segment is."""
    return f"segment{index}"


def excuse_name(index: int) -> str:
    """Return where in the panel an excuse of a missed defect is."""
    return f"excuse{index}"


def crop_name(index: int) -> str:
    """Return where in the row of a segment a crop is."""
    return f"crop{index}"
