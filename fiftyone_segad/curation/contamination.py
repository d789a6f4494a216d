"""``find_contamination``: which of the images that are taken for normal probably are not."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..embedders.aligned import AlignedEmbedder
from ..embedders.alignment import align as align_part
from ..embedders.alignment import map_boxes_back
from ..embedders.factory import Embedder, get_embedder
from ..engine.job import Job, JobImage
from ..engine.methods import run_job, steps
from ..errors import ImageError
from ..registry.fields import ANOMALOUS
from ..registry.samples import check_collection, check_numbers
from ..scoring.mutual import FEWEST
from ..segments.boxes import Size
from ..storage.records import ImageScores
from ..storage.store import RunStore
from ..utils.images import read_ahead
from ..utils.threads import usable_cores
from .exposure import Exposure, measure
from .groups import pixel_digest
from .registration import Curation, Progress, check_curation, write_curation
from .suspicion import SUSPECT, UNUSABLE, Suspicion, judge

logger = logging.getLogger(__name__)

CONTAMINATION_KEY = "contamination"

_UNTURNED = np.eye(2, 3)

METHODS = ("reference", "unlabeled")

FIELDS: dict[str, tuple[type[fo.Field] | type[fo.Label], str]] = {
    "": (fo.FloatField, f"Deviations from the usual image of the set; suspect from {SUSPECT} on"),
    "_reason": (fo.StringField, "What a suspect image probably is; empty if it is not suspect"),
    "_segment": (fo.Detections, "The most anomalous segment, with its anomaly_score"),
}
"""Types and descriptions of the fields, by what comes after the key in their names."""


def find_contamination(
    reference: Samples,
    key: str = CONTAMINATION_KEY,
    method: str = "reference",
    embedder: str = "auto",
    defects: str = "any",
    align: bool = False,
    tag: str | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    progress: Progress = None,
    seed: int = 0,
) -> fo.DatasetView:
    """Look for images among supposed normals that do not belong there, each compared with all others.

    Three fields replace those of the call before; ``delete_curation`` removes them:

    - ``<key>``: how far the image is from the usual one, in deviations; it is suspect from 3.5 on
    - ``<key>_reason``: of suspect ones, what it is: ``other camera``, ``bad exposure``, ``blur``, ``wrong category``,
      ``probable defect`` or ``cannot be used``, with figures
    - ``<key>_segment``: Detections with the most anomalous segment

    Args:
        reference: the images, all of one product: a dataset, view or selection
        key ("contamination"): names the first field and begins the names of the others
        method ("reference"): compares each segment with the nearest of any other image, so that two different images of
            one defect excuse each other; ``unlabeled`` with those of several other images, which is less accurate
            where parts vary
        embedder ("auto"): as in ``compute_segment_anomalies``
        defects ("any"): as there
        align (False): for parts that lie at any angle on a plain ground: each is turned to one angle and cut out first,
            so that one that lies like no other is not odd for that, nor is dirt beside it
        tag (None): tag for the suspect images
        batch_size (None): segments that go through the model at once
        num_workers (None): threads that decode images
        progress (None): whether to show a progress bar, or a function that gets it
        seed (0): seed of all that is chosen at random

    Returns:
        a view of the images, most suspect first. Those that cannot be used are first, with the highest score

    Raises:
        ValueError: if a parameter is wrong, before any work
        MissingDependencyError: if the embedder is not installed, with the command that installs it
        SegadError: if too few images can be used
    """
    dataset = check_collection(reference, "reference")
    if method not in METHODS:
        raise ValueError(f"method={method!r} must be one of {list(METHODS)}")
    check_numbers(num_workers)
    kinds = {f"{key}{name}": kind for name, kind in FIELDS.items()}
    curation = Curation(key, "contamination", list(kinds), tag)
    check_curation(dataset, curation)
    ids, paths = reference.values(["id", "filepath"])
    if len(ids) <= FEWEST:
        raise ValueError(f"reference has {len(ids)} images; at least {FEWEST + 1} can be compared with each other")
    images = [JobImage(id, path) for id, path in zip(ids, paths, strict=True)]
    loaded = get_embedder(embedder, batch_size, defects)
    with AlignedEmbedder(loaded) if align else loaded as model:
        examined = _examine(images, method, model, num_workers or usable_cores(), seed, progress)
    suspicions = examined.judge()
    scores = {id: each.contamination for id, each in suspicions.items()}
    worst = max(scores.values())
    values: dict[str, dict[str, Any]] = {
        key: {**dict.fromkeys(examined.errors, worst), **scores},
        f"{key}_reason": {
            **{id: f"{UNUSABLE}: {reason}" for id, reason in examined.errors.items()},
            **{id: each.reason for id, each in suspicions.items() if each.reason is not None},
        },
        f"{key}_segment": {
            id: _worst_segment(record, examined.places[id], examined.exposures[id].size)
            for id, record in examined.records.items()
        },
    }
    write_curation(dataset, curation, kinds, values, list(values[f"{key}_reason"]))
    order = [*examined.errors, *sorted(scores, key=lambda id: -scores[id])]
    return dataset.select(order, ordered=True)


@dataclass
class _Examined:
    """What is known of the images of a set, by sample id: of each either an error, or the rest."""

    exposures: dict[str, Exposure] = field(default_factory=dict)
    places: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Where segments lie in the image, as in ``Aligned``."""

    records: dict[str, ImageScores] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def judge(self) -> dict[str, Suspicion]:
        """How suspect each image is."""
        records = list(self.records.values())
        peaks = [record.image_score for record in records]
        middles = [float(np.median(record.scores)) for record in records]
        judged = judge(peaks, middles, [self.exposures[record.id] for record in records])
        return {record.id: each for record, each in zip(records, judged, strict=True)}


