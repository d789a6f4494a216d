"""Ground truth: the defective pixels of samples, whichever way the dataset holds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..errors import ImageError
from ..registry.keys import written_fields
from ..registry.samples import all_slices
from ..utils.images import read_header
from .classes import Classes, is_normal
from .masks import Areas, Mask, Source
from .objects import Boxes, Polygons

GOOD = "good"
"""Defect type of normal images, as in MVTec AD."""

UNNAMED = "defect"
"""Defect type of images of which only is known that they are defective."""

GT_FIELD = "defect_mask"
"""Ground-truth field, unless another one is named."""

NO_TRUTH = "It has no ground truth (neither a mask nor a defect type)"
"""Why a sample whose ``known`` is False cannot be evaluated."""


@dataclass
class Truth:
    """The ground truth of one image.

    Attributes:
        source: where its defective pixels are, or None
        defect: name of its defect type (None if unknown)
        category: name of its product (None if unknown)
        known: False if nothing says whether the image is normal (see ``NO_TRUTH``)
        resized: whether the mask that was read had another size than the image
        lost: whether the mask of an image that is called good is gone; then it is taken at its word
        cut: whether the mask has more pages or frames than the first, which alone was read
    """

    source: Source | None = None
    defect: str | None = None
    category: str | None = None
    known: bool = True
    resized: bool = field(default=False, init=False)
    lost: bool = field(default=False, init=False)
    cut: bool = field(default=False, init=False)

    def read(self, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Read the mask ``[height, width]``, True on defects; None if there is none or it is empty.

        A mask of another size but of the image's aspect ratio is resized, and ``resized`` is set.

        Raises:
            ImageError: if the mask cannot be read, or does not fit an image of ``size`` (width, height)
        """
        return self.read_areas(size).mask

    def read_areas(self, size: tuple[int, int]) -> Areas:
        """Read where the image is defective and where nothing is known of it.

        Raises:
            ImageError: as for ``read``, and if nothing is known of any of its pixels
        """
        normal = Areas(np.zeros(size[::-1], bool))
        if self.source is None:
            return normal
        if self.defect == GOOD and not self.source.exists():
            self.lost = True
            return normal
        areas = self.source.read(size)
        self.cut = areas.more_frames
        name = f"The ground-truth mask {self.source.name}"
        if areas.defect.shape != (size[1], size[0]):
            areas = areas.resized(size, name)
            self.resized = True
        if not areas.known:
            raise ImageError(f"{name} says of no pixel whether it is defective")
        return areas


def read_truth(samples: Samples, gt_field: str) -> dict[str, Truth]:
    """Read where the ground truth of each sample is, without decoding masks.

    A sample without ground truth is normal, unless the others have a defect type and it has none: then its truth
    is not known.

    Args:
        samples: the samples
        gt_field: a Segmentation field (nonzero is defective, but for classes that the dataset's mask targets name
            as in ``NORMAL_NAMES`` or ``VOID_NAMES``), or one of Detections, Detection, Polylines or
            Polyline (all objects are defects but those with such a label; instance masks, else boxes; filled
            polygons); defect type and category come from ``defect`` and ``category`` if present

    Raises:
        ValueError: if the field does not exist or is of another type

    Examples:
        >>> truths = read_truth(dataset, "defect_mask")  # doctest: +SKIP
        >>> truths[sample.id].read((900, 900)).mean()  # share of its pixels that are defective  # doctest: +SKIP
        0.021
    """
    schema = samples.get_field_schema()
    kind: Any = getattr(schema.get(gt_field), "document_type", None)
    if kind not in _READERS:
        type_name = getattr(kind, "__name__", type(schema[gt_field]).__name__) if gt_field in schema else "absent"
        raise ValueError(
            f"gt_field={gt_field!r} is not a Segmentation field of '{samples._root_dataset.name}', nor one of "
            f"Detections, Detection, Polylines or Polyline: it is {type_name}; {_choices(samples)}"
        )
    ids = samples.values("id")
    sources = _READERS[kind](samples, gt_field, kind, [f"in '{gt_field}' of sample {id}" for id in ids])
    defects, categories = (_labels(samples, schema, name) for name in ("defect", "category"))
    are_known = _are_known(samples, schema, gt_field, sources, defects)
    return {
        id: Truth(source, GOOD if is_normal(defect) else defect, category, is_known)
        for id, source, defect, category, is_known in zip(ids, sources, defects, categories, are_known, strict=True)
    }


def check_truth_field(samples: Samples, gt_field: str) -> None:
    """Refuse a field that a run or an evaluation of this package wrote: predictions judged by predictions look right.

    Raises:
        ValueError: if it is such a field
    """
    writer = written_fields(samples).get(gt_field)
    if writer is not None:
        raise ValueError(
            f"gt_field={gt_field!r} was written by {writer}, so it is no ground truth; {_choices(samples)}. If a "
            f"person has corrected it, clone_sample_field({gt_field!r}, 'truth') makes it one"
        )


