"""``find_duplicates``: groups of images that show the same, and those of them that leak from train into test."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..embedders.fastdup import FastdupEmbedder
from ..errors import ImageError, SegadError
from ..registry.samples import all_slices, check_collection, check_numbers
from ..segments.boxes import SMALLEST_TILE, from_boxes
from ..utils.images import pixel_digest
from ..utils.text import pluralize
from .groups import THRESHOLD, connected_groups, equal_pairs, near_pairs
from .parts import Part, describe, part_pairs
from .registration import Curation, ShowProgress, check_curation, read_samples, write_curation

logger = logging.getLogger(__name__)

KINDS = ("exact", "near", "part")
"""Kinds of duplicates: the same pixels; fastdup's components; the same part, photographed again."""

SPLIT_FIELD = "split"

SPLIT_TAGS = ("train", "val", "validation", "test")
"""Tags that stand for a split where there is no field of it."""

_DOUBTFUL = (
    "Many other images are almost as alike: kind='part' goes by a texture of each part's own, and parts of one shape "
    "that lie alike are alike too. Look at the groups before you rely on them"
)

DUPLICATE_FIELDS: dict[str, tuple[type[fo.Field], str]] = {
    "_group": (fo.IntField, "Number of the group of duplicates; empty if there is no other image like this"),
    "_kind": (fo.StringField, "exact: all images of the group have the same pixels; near or part: they are alike"),
    "_leak": (fo.BooleanField, "Whether the group is in more than one split"),
}
"""Types and descriptions of the fields, by what comes after the key in their names."""


@dataclass(frozen=True)
class Duplicates:
    """Groups of images that show the same.

    Attributes:
        dataset: their dataset
        groups: sample ids of each group, in the order of the samples; groups in the order of their first samples
        kinds: of each group ``exact`` if all its images have the same pixels, else the kind that was asked for
        leaks: the groups that have images in more than one split
        skipped: ``{"id", "filepath", "reason"}`` of images that could not be used
        warnings: what the user should know
        key: the fields that were written begin with it; None if none were
    """

    dataset: fo.Dataset
    groups: list[list[str]]
    kinds: list[str]
    leaks: list[list[str]]
    skipped: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    key: str | None = None

    @property
    def surplus(self) -> list[str]:
        """Ids of all images of the groups but the first of each."""
        return [id for group in self.groups for id in group[1:]]

    def view(self, leaks: bool = False) -> fo.DatasetView:
        """Select the images of all groups side by side, group after group.

        Args:
            leaks (False): only those of groups that are in more than one split
        """
        return all_slices(self.dataset).select(
            [id for group in (self.leaks if leaks else self.groups) for id in group], ordered=True
        )

    def grouped_view(self, leaks: bool = False) -> fo.DatasetView:
        """Show the groups as one tile each, which opens into its images.

        Raises:
            ValueError: if no fields were written
        """
        if self.key is None:
            raise ValueError("The groups are not in the dataset; pass key=... to find_duplicates(), or use view()")
        return self.view(leaks).group_by(f"{self.key}_group")

    def __str__(self) -> str:
        images = sum(map(len, self.groups))
        counts = [f"{self.kinds.count(kind)} {kind}" for kind in KINDS if kind in self.kinds]
        total = f"{pluralize(len(self.groups), 'group')} of {pluralize(images, 'image')}"
        lines = [total + (f" ({', '.join(counts)})" if counts else "")]
        if self.leaks:
            leaks = pluralize(len(self.leaks), "group is", "groups are")
            lines.append(f"  {leaks} in more than one split: results on them flatter")
        lines += [f"  warning: {warning}" for warning in self.warnings]
        lines += [f"  skipped {entry['filepath']}: {entry['reason']}" for entry in self.skipped[:5]]
        return "\n".join(lines)


def find_duplicates(
    samples: Samples,
    kind: str = "near",
    threshold: float | None = None,
    split_field: str = SPLIT_FIELD,
    key: str | None = None,
    tag: str | None = None,
    num_workers: int | None = None,
    progress: ShowProgress = None,
) -> Duplicates:
    """Find images that show the same, and those that are both in train and test.

    Nothing is written without a ``key``. With one, the fields ``<key>_group``, ``_kind`` and ``_leak`` replace those of
    the call before; ``delete_curation`` removes them.

    Args:
        samples: the images: a dataset, view or selection
        kind ("near"): ``exact`` groups images of the same decoded pixels, whatever their files; ``near`` those whose
            fastdup embeddings are alike, as fastdup's connected components; ``part`` pictures of the same physical
            part under other light or slightly moved, by the texture of its surface
        threshold (None): of ``near``, the cosine similarity in (0, 1] from which two images are linked, by default
            fastdup's 0.96. Images of one product are all alike: look at the groups, and raise it
        split_field ("split"): text field that says what is train and test; where there is none, the tags ``train``,
            ``val``, ``validation`` and ``test`` do
        key (None): begins the names of the fields
        tag (None): tag for all images of the groups but the first of each; needs a key
        num_workers (None): threads that decode images
        progress (None): whether to show a progress bar, or a function that gets it

    Raises:
        ValueError: if a parameter is wrong, before any work
        MissingDependencyError: if ``near`` is asked for and fastdup is not installed
        SegadError: if none of the images can be used

    Examples:
        >>> print(segad.find_duplicates(dataset, kind="exact"))  # doctest: +SKIP
        2 groups of 4 images (2 exact)
          1 group is in more than one split: results on them flatter
    """
    dataset = check_collection(samples, "samples")
    check_parameters(kind, threshold)
    if tag is not None and key is None:
        raise ValueError(f"tag={tag!r} needs a key=..., by which it can be removed again")
    check_numbers(num_workers)
    curation = None if key is None else Curation(key, "duplicates", [f"{key}{name}" for name in DUPLICATE_FIELDS], tag)
    if curation is not None:
        check_curation(dataset, curation)
    splits = _splits(samples, split_field)
    reader = ImageReader(kind)
    skipped = []
    try:
        for id, path, pixels in read_samples(samples, num_workers, progress):
            try:
                if isinstance(pixels, ImageError):
                    raise pixels
                reader.read(id, pixels)
            except (ImageError, ValueError) as error:
                skipped.append({"id": id, "filepath": path, "reason": str(error)})
                logger.warning("Left out: %s: %s", path, error)
    finally:
        reader.close()
    if not reader.ids:
        raise SegadError(f"None of the {len(skipped)} images can be used. The first: {skipped[0]['reason']}")
    members = connected_groups(len(reader.ids), reader.pairs(THRESHOLD if threshold is None else threshold))
    groups = [[reader.ids[i] for i in group] for group in members]
    kinds = ["exact" if len({reader.digests[i] for i in group}) == 1 else kind for group in members]
    leaks = [group for group in groups if len({splits[id] for id in group} - {None}) > 1]
    duplicates = Duplicates(dataset, groups, kinds, leaks, skipped, reader.warnings, key)
    if curation is not None:
        _write(duplicates, curation)
    logger.info("%s", duplicates)
    return duplicates