def _examine(
    images: list[JobImage], method: str, model: Embedder, workers: int, seed: int, progress: Progress
) -> _Examined:
    """Measures images and scores each against the others; nothing is left on disk.

    Raises:
        SegadError: if too few can be used
    """
    examined = _Examined()
    with tempfile.TemporaryDirectory(prefix="segad-") as scratch:
        store = RunStore.create(Path(scratch) / "run", {})
        job = Job(images, _normals(images, method), method, None, model, store, workers, advise=False, seed=seed)
        job.stage = lambda text: logger.info("%s ...", text)
        with fou.ProgressBar(total=len(images) + steps(job), progress=progress, iters_str="images") as bar:
            job.advance = bar.update
            job.images = _measure(job, examined)
            job.normals = _normals(job.images, method)
            run_job(job)
        examined.records = {record.id: record for record in store.scores}
    reasons = {entry["filepath"]: entry["reason"] for entry in job.skipped}
    unscored = [image for image in job.images if image.id not in examined.records]
    examined.errors |= {image.id: reasons.get(image.path, "it has no score") for image in unscored}
    if method == "unlabeled":  # those of the other method advise on arguments that there are none of here
        for text in job.warnings:
            logger.warning("%s", text)
    for text in examined.errors.values():
        logger.warning("Left out: %s", text)
    return examined


def _measure(job: Job, examined: _Examined) -> list[JobImage]:
    """Measures the images of a job; returns those that can be read.

    Images of the same pixels come back with the same path, by which a job knows that they are one: they would excuse
    each other.
    """
    aligned = isinstance(job.embedder, AlignedEmbedder)
    first: dict[str, str] = {}
    readable = []
    pixels_of = read_ahead([image.path for image in job.images], job.workers)
    for image, pixels in zip(job.images, pixels_of, strict=True):
        try:
            if isinstance(pixels, ImageError):
                raise pixels
            examined.places[image.id] = align_part(pixels).back if aligned else _UNTURNED
            examined.exposures[image.id] = measure(pixels)
            readable.append(JobImage(image.id, first.setdefault(pixel_digest(pixels), image.path)))
        except (ImageError, ValueError) as error:
            examined.errors[image.id] = str(error)
        job.advance(1)
    return readable


def _normals(images: list[JobImage], method: str) -> list[JobImage]:
    paths = {image.path: None for image in images} if method == "reference" else {}
    return [JobImage(path, path) for path in paths]


def _worst_segment(record: ImageScores, place: NDArray[np.float64], size: Size) -> fo.Detections:
    index = int(record.scores.argmax())
    [(x0, y0, x1, y1)] = (map_boxes_back(place, record.segments.boxes[[index]], size) / [*size, *size]).tolist()
    score = float(record.scores[index])
    worst = fo.Detection(label=ANOMALOUS, bounding_box=[x0, y0, x1 - x0, y1 - y0], anomaly_score=score)
    return fo.Detections(detections=[worst])