def check_defects(samples: Samples, gt_field: str) -> None:
    """Check that the ground truth shows a defect in at least one image; masks are read until one does.

    Raises:
        ValueError: if it shows none, or the field does not exist or is of another type
    """
    truths = {id: truth for id, truth in read_truth(samples, gt_field).items() if truth.source and truth.known}
    paths = dict(zip(*samples.values(["id", "filepath"]), strict=True))
    named_first = sorted(truths, key=lambda id: truths[id].defect in (None, GOOD))
    if not any(_is_defective(truths[id], paths[id]) for id in named_first):
        raise ValueError(f"threshold='f1' needs defective images with masks in '{gt_field}'; use 'fpr:0.05'")


def _is_defective(truth: Truth, path: str) -> bool:
    try:
        return truth.read(read_header(path).size) is not None
    except ImageError:
        return False


def segmentation_fields(samples: Samples) -> list[str]:
    """List the names of the Segmentation fields."""
    schema = samples.get_field_schema()
    return [name for name, kind in schema.items() if getattr(kind, "document_type", None) is fo.Segmentation]


def truth_fields(samples: Samples) -> list[str]:
    """List the names of the fields whose type can hold ground truth, Segmentation fields first."""
    schema = samples.get_field_schema()
    others = [name for name, kind in schema.items() if getattr(kind, "document_type", None) in _READERS]
    masks = segmentation_fields(samples)
    return masks + [name for name in others if name not in masks]


def truth_warnings(truths: Iterable[Truth]) -> list[str]:
    """List what a reader of figures should know of ground truth that was read."""
    truths = list(truths)
    said = {
        "have another size than their image and were resized": [truth for truth in truths if truth.resized],
        "of images that are called good are gone; the images were taken as normal": [t for t in truths if t.lost],
        "have more than one page or frame, of which only the first was read": [truth for truth in truths if truth.cut],
    }
    return [
        f"{len(concerned)} ground-truth masks {text}; the first is {concerned[0].source.name}"
        for text, concerned in said.items()
        if concerned and concerned[0].source is not None
    ]


def _segmentations(samples: Samples, gt_field: str, kind: type[fo.Label], names: list[str]) -> list[Source | None]:
    # Raw, masks in the database stay compressed until they are needed
    paths, masks = samples.values([f"{gt_field}.mask_path", f"{gt_field}.mask"], _raw=True)
    classes = Classes.of(samples, gt_field)
    return [
        None if path is None and data is None else Mask(name if data is not None else f"'{path}'", classes, path, data)
        for name, path, data in zip(names, paths, masks, strict=True)
    ]


def _boxes(samples: Samples, gt_field: str, kind: type[fo.Label], names: list[str]) -> list[Source | None]:
    objects = _objects(samples, gt_field, kind, ("label", "bounding_box", "mask", "mask_path"))
    return [None if boxes is None else Boxes(name, boxes) for name, boxes in zip(names, objects, strict=True)]


def _polygons(samples: Samples, gt_field: str, kind: type[fo.Label], names: list[str]) -> list[Source | None]:
    objects = _objects(samples, gt_field, kind, ("label", "points", "filled"))
    return [None if lines is None else Polygons(name, lines) for name, lines in zip(names, objects, strict=True)]


_READERS = {
    fo.Segmentation: _segmentations,
    fo.Detections: _boxes,
    fo.Detection: _boxes,
    fo.Polylines: _polygons,
    fo.Polyline: _polygons,
}


def _objects(samples: Samples, gt_field: str, kind: type[fo.Label], parts: Sequence[str]) -> list[list[Any] | None]:
    """Load the objects of each sample as tuples of these parts; None for samples where the field is not set."""
    single = kind in (fo.Detection, fo.Polyline)
    path = gt_field if single else f"{gt_field}.{kind._LABEL_LIST_FIELD}"
    rows = zip(*samples.values([f"{path}.{part}" for part in parts], _raw=True), strict=True)
    if single:
        return [None if all(value is None for value in row) else [row] for row in rows]
    return [None if row[0] is None else list(zip(*row, strict=True)) for row in rows]


def _labels(samples: Samples, schema: dict[str, fo.Field], name: str) -> list[str | None]:
    path = _label_path(schema, name)
    return [None] * len(samples) if path is None else list(samples.values(path))


def _label_path(schema: dict[str, fo.Field], name: str) -> str | None:
    kind = schema.get(name)
    if getattr(kind, "document_type", None) is fo.Classification:
        return f"{name}.label"
    return name if isinstance(kind, fo.StringField) else None


def _are_known(
    samples: Samples,
    schema: dict[str, fo.Field],
    gt_field: str,
    sources: Sequence[Source | None],
    defects: Sequence[str | None],
) -> list[bool]:
    """Return for each sample whether it is known if it is normal."""
    are_known = [source is not None or defect is not None for source, defect in zip(sources, defects, strict=True)]
    path = _label_path(schema, "defect")
    if path is None or all(are_known):
        return [True] * len(are_known)
    dataset = all_slices(samples._root_dataset)
    # A field of defect types that nobody uses says nothing: there, what has no mask is normal
    unused = dataset.count(path) == 0 and dataset.count(gt_field) > 0
    return [True] * len(are_known) if unused else are_known


def _choices(samples: Samples) -> str:
    written = written_fields(samples)
    return f"fields that can be ground truth: {[name for name in truth_fields(samples) if name not in written]}"
