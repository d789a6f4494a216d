"""Ground truth: reads the masks of samples, whichever way the dataset holds them."""

from __future__ import annotations

from dataclasses import dataclass

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from .errors import ImageError
from .images import read_mask

GOOD = "good"
"""Defect type of normal images, as in MVTec AD."""

GT_FIELD = "defect_mask"
"""Ground-truth field, unless another one is named."""


@dataclass(frozen=True)
class Truth:
    """The ground truth of one image.

    Attributes:
        mask_path: file of its mask, or None
        mask: its mask if the database holds it, or None
        defect: name of its defect type (None if unknown)
        category: name of its product (None if unknown)
    """

    mask_path: str | None = None
    mask: NDArray[np.generic] | None = None
    defect: str | None = None
    category: str | None = None

    def read(self, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Reads the mask ``[height, width]``, True on defects; None if there is none or it is empty.

        Raises:
            ImageError: if the mask cannot be read or is not ``size`` (width, height)
        """
        if self.mask is not None:
            mask = np.asarray(self.mask) != 0
        elif self.mask_path is not None:
            mask = read_mask(self.mask_path)
        else:
            return None
        if mask.shape != (size[1], size[0]):
            raise ImageError(
                f"The ground-truth mask '{self.mask_path or 'in the database'}' is {mask.shape[1]} x {mask.shape[0]} "
                f"px, its image {size[0]} x {size[1]} px"
            )
        return mask if mask.any() else None


def read_truth(samples: Samples, gt_field: str) -> dict[str, Truth]:
    """Reads where the ground truth of each sample is, without decoding masks.

    Args:
        samples: the samples
        gt_field: a Segmentation field; defect type and category come from ``defect`` and ``category`` if present

    Raises:
        ValueError: if the field does not exist or is not a Segmentation
    """
    schema = samples.get_field_schema()
    masks = segmentation_fields(samples)
    if gt_field not in masks:
        raise ValueError(
            f"gt_field={gt_field!r} is not a Segmentation field of '{samples._root_dataset.name}'; it has {masks}"
        )
    ids, paths, masks = samples.values(["id", f"{gt_field}.mask_path", f"{gt_field}.mask"])
    names = [_labels(samples, schema, name) for name in ("defect", "category")]
    return {
        id: Truth(path, mask, defect, category)
        for id, path, mask, defect, category in zip(ids, paths, masks, *names, strict=True)
    }


def segmentation_fields(samples: Samples) -> list[str]:
    """Names of the Segmentation fields."""
    schema = samples.get_field_schema()
    return [name for name, f in schema.items() if getattr(f, "document_type", None) is fo.Segmentation]


def _labels(samples: Samples, schema: dict[str, fo.Field], name: str) -> list[str | None]:
    field = schema.get(name)
    if getattr(field, "document_type", None) is fo.Classification:
        return list(samples.values(f"{name}.label"))
    if isinstance(field, fo.StringField):
        return list(samples.values(name))
    return [None] * len(samples)
