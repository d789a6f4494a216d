"""``find_contamination``: which of the images that are taken for normal probably are not."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import ArrayLike, NDArray

from ..embedders.base import Embedder
from ..embedders.factory import get_embedder
from ..engine.job import Job, JobContext, JobImage, JobSpec
from ..engine.methods import run_job, steps
from ..errors import ImageError
from ..registry.keys import ANOMALOUS
from ..registry.samples import all_slices, check_collection, check_numbers, check_whole_number
from ..scoring.mutual import FEWEST
from ..storage.records import ImageScores
from ..storage.store import RunStore
from ..utils.exposure import Exposure, measure
from ..utils.grey_scale import GreyScale
from ..utils.images import find_scale, pixel_digest, read_ahead
from ..utils.threads import usable_cores
from .quality import ODD, modified_z, odd_sizes
from .registration import Curation, ShowProgress, check_curation, write_curation

logger = logging.getLogger(__name__)

CONTAMINATION_KEY = "contamination"

CONTAMINATION_METHODS = ("reference", "unlabeled")
"""Methods that compare images with each other."""

SUSPECT = ODD
"""Contamination from which an image is suspect."""

CONTAMINATION_FIELDS: dict[str, tuple[type[fo.Field] | type[fo.Label], str]] = {
    "": (fo.FloatField, f"Deviations from the usual image of the set; suspect from {SUSPECT} on"),
    "_reason": (fo.StringField, "What a suspect image probably is; empty if it is not suspect"),
    "_segment": (fo.Detections, "The most anomalous segment, with its anomaly_score"),
}
"""Types and descriptions of the fields, by what comes after the key in their names."""

_ODD_EXPOSURE = 2 * ODD
"""Deviations from which sharpness and exposure make an image suspect. They vary among good images more than a normal
distribution does, so that more is asked of them."""

_STEP = 1 / 3
"""Powers of two by which brightness, contrast or sharpness must differ too: a third of a stop, a camera's smallest step
of exposure."""

OTHER_SIZE = "other camera"
BAD_EXPOSURE = "bad exposure"
BLUR = "blur"
OTHER_CATEGORY = "wrong category"
DEFECT = "probable defect"
UNUSABLE = "cannot be used"


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
    progress: ShowProgress = None,
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

    Examples:
        >>> view = segad.find_contamination(dataset.match(F("split") == "train"))  # doctest: +SKIP
        >>> view.first().contamination_reason  # doctest: +SKIP
        'bad exposure (brightness 21, contrast 6)'
    """
    dataset = check_collection(reference, "reference")
    if method not in CONTAMINATION_METHODS:
        raise ValueError(f"method={method!r} must be one of {list(CONTAMINATION_METHODS)}")
    check_numbers(num_workers)
    check_whole_number("seed", seed, least=0)
    kinds = {f"{key}{name}": kind for name, kind in CONTAMINATION_FIELDS.items()}
    curation = Curation(key, "contamination", list(kinds), tag)
    check_curation(dataset, curation)
    ids, paths = reference.values(["id", "filepath"])
    if len(ids) <= FEWEST:
        raise ValueError(f"reference has {len(ids)} images; at least {FEWEST + 1} can be compared with each other")
    images = [JobImage(id, path) for id, path in zip(ids, paths, strict=True)]
    with get_embedder(embedder, batch_size, defects) as model:
        examined = _examine(images, method, align, model, num_workers or usable_cores(), seed, progress)
    suspicions = examined.judge()
    scores = {id: suspicion.contamination for id, suspicion in suspicions.items()}
    values: dict[str, dict[str, Any]] = {
        key: {**dict.fromkeys(examined.errors, max(scores.values())), **scores},
        f"{key}_reason": {
            **{id: f"{UNUSABLE}: {reason}" for id, reason in examined.errors.items()},
            **{id: suspicion.reason for id, suspicion in suspicions.items() if suspicion.reason is not None},
        },
        f"{key}_segment": {id: _most_anomalous_segment(record) for id, record in examined.records.items()},
    }
    write_curation(dataset, curation, kinds, values, list(values[f"{key}_reason"]))
    order = [*examined.errors, *sorted(scores, key=lambda id: -scores[id])]
    return all_slices(dataset).select(order, ordered=True)


@dataclass(frozen=True)
class Suspicion:
    """The judgement on an image.

    Attributes:
        contamination: deviations from the usual image: 0 is usual, ``SUSPECT`` and more is suspect
        reason: what it is probably, with the figure; None if it is not suspect
    """

    contamination: float
    reason: str | None


