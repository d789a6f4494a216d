"""Read anomaly maps that other programs have written, and make them as coarse as the store keeps them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from ..data.image_files import is_hidden, printable
from ..errors import ImageError
from ..segments.boxes import Segments, Size, from_intervals
from ..segments.maps import heatmap_size
from ..storage.records import ImageScores
from ..utils.listing import IMAGE_SUFFIXES

_ARRAYS = (".npy", ".npz", ".tif", ".tiff")
"""Suffixes of files that hold fractions."""

_GREYS = (".png",)
"""Suffixes of files that hold grey values, which are read where there are none with fractions."""

_NAMES = ("anomaly_map", "anomaly_maps", "map", "heatmap", "arr_0")
"""Names of the map in a file of several arrays."""

Map = NDArray[np.float32]
"""Anomaly map ``[height, width]``."""


def find_map_files(folder: Path) -> dict[str, Path]:
    """Find the files of maps in a folder and in those within it.

    Returns:
        files by their paths in the folder, without suffixes

    Raises:
        FileNotFoundError: if there is no such folder, or no map in it
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder '{folder}'")
    files = sorted(
        Path(place) / name for place, _, names in os.walk(folder) for name in names if not is_hidden(Path(name))
    )
    for suffixes in (_ARRAYS, _GREYS):
        maps = [file for file in files if file.suffix.lower() in suffixes]
        if maps:
            return {_without_suffixes(file.relative_to(folder)): file for file in maps}
    raise FileNotFoundError(f"'{printable(folder)}' holds no maps ({', '.join((*_ARRAYS, *_GREYS))})")


def _without_suffixes(path: Path) -> str:
    """Return a path without its suffix, and without that of an image before it."""
    stem = path.with_suffix("")
    return (stem.with_suffix("") if stem.suffix.lower() in IMAGE_SUFFIXES else stem).as_posix()


def read_map(source: Path | Any) -> Map:
    """Read a map from a file, or from an array or a tensor.

    Raises:
        ImageError: if it is no map of finite numbers
    """
    name = f"The map '{printable(source)}'" if isinstance(source, Path) else "The map"
    try:
        array = np.asarray(_read_file(source) if isinstance(source, Path) else as_array(source))
    except Exception as error:  # what numpy, Pillow, tifffile and tensors raise of what they do not know
        raise ImageError(f"{name} cannot be read: {error}") from error
    if array.ndim > 2:
        array = array.reshape([length for length in array.shape if length > 1] or [1, 1])
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "fiu":
        raise ImageError(
            f"{name} has the shape {list(array.shape)} of {array.dtype}; it must be height x width numbers"
        )
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise ImageError(f"{name} holds values that are not finite")
    return values


def _read_file(file: Path) -> Any:
    suffix = file.suffix.lower()
    if suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            return _named_map(arrays)
    if suffix == ".npy":
        return np.load(file, allow_pickle=False)
    if suffix in _GREYS:
        with Image.open(file) as image:
            if image.mode not in ("L", "I", "I;16"):
                raise ValueError("it is a picture in colours, in which scores cannot be told; save the map itself")
            return np.asarray(image)
    return tifffile.imread(file)


def _named_map(arrays: Mapping[str, Any]) -> Any:
    names = list(arrays)
    name = names[0] if len(names) == 1 else next((name for name in _NAMES if name in names), None)
    if name is None:
        raise ValueError(f"none of its arrays {names} is called {list(_NAMES)}")
    return arrays[name]


def as_array(values: Any) -> NDArray[Any]:
    """Return an array, or a tensor of any device, as an array."""
    detach: Callable[[], Any] | None = getattr(values, "detach", None)
    if detach is None:
        return np.asarray(values)
    tensor = detach().cpu()
    return np.asarray(tensor.float() if tensor.is_floating_point() else tensor)  # numpy has no bfloat16


def reduce_map(values: Map, size: Size) -> Map:
    """Make a map at most as fine as the heatmap file of its image, each cell the mean of what it covers.

    Args:
        values: the map ``[h, w]``, which covers the image of ``size`` (width, height)
        size: width and height of the image

    Returns:
        the map ``[rows, columns]``, itself if it is as coarse

    Examples:
        >>> reduce_map(np.array([[0, 1, 2, 3]], np.float32), (2, 1))
        array([[0.5, 2.5]], dtype=float32)
    """
    columns, rows = heatmap_size(size)
    cells = min(columns, values.shape[1]), min(rows, values.shape[0])
    if cells == values.shape[::-1]:
        return values
    reduced: Map = cv2.resize(values, cells, interpolation=cv2.INTER_AREA)
    return reduced


@lru_cache(maxsize=16)
def cells_of(size: Size, rows: int, columns: int) -> Segments:
    """Return the cells of a map over an image; they overlap, so that the map is interpolated between their centres.

    Examples:
        >>> cells_of((8, 8), 4, 4).columns  # their centres are 1, 3, 5 and 7
        array([[0, 2],
               [1, 5],
               [3, 7],
               [6, 8]])
    """
    return from_intervals(size, _intervals(size[0], columns), _intervals(size[1], rows))


def _intervals(length: int, count: int) -> NDArray[np.int64]:
    """Cut a length into cells ``[count, 2]`` around even centres, twice as long as these are apart but at the ends."""
    centres = (np.arange(count) + 0.5) * length / count
    half = np.minimum(np.minimum(centres, length - centres), length / count)  # the same to both sides of the centre
    starts, ends = np.floor(centres - half + 1e-9), np.ceil(centres + half - 1e-9)
    return np.stack([np.clip(starts, 0, length - 1), np.clip(ends, 1, length)], axis=1).astype(np.int64)


def record_of(id: str, values: Map, size: Size, score: float) -> ImageScores:
    """Return what a run keeps of an image.

    Args:
        id: name under which it is kept
        values: its map ``[rows, columns]``, as ``reduce_map`` gives it
        size: width and height of the image
        score: its image score
    """
    scores = np.ascontiguousarray(values.ravel(), np.float32)
    return ImageScores(id, cells_of(size, *values.shape), scores, np.zeros(len(scores), bool), score)
