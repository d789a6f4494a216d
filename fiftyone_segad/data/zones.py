"""Read the zones that people drew: which parts of an image are inspected, and which are ignored.

Labels of the field are ``ignore``, ``inspect``, or ``inspect: NAME`` for one of several zones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import fiftyone as fo
import numpy as np
from bson import ObjectId
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..embedders.aligned import align
from ..errors import ImageError, SegadError
from ..registry.keys import written_fields
from ..registry.samples import all_slices
from ..segments.boxes import Segments, Size
from ..segments.turned import part_place
from ..segments.zones import IGNORED, MOST_ZONES, ZoneMap
from ..utils.grey_scale import GreyScale
from ..utils.images import read_header, read_image
from .classes import Classes
from .masks import Mask, resize_mask
from .objects import Boxes, Polygons

UNNAMED = "inspect"
"""Name of the zone of labels ``inspect``."""

_REST = ""
"""Name of what is inspected where nothing but what to ignore is drawn."""

_KINDS = (fo.Detections, fo.Detection, fo.Polylines, fo.Polyline, fo.Segmentation)

_ALLOWED = "'ignore', 'inspect', or 'inspect: NAME' for one of several zones, its name without '.' and '$'"
"""Labels of zones, as errors name them; the database has its own use for the two signs."""


class Drawing(Protocol):
    """What is drawn on one sample."""

    def names(self) -> list[str | None]:
        """Name the zones of its shapes, in the order in which they were drawn; None for what is ignored."""

    def masks(self, size: Size) -> list[NDArray[np.bool_]]:
        """Draw each of these shapes ``[height, width]``."""


@dataclass(frozen=True)
class _Shapes:
    """Boxes or polygons."""

    source: Boxes | Polygons
    sample: str

    def names(self) -> list[str | None]:
        return [parse_zone(shape[0], self.sample) for shape in self.source.objects]

    def masks(self, size: Size) -> list[NDArray[np.bool_]]:
        masks = []
        for shape in self.source.objects:
            masks.append(np.zeros(size[::-1], bool))
            self.source.draw(masks[-1], shape)  # type: ignore[arg-type]
        return masks


@dataclass(frozen=True)
class _Painted:
    """A mask, whose values have names."""

    mask: Mask
    targets: Mapping[int, str | None]

    def names(self) -> list[str | None]:
        return [self.targets[value] for value in sorted(self.targets)]

    def masks(self, size: Size) -> list[NDArray[np.bool_]]:
        values = self.mask.pixels().values
        unnamed = set(np.unique(values).tolist()) - {0, *self.targets}
        if values.ndim != 2 or unnamed:
            raise ImageError(
                f"The zones {self.mask.name} hold the values {sorted(unnamed)[:5]}, which the dataset's mask_targets "
                f"do not name; they must name {_ALLOWED}"
            )
        name = f"The mask of zones {self.mask.name}"
        return [resize_mask(values == value, size, name) for value in sorted(self.targets)]


@dataclass(frozen=True)
class ZoneDrawings:
    """The zones that were drawn on samples.

    Attributes:
        field: the label field
        drawings: what is drawn, by the sample's id and by the path of its image, but for what is shared
        shared: what is drawn on the sample that stands for all of its size; None if there is none
        shared_size: width and height of that sample's image
        shared_path: its file
        shared_part: where its part lies, with which zones move, as ``TurnedSegments.part``; None if they stay in place
    """

    field: str
    drawings: Mapping[str, Drawing]
    shared: Drawing | None = None
    shared_size: Size = (0, 0)
    shared_path: str = ""
    shared_part: NDArray[np.float64] | None = None

    def __call__(self, image: str, segments: Segments) -> ZoneMap | None:
        """Return the zones of an image, by its sample's id or its path; None if it is inspected as a whole.

        Raises:
            ImageError: if what is drawn cannot be read
        """
        drawing = self.drawings.get(image)
        if drawing is not None:
            return rasterise(drawing, segments.size)
        if self._shared_zones is None or segments.size != self.shared_size:
            return None
        return self._shared_zones.on(segments)

    @cached_property
    def _shared_zones(self) -> ZoneMap | None:
        if self.shared is None:
            return None
        return replace(rasterise(self.shared, self.shared_size), part=self.shared_part)

    def move_with_parts(self, scale: GreyScale) -> ZoneDrawings:
        """Have the zones that were drawn once move with the part on each image, where that is laid straight.

        Args:
            scale: grey values by which images are read

        Raises:
            SegadError: if no part is found where they were drawn
        """
        if self.shared is None:
            return self
        try:
            straight = align(read_image(self.shared_path, scale))
        except (ImageError, ValueError) as error:
            raise SegadError(
                f"Zones that were drawn once cannot move with the parts: '{self.shared_path}': {error}. Draw them "
                "on a sample that shows the part"
            ) from error
        height, width = straight.pixels.shape[:2]
        return replace(self, shared_part=part_place(straight.back, (width, height)))

    def names(self, images: Sequence[str]) -> set[str]:
        """Name the zones that are drawn on images; not all of them may have the shared ones."""
        drawn = [self.drawings[image] for image in images if image in self.drawings]
        drawn += [] if self.shared is None else [self.shared]
        return {name for drawing in drawn for name in drawing.names() if name is not None}


def parse_zone(label: Any, sample: str) -> str | None:
    """Return the name of the zone that a label is for; None for what is ignored.

    Raises:
        ValueError: if it is for neither; the message names the sample

    Examples:
        >>> parse_zone("inspect: rim", "sample 1"), parse_zone("inspect", "sample 1"), parse_zone("ignore", "sample 1")
        ('rim', 'inspect', None)
    """
    keyword, colon, name = str(label).partition(":")
    keyword, name = keyword.strip().casefold(), name.strip()
    if keyword == "ignore" and not colon:
        return None
    if keyword == "inspect" and (name or not colon) and not set(name) & {".", "$"}:
        return name or UNNAMED
    raise ValueError(f"A zone of {sample} has the label {label!r}; labels of zones are {_ALLOWED}")


def rasterise(drawing: Drawing, size: Size) -> ZoneMap:
    """Draw zones as numbers of pixels.

    What is ignored is drawn last. Of zones that overlap, the one that was drawn later counts. Without zones, all that
    is not ignored is inspected; with some, nothing but these.

    Raises:
        ImageError: if a shape cannot be drawn
    """
    drawn = list(zip(drawing.names(), drawing.masks(size), strict=True))
    names = tuple(dict.fromkeys(name for name, _ in drawn if name is not None)) or (_REST,)
    if len(names) > MOST_ZONES:
        raise ImageError(f"{len(names)} zones are drawn; {MOST_ZONES} are possible")
    labels = np.full(size[::-1], 1 if names == (_REST,) else IGNORED, np.uint8)
    for name, mask in drawn:
        if name is not None:
            labels[mask] = names.index(name) + 1
    for name, mask in drawn:
        if name is None:
            labels[mask] = IGNORED
    return ZoneMap(labels, names)


def read_drawings(
    samples: Samples, field: str, zones_from: str | None = None, reference: Samples | None = None
) -> ZoneDrawings:
    """Read what is drawn on samples and on normal images; no mask is decoded.

    Args:
        samples: the samples
        field: the label field
        zones_from: id of the sample whose zones are those of all images of its size, but of those with their own
        reference: normal images, of this or another dataset

    Raises:
        ValueError: if there is no such field or sample, or a label is none of zones
    """
    _check_field(samples, field)
    drawings: dict[str, Drawing] = {}
    for collection in (samples, *(() if reference is None else (reference,))):
        if collection.has_sample_field(field):
            drawings |= _drawings(collection, field)
    for drawing in drawings.values():
        drawing.names()
    if zones_from is None:
        return ZoneDrawings(field, drawings)
    source = all_slices(samples._root_dataset).match({"_id": ObjectId(zones_from)}) if _is_id(zones_from) else None
    shared = None if source is None else _drawings(source, field).get(zones_from)
    if source is None or shared is None:
        raise ValueError(
            f"zones_from={zones_from!r} is no sample with zones in '{field}'; give the id of the sample on which they "
            "are drawn"
        )
    shared.names()
    path = source.first().filepath
    drawings = {image: drawing for image, drawing in drawings.items() if image not in (zones_from, path)}
    return ZoneDrawings(field, drawings, shared, read_header(path).size, path)


def _is_id(zones_from: object) -> bool:
    return isinstance(zones_from, str) and ObjectId.is_valid(zones_from)


def check_drawings(drawings: ZoneDrawings, paths: Mapping[str, str]) -> None:
    """Check that zones can be drawn and leave something to inspect, before any work.

    Args:
        drawings: the zones
        paths: file by image

    Raises:
        ValueError: if not; the message names the image
    """
    if drawings.shared is not None:
        _check(drawings.shared, drawings.shared_size, "The sample zones_from=...")
    for image, path in paths.items():
        if image in drawings.drawings:
            try:
                size = read_header(path).size
            except SegadError:
                continue  # it will be skipped
            _check(drawings.drawings[image], size, f"'{path}'")


def _check(drawing: Drawing, size: Size, name: str) -> None:
    try:
        drawn = rasterise(drawing, size)
    except ImageError as error:
        raise ValueError(f"zones: {error}") from error
    if not drawn.present:
        raise ValueError(f"zones: those of {name} leave nothing of it to inspect; draw them anew")


def zone_fields(samples: Samples) -> list[str]:
    """List the names of the fields that can hold zones."""
    written = written_fields(samples)
    return [
        name
        for name, kind in samples.get_field_schema().items()
        if getattr(kind, "document_type", None) in _KINDS and name not in written
    ]


def _check_field(samples: Samples, field: str) -> None:
    if field not in zone_fields(samples):
        raise ValueError(
            f"zones={field!r} is no field of '{samples._root_dataset.name}' that can hold zones; use one of "
            f"{zone_fields(samples)}, or draw boxes, polygons or a mask with the labels {_ALLOWED}"
        )


def _drawings(samples: Samples, field: str) -> dict[str, Drawing]:
    """Return what is drawn on samples, by their ids and by the paths of their images."""
    kind: Any = getattr(samples.get_field(field), "document_type", None)
    ids, paths = samples.values(["id", "filepath"])
    drawn: list[Drawing | None]
    drawn = _painted(samples, field, ids) if kind is fo.Segmentation else _shapes(samples, field, kind, ids)
    by_id = {id: drawing for id, drawing in zip(ids, drawn, strict=True) if drawing is not None}
    by_path = {path: by_id[id] for id, path in zip(ids, paths, strict=True) if id in by_id}
    return by_id | by_path


def _painted(samples: Samples, field: str, ids: Sequence[str]) -> list[Drawing | None]:
    root = samples._root_dataset
    named: Mapping[Any, str] = root.mask_targets.get(field) or root.default_mask_targets or {}
    targets = {int(value): parse_zone(name, f"'{field}'") for value, name in named.items() if int(value) != 0}
    if not targets:
        raise ValueError(
            f"zones={field!r} holds masks whose values have no names; name them: dataset.mask_targets['{field}'] = "
            "{1: 'ignore', 2: 'inspect: rim'}; dataset.save()"
        )
    paths, masks = samples.values([f"{field}.mask_path", f"{field}.mask"], _raw=True)
    return [
        None if path is None and data is None else _Painted(Mask(f"of sample {id}", Classes(), path, data), targets)
        for id, path, data in zip(ids, paths, masks, strict=True)
    ]


def _shapes(samples: Samples, field: str, kind: Any, ids: Sequence[str]) -> list[Drawing | None]:
    is_boxes = kind in (fo.Detections, fo.Detection)
    parts = ("label", "bounding_box", "mask", "mask_path") if is_boxes else ("label", "points", "filled", "closed")
    is_single = kind in (fo.Detection, fo.Polyline)
    path = field if is_single else f"{field}.{kind._LABEL_LIST_FIELD}"
    rows = zip(*samples.values([f"{path}.{part}" for part in parts], _raw=True), strict=True)
    drawn: list[Drawing | None] = []
    for id, row in zip(ids, rows, strict=True):
        if row[0] is None:
            drawn.append(None)
            continue
        objects: list[Any] = [row] if is_single else list(zip(*row, strict=True))
        name = f"in '{field}' of sample {id}"
        if is_boxes:
            source: Boxes | Polygons = Boxes(name, objects, "zone")
        else:  # what was drawn as a closed outline has an area, filled or not
            outlines = [(label, points, filled or closed) for label, points, filled, closed in objects]
            source = Polygons(name, outlines, "zone")
        drawn.append(_Shapes(source, f"sample {id}") if objects else None)
    return drawn