class ImageReader:
    """Keeps what is needed of each image, so that no more than one is in memory."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.ids: list[str] = []
        self.digests: list[str] = []
        self.warnings: list[str] = []
        self._embedder = FastdupEmbedder() if kind == "near" else None
        self._features: list[NDArray[np.float32]] = []
        self._parts: list[Part] = []

    def read(self, id: str, pixels: NDArray[np.uint8]) -> None:
        """Take an image.

        Raises:
            ValueError: if it is too small
        """
        if self._embedder is not None:
            height, width = pixels.shape[:2]
            if min(height, width) < SMALLEST_TILE:
                raise ValueError(f"{width} x {height} px is too small; fastdup takes none below {SMALLEST_TILE} px")
            image_box = from_boxes((width, height), [[0, 0, width, height]])
            self._features.append(self._embedder.embed(pixels, image_box))
        elif self.kind == "part":
            self._parts.append(describe(pixels))
        self.ids.append(id)
        self.digests.append(pixel_digest(pixels))

    def pairs(self, threshold: float) -> NDArray[np.int64]:
        """Link the images that are alike; ``[m, 2]`` numbers of images, in the order read."""
        same_pixels = equal_pairs(self.digests)
        if self.kind == "near":
            return np.concatenate([same_pixels, near_pairs(np.concatenate(self._features), threshold)])
        if self.kind == "part":
            same_part, doubtful = part_pairs(self._parts)
            if doubtful:
                self.warnings.append(_DOUBTFUL)
            return np.concatenate([same_pixels, same_part])
        return same_pixels

    def close(self) -> None:
        if self._embedder is not None:
            self._embedder.close()


def check_parameters(kind: str, threshold: float | None) -> None:
    """Check kind and threshold.

    Raises:
        ValueError: if the kind is not known, or the threshold is out of range or not for this kind
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} is not known; use one of {list(KINDS)}")
    if threshold is not None and kind != "near":
        raise ValueError(f"threshold=... is for kind='near'; kind={kind!r} has none")
    if threshold is not None and not 0 < threshold <= 1:
        raise ValueError(f"threshold must be a cosine similarity in (0, 1], got {threshold}")


def _splits(samples: Samples, split_field: str) -> dict[str, str | None]:
    """Return the split of each sample by its id; None if it has none.

    Raises:
        ValueError: if the field is absent, unless it is the default, or not one of text
    """
    ids = samples.values("id")
    if samples.has_sample_field(split_field):
        if not isinstance(samples.get_field(split_field), fo.StringField):
            raise ValueError(f"split_field='{split_field}' is not a text field, e.g. with 'train' and 'test'")
        return dict(zip(ids, samples.values(split_field), strict=True))
    if split_field != SPLIT_FIELD:
        raise ValueError(f"split_field='{split_field}' does not exist; leave it out if there are no splits")
    return {id: _split_of(tags) for id, tags in zip(ids, samples.values("tags"), strict=True)}


def _split_of(tags: Sequence[str]) -> str | None:
    return next((tag for tag in SPLIT_TAGS if tag in tags), None)


def _write(duplicates: Duplicates, curation: Curation) -> None:
    key = curation.key
    leaking = {id for group in duplicates.leaks for id in group}
    group = {id: number for number, ids in enumerate(duplicates.groups) for id in ids}
    kind = {id: kind for ids, kind in zip(duplicates.groups, duplicates.kinds, strict=True) for id in ids}
    leak = {id: id in leaking for id in group}
    values: dict[str, dict[str, Any]] = {f"{key}_group": group, f"{key}_kind": kind, f"{key}_leak": leak}
    kinds = {f"{key}{name}": kind_of_field for name, kind_of_field in DUPLICATE_FIELDS.items()}
    write_curation(duplicates.dataset, curation, kinds, values, duplicates.surplus)
