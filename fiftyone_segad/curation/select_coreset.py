"""``select_coreset``: the normal images that cover a set best."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..embedders.base import Embedder, Patches
from ..embedders.factory import get_embedder
from ..errors import ImageError, SegadError
from ..registry.samples import check_collection, check_numbers
from ..scoring.coreset import greedy_coreset, greedy_image_coreset
from ..scoring.levels import FIT_IMAGES, LevelScorer
from ..utils.images import read_ahead
from ..utils.threads import usable_cores

logger = logging.getLogger(__name__)

SEGMENTS = 64
"""Segments an image and level by which it is compared with others, themselves a greedy choice."""

ROW_BYTES = 256 * 2**20
"""Features of all images at a level at most; for more images each has fewer segments."""

_FEWEST_SEGMENTS = 8


def select_coreset(
    samples: Samples,
    k: int,
    tag: str | None = None,
    embedder: str = "auto",
    defects: str = "any",
    embedder_kwargs: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    progress: bool | Callable[[Any], None] | None = None,
    seed: int = 0,
) -> fo.DatasetView:
    """Chooses the ``k`` images that cover a set of normal images best, to compare others with.

    The first is the most usual one; each further one is that whose segments are farthest from those chosen before
    (greedy k-centre), so that any first ``j`` of them are a choice of ``j``. Whatever is odd is chosen early: look at
    the first ones, for an image with a defect among them would be taken for normal.

    Args:
        samples: normal images
        k: how many to choose
        tag (None): a tag for them; samples that have it already keep it
        embedder ("auto"): as in ``compute_segment_anomalies``
        defects ("any"): as there
        embedder_kwargs (None): as there
        batch_size (None): segments that go through the model at once
        num_workers (None): threads that decode images
        progress (None): whether to show a progress bar, or a function that gets it
        seed (0): seed of all that is chosen at random

    Returns:
        a view of the chosen samples, in the order chosen. Images that cannot be read are left out, with a warning

    Raises:
        ValueError: if a parameter is wrong, before any work
        MissingDependencyError: if the embedder is not installed
        SegadError: if fewer than ``k`` images can be used
    """
    dataset = check_collection(samples, "samples")
    check_numbers(num_workers)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= len(samples):
        raise ValueError(f"k={k!r} must be a whole number from 1 to the number of samples, {len(samples)}")
    if tag is not None and (not isinstance(tag, str) or not tag.strip()):
        raise ValueError(f"tag={tag!r} must be a text, or None")
    ids, paths = samples.values(["id", "filepath"])
    with get_embedder(embedder, batch_size, defects, embedder_kwargs) as model:
        bar = fou.ProgressBar(total=len(ids) + min(FIT_IMAGES, len(ids)), progress=progress, iters_str="images")
        with bar:
            reader = _Reader(model, dict(zip(ids, paths, strict=True)), num_workers or usable_cores(), seed, bar.update)
            found = reader.read()
    for reason in reader.skipped.values():
        logger.warning("Left out: %s", reason)
    if len(found) < k:
        reason = next(iter(reader.skipped.values()), "")
        raise SegadError(
            f"Only {len(found)} of {len(ids)} images can be used, k={k} were asked for. The first: {reason}"
        )
    chosen, radii = greedy_image_coreset(list(zip(*found.values(), strict=True)), k)
    logger.info("%d images chosen; the farthest that is left is %.2f as far as the mean from the first", k, radii[-1])
    usable = list(found)
    view: fo.DatasetView = dataset.select([usable[i] for i in chosen], ordered=True)
    if tag is not None:
        view.tag_samples(tag)
    return view


class _Reader:
    """Reads images and keeps a few features of each.

    Attributes:
        skipped: why images could not be used, by id
    """

    def __init__(
        self, model: Embedder, paths: dict[str, str], workers: int, seed: int, advance: Callable[[int], None]
    ) -> None:
        self._model = model
        self._paths = paths
        self._workers = workers
        self._seed = seed
        self._advance = advance
        self._levels = LevelScorer(model.levels)
        self.skipped: dict[str, str] = {}

    def read(self) -> dict[str, list[NDArray[np.float32]]]:
        """Features ``[n, k]`` of each image by id, one array a level."""
        if self._levels.needs_fit:
            ids = np.random.default_rng(self._seed).permutation(list(self._paths)).tolist()
            fitted: list[list[Patches]] = []
            for id in ids:
                fitted += [patches for _, patches in self._embed([id])]
                if len(fitted) == FIT_IMAGES:
                    break
            if not fitted:
                return {}
            self._levels.fit(fitted, self._seed)
            del fitted
        found = {}
        for id, patches in self._embed([id for id in self._paths if id not in self.skipped]):
            found[id] = [self._thin(rows) for rows in self._levels.transform(patches)]
        return found

    def _embed(self, ids: list[str]) -> Iterator[tuple[str, list[Patches]]]:
        for id, pixels in zip(ids, read_ahead([self._paths[id] for id in ids], self._workers), strict=True):
            try:
                if isinstance(pixels, ImageError):
                    raise pixels
                patches = self._model.patches(pixels)
                if not all(len(level.features) and np.isfinite(level.features).all() for level in patches):
                    raise ValueError("its features are empty or not finite")
                yield id, patches
            except (ImageError, ValueError) as error:
                self.skipped[id] = f"{self._paths[id]}: {error}"
            self._advance(1)

    def _thin(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        affordable = ROW_BYTES // (4 * rows.shape[1] * len(self._paths))
        return rows[greedy_coreset(rows, int(np.clip(affordable, _FEWEST_SEGMENTS, SEGMENTS)), self._seed)]
