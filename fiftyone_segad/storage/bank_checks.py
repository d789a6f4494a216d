"""Check the arrays of a bank file, and unpack them; every error says what is wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scoring.levels import ALIGNED, ALIGNED_ONLY, MAP_SIDE
from ..scoring.teaching import DEFECT_NUMBERS
from ..segments.zones import MOST_ZONES, ZoneMap
from .families import SavedFamilies
from .records import ImageScores, unpack_scores
from .zones import is_place

_ROWS_AT_ONCE = 65_536


def check_fitted(level: int, width: int, fitted: dict[str, NDArray[Any]]) -> None:
    """Check what was fitted to a level, whose features have ``width`` numbers.

    Raises:
        ValueError: if it is damaged
    """
    where = f"of level {level}"
    shapes = {"mean": None, "matrix": None, "scale": (2,), "damping": (MAP_SIDE, MAP_SIDE)}
    arrays = {name: fitted[f"{name}{level}"] for name in shapes if f"{name}{level}" in fitted}
    for name, array in arrays.items():
        require(array.dtype.kind == "f" and bool(np.isfinite(array).all()), f"'{name}' {where} is not finite")
        require(shapes[name] in (None, array.shape), f"'{name}' {where} has the shape {array.shape}")
    require(("mean" in arrays) == ("matrix" in arrays), f"the components {where} are not complete")
    require(("scale" in arrays) == ("damping" in arrays), f"the scale {where} is not complete")
    if "matrix" in arrays:
        fits = arrays["matrix"].shape == (arrays["mean"].size, width) and arrays["mean"].ndim == 1
        require(fits, f"the components {where} do not fit its features")
    if "scale" in arrays:
        require(arrays["scale"][1] > 0 and arrays["damping"].min() > 0, f"the scale {where} is not positive")


def check_alignment(fitted: dict[str, NDArray[Any]]) -> None:
    """Check that parts are laid straight as this version does, if they are.

    Raises:
        ValueError: if they are not
    """
    if ALIGNED in fitted:
        known = ALIGNED_ONLY[ALIGNED]
        require(np.array_equal(fitted[ALIGNED], known), "its parts are laid straight in another way; save it again")


def check_defects(fitted: dict[str, NDArray[Any]], widths: list[int]) -> None:
    """Check what was learnt from marked defects.

    Raises:
        ValueError: if it is damaged
    """
    if "defects" not in fitted:
        return
    numbers, weights = fitted["defects"], [fitted[f"defects{i}"] for i in range(len(widths))]
    require(
        [array.shape for array in weights] == [(width,) for width in widths], "what it knows of defects does not fit"
    )
    finite = all(array.dtype.kind == "f" and np.isfinite(array).all() for array in (numbers, *weights))
    require(finite and numbers.shape == (DEFECT_NUMBERS,), "what it knows of defects is not finite")
    require(numbers[2] > 0 and numbers[3] > 0 and 0 <= numbers[4] < 1, "the scale of what it knows of defects is wrong")


def check_rows(where: str, rows: NDArray[Any], ends: NDArray[Any], images: int) -> None:
    """Check the features of some images, ``[n, k]``, and where those of each end.

    Raises:
        ValueError: if they are damaged
    """
    require(rows.ndim == 2 and rows.dtype.kind == "f" and rows.size > 0, f"the features {where} are no table")
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        require(bool(np.isfinite(rows[start : start + _ROWS_AT_ONCE]).all()), f"a feature {where} is not finite")
    require(ends.dtype == np.int64 and ends.shape == (images,), f"the images {where} are not those it names")
    require(bool((np.diff(ends, prepend=0) >= 0).all()) and ends[-1] == len(rows), f"the images {where} overlap")


def unpack_calibration(names: list[str], arrays: dict[str, NDArray[Any]]) -> list[ImageScores]:
    """Unpack the scores of the normal images."""
    if not names:
        return []
    packed = {
        name.removeprefix("normals."): np.asarray(array)
        for name, array in arrays.items()
        if name.startswith("normals.")
    }
    require(packed["scores"].ndim == 1, "the scores of its normal images are no list")
    records = list(unpack_scores(names, {**packed, "outliers": np.zeros(len(packed["scores"]), bool)}))
    for record in records:
        require(
            min(*record.segments.size, *record.segments.straight.size) > 0,
            f"the normal image '{record.id}' has no size",
        )
        require(len(record.scores) > 0, f"the normal image '{record.id}' has no segments")
        finite = math.isfinite(record.image_score) and bool(np.isfinite(record.scores).all())
        require(finite, f"a score of the normal image '{record.id}' is not finite")
    return records


def unpack_families(names: list[str], arrays: dict[str, NDArray[Any]], width: int) -> SavedFamilies | None:
    """Unpack the families of anomalous regions, which are described by ``width`` numbers each."""
    if not names:
        return None
    vectors, numbers = np.asarray(arrays["families.vectors"]), np.asarray(arrays["families.numbers"])
    is_table = vectors.dtype == np.float32 and vectors.shape[1:] == (width,) and bool(np.isfinite(vectors).all())
    require(is_table, f"the regions of its families are no table of {width} finite numbers each")
    is_list = numbers.dtype == np.int64 and numbers.shape == (len(vectors),)
    require(is_list, "its families do not fit their regions")
    return SavedFamilies.of_bank(names, vectors, numbers)


def require(fits: bool | np.bool_, otherwise: str) -> None:
    """Raise ValueError with a text if something does not fit."""
    if not fits:
        raise ValueError(otherwise)


def unpack_zones(names: list[str], arrays: dict[str, NDArray[Any]]) -> ZoneMap | None:
    """Unpack the zones that images have in common.

    Raises:
        ValueError: if they are damaged
    """
    if not names:
        return None
    labels = np.asarray(arrays["zones.labels"])
    is_picture = labels.ndim == 2 and labels.dtype == np.uint8 and labels.size > 0
    require(is_picture, "the labels of its zones are no picture of 8 bits")
    require(len(set(names)) == len(names) <= MOST_ZONES, "its zones are too many, or two have one name")
    require(0 < int(labels.max()) <= len(names), "the labels of its zones have other numbers, or ignore all")
    part = None if "zones.part" not in arrays else np.asarray(arrays["zones.part"])
    require(part is None or is_place(part), "nothing tells where the part lies on which its zones were drawn")
    return ZoneMap(labels, tuple(names), part)
