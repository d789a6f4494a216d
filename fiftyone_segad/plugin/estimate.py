"""What a run will take, from a short trial on a few of its images. Knows nothing of FiftyOne."""

from __future__ import annotations

import io
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TypeVar

import numpy as np
from PIL import Image

from ..embedders.base import Level, Patches
from ..embedders.factory import get_embedder
from ..engine.job import CUSTOM_SEGMENTS
from ..errors import ImageError
from ..segments.boxes import get_proposer
from ..segments.maps import MAP_SIDE, anomaly_map
from ..utils.images import read_image

TRIED = 2
"""Images of a trial."""

_OTHER_WORK = {"reference": 2.0, "unlabeled": 3.0, "within_image": 1.2}
"""Time of a run relative to that of decoding and model alone; benchmarks/accuracy.md has what each stage took."""

_KEPT = 64  # trials; a form asks again whenever one of its fields changes

_Item = TypeVar("_Item")

_FILES = 1500
"""Bytes of an image's mask, labels and records, roughly."""


@dataclass(frozen=True)
class Estimate:
    """What a run takes, to within a factor of two.

    Attributes:
        seconds: time
        bytes: disk; 0 if next to nothing is written
    """

    seconds: float
    bytes: int

    def __str__(self) -> str:
        time = f"about {_duration(self.seconds)}"
        return f"{time} and {_size(self.bytes)} on disk" if self.bytes else time


def estimate_run(
    images: Sequence[str],
    normals: Sequence[str],
    method: str,
    embedder: str,
    segments: str | None,
    defects: str = "any",
    rotations: int = 1,
) -> Estimate | None:
    """Estimates a run by running the embedder on a few of its images; a second call with the same ones is free.

    Args:
        images: files of the images to score
        normals: files of the normal images
        method: the method
        embedder: the embedder, no longer ``auto``
        segments: specification of the segments; None for the embedder's own
        defects: as for ``compute_segment_anomalies``
        rotations: copies of each normal image

    Returns:
        the estimate; None if none of the first images can be used
    """
    trial = _try(tuple(images[:TRIED]), embedder, segments, defects)
    if trial is None:
        return None
    compared = len(normals) * rotations if method == "reference" else 0
    seconds = trial.seconds * (len(images) + compared) * _OTHER_WORK[method]
    stored = trial.bank_bytes * compared
    return Estimate(seconds, (trial.map_bytes + trial.score_bytes + _FILES) * len(images) + stored)


def estimate_reading(
    images: Sequence[str], embedder: str, segments: str | None = None, defects: str = "any", work: float = 1.2
) -> Estimate | None:
    """Estimates what runs the embedder on images and writes next to nothing.

    Args:
        images: files of the images
        embedder: the embedder, no longer ``auto``
        segments: specification of the segments; None for the embedder's own
        defects: as for ``compute_segment_anomalies``
        work (1.2): all time relative to that of decoding and model

    Returns:
        the estimate; None if none of the first images can be used
    """
    trial = _try(tuple(images[:TRIED]), embedder, segments, defects) if images else None
    return None if trial is None else Estimate(trial.seconds * len(images) * work, 0)


def estimate_work(
    key: Hashable,
    trial: Callable[[], tuple[Iterable[_Item], Callable[[_Item], int]]],
    count: int,
    other: float,
    fixed: float = 0.0,
) -> Estimate | None:
    """Estimates any work on images by doing it with a few of them; a second call with the same key is free.

    Args:
        key: what the time and bytes of one image depend on
        trial: gives what the work is done on, of which only the first are taken, and the work: it returns the bytes
            that it would write, and raises ImageError for an image that it cannot use
        count: number of images of the whole work
        other: all time relative to that of the work on the images
        fixed (0): seconds that come on top, whatever the trial takes

    Returns:
        the estimate; None if none of the first images can be used
    """
    if key not in _tried:
        _tried[key] = _measured(*trial())
        while len(_tried) > _KEPT:
            _tried.popitem(last=False)
    one = _tried[key]
    return None if one is None else Estimate(one.seconds * count * other + fixed, one.bytes * count)


_tried: OrderedDict[Hashable, Estimate | None] = OrderedDict()


def _measured(items: Iterable[_Item], work: Callable[[_Item], int]) -> Estimate | None:
    """What one image takes."""
    found = []
    first = list(islice(items, TRIED))
    for item in [*first[:1], *first]:  # the first time what it needs is still loaded
        start = time.perf_counter()
        try:
            written = work(item)
        except ImageError:
            continue
        found.append((time.perf_counter() - start, written))
    if not found:
        return None
    return Estimate(min(seconds for seconds, _ in found), round(sum(written for _, written in found) / len(found)))


@dataclass(frozen=True)
class _Trial:
    """What one image takes."""

    seconds: float
    map_bytes: int
    score_bytes: int
    bank_bytes: int


@lru_cache(maxsize=32)  # a form asks again whenever one of its fields changes
def _try(paths: tuple[str, ...], name: str, spec: str | None, defects: str) -> _Trial | None:
    trials = []
    with get_embedder(name, None, defects) as embedder:
        for path in (paths[0], *paths):  # the first time the model is still cold
            start = time.perf_counter()
            try:
                pixels = read_image(path)
            except ImageError:
                continue
            if spec is None:
                levels, kinds = embedder.patches(pixels), embedder.levels
            else:
                cut = get_proposer(spec)((pixels.shape[1], pixels.shape[0]))
                levels, kinds = [Patches(cut, embedder.embed(pixels, cut))], CUSTOM_SEGMENTS
            seconds = time.perf_counter() - start
            segments, features = levels[0].segments, levels[0].features
            # Norms of features are as smooth as scores are, so that a picture of them compresses as a map does
            values = anomaly_map(segments, np.linalg.norm(features, axis=1), (MAP_SIDE, MAP_SIDE))
            scaled = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
            file = io.BytesIO()
            Image.fromarray((scaled * 255).astype(np.uint8)).save(file, "PNG")
            bank = sum(_bank_bytes(level, kind) for level, kind in zip(levels, kinds, strict=True))
            trials.append(_Trial(seconds, file.tell(), 4 * len(segments), bank))
    return min(trials, key=lambda trial: trial.seconds) if trials else None


def _bank_bytes(level: Patches, kind: Level) -> int:
    """Components are stored in half precision."""
    return 2 * len(level.segments) * kind.components if kind.components is not None else level.features.nbytes


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(count: int) -> str:
    return f"{max(count / 1e6, 0.1):.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
