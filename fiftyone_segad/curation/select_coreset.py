"""``select_coreset``: the normal images that cover a set best."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..embedders.base import Embedder
from ..embedders.factory import get_embedder
from ..engine.job import Embedded, ImageTask, Job, JobContext, JobImage, JobSpec, Reader
from ..engine.passes import fit_levels
from ..errors import SegadError
from ..registry.samples import all_slices, check_collection, check_numbers, check_whole_number
from ..scoring.coreset import greedy_coreset, greedy_image_coreset
from ..scoring.levels import LevelFeatures, LevelScorer
from ..storage.store import RunStore
from ..utils.images import find_scale
from ..utils.threads import usable_cores
from .registration import ShowProgress

logger = logging.getLogger(__name__)

SEGMENTS = 64
"""Segments per image and level by which it is compared with others, themselves a greedy choice."""

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
    progress: ShowProgress = None,
    seed: int = 0,
) -> fo.DatasetView:
    """Choose the ``k`` images that cover a set of normal images best, to compare others with.

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

    Examples:
        >>> normals = dataset.match(F("split") == "train")  # doctest: +SKIP
        >>> best = segad.select_coreset(normals, 25, tag="coreset")  # doctest: +SKIP
        >>> run = segad.compute_segment_anomalies(dataset, reference=best)  # doctest: +SKIP
    """
    dataset = check_collection(samples, "samples")
    check_numbers(num_workers)
    check_whole_number("seed", seed, least=0)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= len(samples):
        raise ValueError(f"k={k!r} must be a whole number from 1 to the number of samples, {len(samples)}")
    if tag is not None and (not isinstance(tag, str) or not tag.strip()):
        raise ValueError(f"tag={tag!r} must be a text, or None")
    images = [JobImage(id, path) for id, path in zip(*samples.values(["id", "filepath"]), strict=True)]
    with get_embedder(embedder, batch_size, defects, embedder_kwargs) as model:
        features, reasons = _read_features(images, model, num_workers or usable_cores(), seed, progress)
    for path, reason in reasons.items():
        logger.warning("Left out: %s: %s", path, reason)
    if len(features) < k:
        path, reason = next(iter(reasons.items()))
        raise SegadError(
            f"Only {len(features)} of {len(images)} images can be used, k={k} were asked for. "
            f"The first: {path}: {reason}"
        )
    order, radii = greedy_image_coreset(list(zip(*features.values(), strict=True)), k)
    logger.info("%d images chosen; the farthest that is left is %.2f as far as the mean from the first", k, radii[-1])
    ids = list(features)
    view: fo.DatasetView = all_slices(dataset).select([ids[i] for i in order], ordered=True)
    if tag is not None:
        view.tag_samples(tag)
    return view


class _FeaturesTask(ImageTask[tuple[str, LevelFeatures]]):
    """Keeps a few features of each image, by the sample's id."""

    def __init__(self, reader: Reader, levels: LevelScorer, images: int, seed: int) -> None:
        super().__init__(reader)
        self._levels, self._images, self._seed = levels, images, seed

    def work(self, embedded: Embedded) -> tuple[str, LevelFeatures]:
        return embedded.image.id, [self._few(features) for features in self._levels.transform(embedded.patches)]

    def _few(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        affordable = ROW_BYTES // (4 * features.shape[1] * self._images)
        size = int(np.clip(affordable, _FEWEST_SEGMENTS, SEGMENTS))
        return features[greedy_coreset(features, size, self._seed)]


def _read_features(
    images: list[JobImage], model: Embedder, workers: int, seed: int, progress: ShowProgress
) -> tuple[dict[str, LevelFeatures], dict[str, str]]:
    """Read images.

    Returns:
        a few features of each image that can be used by sample id, and why the others cannot be used by path

    Raises:
        SegadError: if none of the images can be used
    """
    with tempfile.TemporaryDirectory(prefix="segad-") as scratch:
        store = RunStore.create(Path(scratch) / "run", {})
        with fou.ProgressBar(total=len(images), progress=progress, iters_str="images") as bar:
            context = JobContext(model, store, workers, on_progress=bar.update)
            job = Job(
                JobSpec(images, [], "reference", None, seed=seed, scale=find_scale([image.path for image in images])),
                context,
            )
            task = _FeaturesTask(job.reader(), fit_levels(job, images), len(images), seed)
            features = dict(job.map(task, images, ordered=True))
    return features, {entry["filepath"]: entry["reason"] for entry in job.report.skipped}
