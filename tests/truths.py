"""What the tests of ground truth share: images of 8 x 6 px, and masks as drawings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

from fiftyone_segad.data.truth import Truth, read_truth

MakeDataset = Callable[..., fo.Dataset]

SIZE = (8, 6)


def truths_of(make: MakeDataset, labels: list[fo.Label | None], **fields: list[Any]) -> list[Truth]:
    dataset = make([Path(f"/images/{index}.png") for index in range(len(labels))], gt=labels, **fields)
    truths = read_truth(dataset, "gt")
    assert list(truths) == dataset.values("id")
    return list(truths.values())


def pixels(mask: np.ndarray | None) -> list[str]:
    """The mask as a drawing: "#" on defects."""
    assert mask is not None and mask.dtype == bool
    return ["".join("#" if pixel else "." for pixel in row) for row in mask]


def array(*rows: str) -> np.ndarray:
    return np.array([[int(value) for value in row] for row in rows], np.uint8)


CLASSES = array("00000000", "03300000", "03300000", "00000770", "00000770", "00000000")
BOTH = ["........", ".##.....", ".##.....", ".....##.", ".....##.", "........"]
ONLY_7 = ["........", "........", "........", ".....##.", ".....##.", "........"]


def save(path: Path, image: Image.Image) -> str:
    image.save(path)
    return str(path)