def judge(peaks: ArrayLike, medians: ArrayLike, exposures: Sequence[Exposure]) -> list[Suspicion]:
    """Judge images by what the others are like.

    An image is suspect for its anomaly score, for exposure, for blur or for its size; the largest deviation counts.
    One that is odd as a whole is named by the cause that explains it: size, exposure and blur change all features of
    an image, and another category changes most of them, so that a defect is what is left.

    Args:
        peaks: float ``[n]``, anomaly score of each image, scored without itself
        medians: float ``[n]``, median anomaly score of the segments of each image
        exposures: the statistics of each image

    Examples:
        >>> alike = [Exposure((64, 48), 500.0, 120.0, 40.0, 0.0)] * 5
        >>> [suspicion.reason for suspicion in judge([1, 2, 3, 4, 100], [0] * 5, alike)]
        [None, None, None, None, 'probable defect']
    """
    peaks, medians = np.asarray(peaks, np.float64), np.asarray(medians, np.float64)
    sizes = odd_sizes([exposure.size for exposure in exposures])
    brightness = _deviations_of_factors([exposure.brightness for exposure in exposures])
    contrast = _deviations_of_factors([exposure.contrast for exposure in exposures])
    sharpness = _deviations_of_factors([exposure.blur for exposure in exposures])
    anomaly = modified_z(peaks)
    # Half of its segments score higher than the peak of a usual image: nothing in it looks like the others
    foreign = medians > np.median(peaks) if peaks.size else np.zeros(0, bool)
    suspicions = []
    for i, exposure in enumerate(exposures):
        other_size = f"{OTHER_SIZE} ({exposure.size[0]} x {exposure.size[1]} px)"
        bad_exposure = f"{BAD_EXPOSURE} (brightness {exposure.brightness:.0f}, contrast {exposure.contrast:.0f})"
        # More contrast and sharpness are no fault of a picture: defects add to both
        deviations = {
            other_size: _ODD_EXPOSURE if sizes[i] else 0.0,
            bad_exposure: _zero_below_odd(max(abs(brightness[i]), -contrast[i])),
            f"{BLUR} (variance of the Laplacian {exposure.blur:.1f})": _zero_below_odd(-sharpness[i]),
            OTHER_CATEGORY: anomaly[i] if foreign[i] else 0.0,
            DEFECT: anomaly[i],
        }
        reason = next((cause for cause, deviation in deviations.items() if deviation >= SUSPECT), None)
        # A usual image keeps its own rank, below 0 where it is more usual than most
        contamination = max(deviations.values()) if reason is not None else anomaly[i]
        suspicions.append(Suspicion(float(contamination), reason))
    return suspicions


def _zero_below_odd(deviation: float) -> float:
    return deviation if deviation >= _ODD_EXPOSURE else 0.0


def _deviations_of_factors(values: Sequence[float]) -> NDArray[np.float64]:
    """Return deviations ``[n]`` of factors; 0 of those below ``_STEP``: a defect may cause them in constant light."""
    logarithms = np.log2(np.asarray(values, np.float64) + 1)
    steps = np.abs(logarithms - np.median(logarithms)) if len(logarithms) else logarithms
    return np.where(steps >= _STEP, modified_z(logarithms), 0.0)


@dataclass
class _Examined:
    """The images of a set by sample id: of each either an error, or the rest."""

    exposures: dict[str, Exposure] = field(default_factory=dict)
    records: dict[str, ImageScores] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def judge(self) -> dict[str, Suspicion]:
        """Judge the images that have a score."""
        records = list(self.records.values())
        peaks = [record.image_score for record in records]
        medians = [float(np.median(record.scores)) for record in records]
        suspicions = judge(peaks, medians, [self.exposures[record.id] for record in records])
        return {record.id: suspicion for record, suspicion in zip(records, suspicions, strict=True)}


def _examine(
    images: list[JobImage],
    method: str,
    align: bool,
    model: Embedder,
    workers: int,
    seed: int,
    progress: ShowProgress,
) -> _Examined:
    """Measure images and score each against the others; nothing is left on disk.

    Raises:
        SegadError: if too few can be used
    """
    examined = _Examined()
    scale = find_scale([image.path for image in images])
    with tempfile.TemporaryDirectory(prefix="segad-") as scratch:
        store = RunStore.create(Path(scratch) / "run", {})
        context = JobContext(model, store, workers, on_stage=lambda text: logger.info("%s ...", text))
        total = len(images) + steps(Job(_spec(images, method, align, seed, scale), context))
        with fou.ProgressBar(total=total, progress=progress, iters_str="images") as bar:
            context = replace(context, on_progress=bar.update)
            readable = _measure(images, context, examined, scale)
            report = run_job(Job(_spec(readable, method, align, seed, scale), context))
        examined.records = {record.id: record for record in store.scores}
    reasons = {entry["filepath"]: entry["reason"] for entry in report.skipped}
    unscored = [image for image in readable if image.id not in examined.records]
    examined.errors |= {image.id: reasons.get(image.path, "it has no score") for image in unscored}
    if method == "unlabeled":  # those of the other method advise on arguments that there are none of here
        for text in report.warnings:
            logger.warning("%s", text)
    for text in examined.errors.values():
        logger.warning("Left out: %s", text)
    return examined


def _measure(images: list[JobImage], context: JobContext, examined: _Examined, scale: GreyScale) -> list[JobImage]:
    """Measure images; return those that can be read.

    Images of the same pixels come back with the same path, by which a job knows that they are one: they would excuse
    each other.
    """
    path_of_pixels: dict[str, str] = {}
    readable = []
    pixels_of = read_ahead([image.path for image in images], context.workers, scale)
    for image, pixels in zip(images, pixels_of, strict=True):
        try:
            if isinstance(pixels, ImageError):
                raise pixels
            examined.exposures[image.id] = measure(pixels)
            readable.append(JobImage(image.id, path_of_pixels.setdefault(pixel_digest(pixels), image.path)))
        except (ImageError, ValueError) as error:
            examined.errors[image.id] = str(error)
        context.on_progress(1)
    return readable


def _spec(images: list[JobImage], method: str, align: bool, seed: int, scale: GreyScale) -> JobSpec:
    paths = dict.fromkeys(image.path for image in images) if method == "reference" else ()
    normals = [JobImage(path, path) for path in paths]
    return JobSpec(images, normals, method, None, seed=seed, scale=scale, align=align)


def _most_anomalous_segment(record: ImageScores) -> fo.Detections:
    index = int(record.scores.argmax())
    box = record.segments.relative()[index].tolist()
    segment = fo.Detection(label=ANOMALOUS, bounding_box=box, anomaly_score=float(record.scores[index]))
    return fo.Detections(detections=[segment])
