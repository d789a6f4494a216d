"""What a person means in the App: the open image or what is selected in it, else what is ticked in the grid."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone.core.patches as fop
import fiftyone.operators as foo
from fiftyone.core.collections import SampleCollection as Samples
from PIL import Image

from ..errors import ImageError
from ..registry.samples import all_slices
from ..segments.boxes import RelativeBox
from ..utils.drawing import jpeg_url, outline_boxes
from ..utils.images import read_image
from ..utils.text import pluralize
from ..visualization import palette
from ..visualization.pictures import short_name

_LISTED = 3
"""Files that are named, and shown."""

_SIDE = 320
"""Longest side of a picture in pixels."""


@dataclass(frozen=True)
class Selection:
    """Samples, or patches of them, that a person means.

    Attributes:
        samples: the samples or patches
        text: what they are, with the names of their files
    """

    samples: Samples
    text: str

    @classmethod
    def of(cls, samples: Samples, how: str, what: tuple[str, str]) -> Selection:
        """Name samples or patches.

        Args:
            samples: the samples or patches
            how: ``open`` or ``selected``
            what: words for one of them, and for several

        Raises:
            ValueError: if there are none
        """
        paths = list(dict.fromkeys(samples.values("filepath")))
        if not paths:
            raise ValueError("What is selected is not in the dataset or view any more; select it again")
        count = pluralize(len(samples), *(f"{how} {word}" for word in what))
        names = ", ".join(map(short_name, paths[:_LISTED]))
        return cls(samples, f"{count}: {names}{', ...' if len(paths) > _LISTED else ''}")

    def pictures(self) -> dict[str, str]:
        """Draw the first images, with boxes around the patches; returns the pictures as URLs by names of files."""
        pictures: dict[str, str] = {}
        field = self.samples._label_fields[0] if isinstance(self.samples, fop.PatchesView) else None
        for sample in self.samples.limit(_LISTED):
            try:
                image = Image.fromarray(read_image(sample.filepath))
            except ImageError:
                continue
            if field is not None:
                image = _outline(image, sample[field].bounding_box)
            image.thumbnail((_SIDE, _SIDE))
            pictures[short_name(sample.filepath)] = jpeg_url(image)
        return pictures


def selection_of(ctx: foo.ExecutionContext) -> Selection:
    """Return what a person means.

    What is open comes first, since it is what one looks at: ticks in the grid behind it, and labels that were selected
    in another image, are left over from an earlier step.

    Raises:
        ValueError: if nothing is open or selected
    """
    if ctx.current_sample:
        return _open_selection(ctx, str(ctx.current_sample))
    if ctx.selected:
        return _ticked_selection(ctx, list(ctx.selected))
    if ctx.selected_labels:
        return _label_selection(ctx, ctx.selected_labels)
    raise ValueError("Select samples or patches in the grid, or open a sample, first")


def _open_selection(ctx: foo.ExecutionContext, id: str) -> Selection:
    patches = ctx.view.select([id]) if _shows_patches(ctx) else None
    owners = [] if patches is None else patches.values("sample_id")
    labels = [label for label in ctx.selected_labels or [] if label["sample_id"] in (id, *owners)]
    if labels:
        return _label_selection(ctx, labels)
    if patches is not None and owners:
        return Selection.of(patches, "open", ("patch", "patches"))
    return Selection.of(all_slices(ctx.dataset).select([id]), "open", ("sample", "samples"))


def _ticked_selection(ctx: foo.ExecutionContext, ids: Collection[str]) -> Selection:
    if _shows_patches(ctx):
        return Selection.of(ctx.view.select(ids), "selected", ("patch", "patches"))
    # From the dataset: a sample stays what it is, also one that a filter of the view hides by now
    return Selection.of(all_slices(ctx.dataset).select(ids), "selected", ("sample", "samples"))


def _label_selection(ctx: foo.ExecutionContext, labels: Sequence[dict[str, Any]]) -> Selection:
    fields = sorted({label["field"] for label in labels})
    if len(fields) > 1:
        raise ValueError(f"The selected labels are of several fields, {fields}; select those of one field")
    samples = all_slices(ctx.dataset).select({label["sample_id"] for label in labels})
    patches = samples.to_patches(fields[0]).select([label["label_id"] for label in labels])
    return Selection.of(patches, "selected", (f"label of {fields[0]}", f"labels of {fields[0]}"))


def _outline(image: Image.Image, box: RelativeBox) -> Image.Image:
    x, y, width, height = box
    pixels = (x * image.width, y * image.height, (x + width) * image.width, (y + height) * image.height)
    return outline_boxes(image, [pixels], palette.ANOMALOUS, line_width=max(2, max(image.size) // _SIDE * 2))


def _shows_patches(ctx: foo.ExecutionContext) -> bool:
    return isinstance(ctx.view, fop.PatchesView)
