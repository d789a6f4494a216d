"""``visualize_segments``: the segments of a run as points, near each other where they look alike."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..errors import ImageError, RunError
from ..registry.clearing import delete_plot
from ..registry.keys import plot_key
from ..registry.run import load_run
from ..registry.samples import all_slices
from ..runs.features import RunFeatures
from ..scoring.levels import LevelFeatures
from ..segments.places import nearest_segments
from ..utils.images import read_ahead
from ..utils.threads import usable_cores

logger = logging.getLogger(__name__)

PROJECTIONS = ("tsne", "pca", "umap")
"""Names of the methods that lay segments out."""

MAX_IMAGES = 200


@dataclass(frozen=True)
class Points:
    """Segments in the plane.

    Attributes:
        places: float64 array ``[n, 2]``
        ids: ids of the segments ``[n]``
        scores: their scores ``[n]``
        sample_ids: ids of their samples ``[n]``
    """

    places: NDArray[np.float64]
    ids: list[str]
    scores: list[float]
    sample_ids: list[str]


def visualize_segments(
    samples: Samples,
    key: str,
    max_images: int = MAX_IMAGES,
    method: str = "tsne",
    seed: int = 51,
    progress: bool | Callable[[Any], None] | None = None,
) -> Any:
    """Lay out the segments of a run's most anomalous images in the plane, by FiftyOne's ``compute_visualization``.

    Groups of anomalous segments are kinds of defects, or one kind of false alarm. The images go through the embedder
    once more. The result is stored under the key ``<key>_plot``, opens in the Embeddings panel as well (coloured by
    ``<key>_segments.detections.anomaly_score``), and goes with the run.

    Args:
        samples: the dataset, or a view of it
        key: the run's key
        max_images (200): images at most, highest score first
        method ("tsne"): ``tsne``, ``pca``, or ``umap`` (which is to be installed first)
        seed (51): seed of the layout
        progress (None): whether to show a progress bar, or a function that gets it

    Returns:
        a ``fiftyone.brain.VisualizationResults`` of the patches of ``<key>_segments``

    Raises:
        ValueError: if a parameter is wrong, the run does not exist, or none of its images is among the samples
        RunError: if the embedder is not the run's any more, or no image can be read
        MissingDependencyError: if the embedder is not installed

    Examples:
        >>> segad.visualize_segments(dataset, "segad", method="pca")  # doctest: +SKIP
    """
    if method not in PROJECTIONS:
        raise ValueError(f"method={method!r} must be one of {list(PROJECTIONS)}")
    if max_images < 1:
        raise ValueError(f"max_images must be from 1 on, got {max_images}")
    run = load_run(samples, key)
    field = run.field("segments")
    view = all_slices(samples).exists(run.field("score")).sort_by(run.field("score"), reverse=True).limit(max_images)
    ids, paths, indices = view.values(["id", "filepath", f"{field}.detections.index"])
    if not ids:
        raise ValueError(f"Run '{key}' scored none of these samples; pass the dataset")
    indices_of = dict(zip(ids, indices, strict=True))
    records = {record.id: record for record in run.store.scores if record.id in indices_of}
    embeddings: dict[str, LevelFeatures] = {}
    bar = fou.ProgressBar(total=len(ids), progress=progress, iters_str="images")
    with bar, RunFeatures(run) as features:
        for id, pixels in zip(ids, read_ahead(paths, usable_cores(), run.grey_scale), strict=True):
            bar.update(1)
            if isinstance(pixels, ImageError) or not indices_of[id]:
                continue
            try:
                patches = features.patches(records[id], pixels)
            except RunError as error:
                logger.warning("%s: %s", id, error)
                continue
            rows = features.levels.transform(patches)
            boxes = records[id].segments.boxes[indices_of[id]]
            places = [nearest_segments(level.segments, boxes) for level in patches]
            embeddings[id] = [level_rows[place] for level_rows, place in zip(rows, places, strict=True)]
    if not embeddings:
        raise RunError(f"None of the {len(ids)} images of run '{key}' can be read; check their files")
    dataset = samples._root_dataset
    delete_plot(dataset, key)
    return fob.compute_visualization(
        all_slices(dataset).select(list(embeddings)),
        patches_field=field,
        embeddings=_join_levels(embeddings),
        method=method,
        seed=seed,
        brain_key=plot_key(key),
        progress=False,
    )


def has_plot(dataset: fo.Dataset, key: str) -> bool:
    """Tell whether ``visualize_segments`` has stored a plot of a run; one that is being computed does not count."""
    name = plot_key(key)
    return dataset.has_brain_run(name) and dataset.load_brain_results(name) is not None


def segment_points(dataset: fo.Dataset, key: str) -> Points | None:
    """Read what ``visualize_segments`` stored; None if that is nothing, or segments have changed since."""
    if not has_plot(dataset, key):
        return None
    results = dataset.load_brain_results(plot_key(key))
    path = f"{key}_segments.detections"
    ids, scores = (
        all_slices(dataset).select(results.sample_ids).values([f"{path}.id", f"{path}.anomaly_score"], unwind=True)
    )
    by_id = dict(zip(ids, scores, strict=True))
    labels = [str(id) for id in results.label_ids]
    if not all(id in by_id for id in labels):
        return None
    owners = [str(id) for id in results.sample_ids]
    return Points(np.asarray(results.points, np.float64), labels, [by_id[id] for id in labels], owners)


def _join_levels(embeddings: dict[str, LevelFeatures]) -> dict[str, NDArray[np.float32]]:
    """Join the levels of each image to one array ``[segments, sum of d]`` in which every level weighs the same."""
    levels = range(len(next(iter(embeddings.values()))))
    deviations = []
    for level in levels:
        rows = np.concatenate([image[level] for image in embeddings.values()])  # [all segments, d]
        deviations.append(max(float(np.sqrt(rows.var(axis=0).sum())), 1e-12))
    return {id: np.hstack([image[level] / deviations[level] for level in levels]) for id, image in embeddings.items()}
