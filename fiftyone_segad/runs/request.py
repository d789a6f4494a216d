"""Check what a caller of ``compute_segment_anomalies`` asks for, and turn it into a job and a run."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from typing import Any

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from ..embedders.base import Embedder
from ..embedders.factory import get_embedder, resolve_name
from ..engine.calibration import Calibration
from ..engine.executors import Executor, check_executor, get_executor
from ..engine.job import Job, JobContext, JobImage, JobSpec
from ..engine.siblings import AUTO
from ..registry.colours import owns_color_scheme
from ..registry.keys import check_key
from ..registry.run import GREY_SCALE, Run
from ..registry.samples import check_collection, check_numbers, check_whole_number
from ..review.learnt import MARKS, LearntMarks, learnt_marks
from ..scoring import METHODS
from ..scoring.thresholds import ThresholdRule
from ..segments.boxes import Proposer, get_proposer
from ..storage.store import RunStore
from ..utils.copies import find_copies
from ..utils.grey_scale import FULL_RANGE
from ..utils.images import find_scale
from ..utils.object_storage import is_url, object_state
from ..utils.text import pluralize
from ..utils.threads import usable_cores
from .checks import check_align, check_clean, check_reference, check_threshold
from .features import segments_name
from .lifecycle import log_stages

logger = logging.getLogger(__name__)

DEFAULT_SEGMENTS = {"within_image": "grid:7"}
"""Segments of the methods that do not leave them to the embedder."""


@dataclass(frozen=True)
class RunRequest:
    """The arguments of ``compute_segment_anomalies``, checked, with the defaults filled in.

    Attributes:
        dataset: the dataset of the images
        key: the run's key
        spec: images, method and what else decides the scores but the embedder
        marks: digest of the marks that the run learns; None if there are none
        threshold: the rule of the thresholds
        embedder: name of the embedder, no longer ``auto``
        batch_size: segments that go through the model at once
        defects: as in ``compute_segment_anomalies``
        embedder_kwargs: further arguments of the embedder, as JSON values
        executor_name: one of ``EXECUTORS``
        workers: threads that decode images
    """

    dataset: fo.Dataset
    key: str
    spec: JobSpec
    marks: str | None
    threshold: ThresholdRule
    embedder: str
    batch_size: int | None
    defects: str
    embedder_kwargs: dict[str, Any]
    executor_name: str
    workers: int

    @classmethod
    def checked(
        cls,
        samples: Samples,
        key: str,
        method: str,
        reference: Samples | None,
        embedder: str,
        segments: str | Proposer | None,
        threshold: str | float | None,
        batch_size: int | None,
        num_workers: int | None,
        overwrite: bool,
        defects: str,
        rotations: int | None,
        bank_size: int | None,
        embedder_kwargs: Mapping[str, Any] | None,
        seed: int,
        executor: str,
        groups: str | None,
        clean: bool,
        align: bool | None,
    ) -> RunRequest:
        """Check the arguments; no model is loaded, and nothing is written.

        Raises:
            ValueError: if an argument is wrong
            MissingDependencyError: if Ray is asked for and not installed
        """
        dataset = check_collection(samples, "samples")
        if reference is not None:
            check_collection(reference, "reference", is_written=False)
        check_key(dataset, key, overwrite)
        if method not in METHODS:
            raise ValueError(f"method={method!r} is not known; use one of {list(METHODS)}")
        check_numbers(num_workers, bank_size, rotations, batch_size)
        check_whole_number("seed", seed, least=0)
        check_executor(executor)
        segments = DEFAULT_SEGMENTS.get(method) if segments is None else segments
        images = job_images(samples, segments)
        normals = [] if reference is None else reference_images(reference, segments, groups)
        # Images of a pool are compared with each other, the others with the normal ones
        paths = [image.path for image in images]
        normal_paths = [normal.path for normal in normals]
        if method != "reference" and groups not in (None, AUTO):
            raise ValueError(f"groups={groups!r} is for method='reference'; leave it out")
        check_clean(clean, method, normals)
        check_align(align, method, segments)
        copies = find_copies(paths, paths if method == "unlabeled" else normal_paths)
        check_reference(method, images, normals, copies)
        rule = check_threshold(threshold, samples, normals)
        name = resolve_name(embedder, method)
        if embedder == "auto":
            logger.info("embedder='auto' stands for '%s' here", name)
        marks = learnt_marks(dataset, key) if method == "reference" else LearntMarks([], [], None)
        kwargs, workers = _as_json(embedder_kwargs), num_workers or usable_cores()
        scale = find_scale(normal_paths, paths)
        spec = JobSpec(
            images,
            normals,
            method,
            segments,
            rotations,
            bank_size,
            marks.normal,
            marks.defects,
            seed,
            bank_names=copies,
            scale=scale,
            groups=groups,
            clean=clean,
            align=align,
        )
        return cls(dataset, key, spec, marks.digest, rule, name, batch_size, defects, kwargs, executor, workers)

    def load_embedder(self) -> Embedder:
        """Load the embedder; a context manager that closes it.

        Raises:
            ValueError: if its arguments are wrong
            MissingDependencyError: if it is not installed
        """
        return get_embedder(self.embedder, self.batch_size, self.defects, self.embedder_kwargs)

    def executor(self) -> AbstractContextManager[Executor]:
        """Make the executor ready; a context manager that closes it.

        Raises:
            SegadError: if there is no cluster at the address that was given
        """
        return closing(get_executor(self.executor_name, self.workers))

    def settings(self, model: Embedder) -> dict[str, Any]:
        """Return all that the scores depend on but the images themselves, as JSON values."""
        spec = self.spec
        compared = spec.images if spec.method == "unlabeled" else spec.normals
        return {
            "method": spec.method,
            "embedder": model.identity,
            "segments": segments_name(spec.segments),
            "normals": _digest(compared),
            "rotations": spec.rotations,
            "bank_size": spec.bank_size,
            "seed": spec.seed,
            "groups": spec.groups,
            "clean": spec.clean,
            "align": spec.align,
            "defects": self.defects,
            "embedder_kwargs": self.embedder_kwargs,
            MARKS: self.marks,
            GREY_SCALE: None if spec.scale == FULL_RANGE else [spec.scale.low, spec.scale.high],
        }

    def job(self, model: Embedder, store: RunStore, executor: Executor) -> Job:
        """Return the job that scores the images into a store."""
        return Job(self.spec, JobContext(model, store, self.workers, executor, on_stage=log_stages(self.key)))

    def run(self, job: Job, settings: dict[str, Any], calibration: Calibration) -> Run:
        """Return the run of a job that is done, to be committed."""
        store, spec = job.store, self.spec
        return Run(
            key=self.key,
            method=spec.method,
            embedder=self.embedder,
            settings=settings,
            thresholds=calibration.thresholds,
            map_range=calibration.map_range,
            folder=str(store.folder),
            masks="",
            scored=0,
            normals=len(set(store.bank.paths()) if spec.method == "reference" else store.normals.ids()),
            warnings=_warnings(spec),
            owns_color_scheme=owns_color_scheme(self.dataset),
        )


def job_images(samples: Samples, segments: str | Proposer | None) -> list[JobImage]:
    """Return the images of samples, under the samples' ids.

    Args:
        samples: the samples
        segments: as in ``compute_segment_anomalies``; if it names a field, the images bring its boxes

    Raises:
        ValueError: if ``segments`` is neither a specification of segments nor a Detections field
    """
    ids, paths = samples.values(["id", "filepath"])
    boxes: list[Any] = [None] * len(ids)
    if isinstance(segments, str) and samples.has_sample_field(segments):
        kind = getattr(samples.get_field(segments), "document_type", None)
        if kind is not fo.Detections:
            raise ValueError(f"segments={segments!r} is a field, but not of Detections")
        boxes = [image_boxes or [] for image_boxes in samples.values(f"{segments}.detections.bounding_box")]
    elif segments is not None:
        get_proposer(segments)
    return [JobImage(*image) for image in zip(ids, paths, boxes, strict=True)]


def reference_images(samples: Samples, segments: str | Proposer | None, groups: str | None = AUTO) -> list[JobImage]:
    """Return the images of samples to compare with, each file once and under its path; byte copies count as one.

    Args:
        samples: the samples
        segments: as in ``job_images``
        groups: as in ``compute_segment_anomalies``; if it names a field, the images bring its values

    Raises:
        ValueError: as ``job_images``, or if there is no such field, or its values put all images into one group
    """
    values = _group_values(samples, groups) if groups not in (None, AUTO) else [None] * len(samples)
    images = job_images(samples, segments)
    by_path = {image.path: replace(image, group=value) for image, value in zip(images, values, strict=True)}
    copies = find_copies(by_path, by_path)
    if copies:
        logger.info("%d of the normal images are copies of others and count once", len(copies))
    return [replace(image, id=path) for path, image in by_path.items() if path not in copies]


def _group_values(samples: Samples, field: str) -> list[str | None]:
    """Return the values of a field as texts, None where a sample has none."""
    if not samples.has_sample_field(field):
        raise ValueError(
            f"groups={field!r} is neither 'auto' nor a field of the normal images; name one that is the same for "
            "pictures of the same part, or pass None"
        )
    values = [None if value is None else str(value) for value in samples.values(field)]
    if len(values) > 1 and None not in values and len(set(values)) == 1:
        raise ValueError(
            f"groups={field!r} is the same for all normal images, so that none could be compared with another part; "
            "name a field that tells parts, or pass None"
        )
    return values


def _digest(images: Sequence[JobImage]) -> str | None:
    """Digest paths, states of the files and boxes of images; None if there are no images."""
    if not images:
        return None
    digest = hashlib.sha256()
    for image in images:
        digest.update(repr((image.path, _file_state(image.path), image.boxes, image.group)).encode())
    return digest.hexdigest()


def image_states(images: Sequence[JobImage]) -> dict[str, str]:
    """Digest path, state of the file and boxes of each image, by its id."""
    return {image.id: str(_digest([image])) for image in images}


def _file_state(path: str) -> tuple[int, int]:
    """Return the size of a file and when it was changed; -1 for both if it is not there."""
    if is_url(path):
        return object_state(path)
    try:
        state = os.stat(path)
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns


def _as_json(options: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(options or {})))
    except (TypeError, ValueError) as error:
        raise ValueError(f"embedder_kwargs must be numbers, texts and lists of these: {error}") from None
    return plain


def _warnings(spec: JobSpec) -> list[str]:
    warnings = copies_warnings(spec)
    if spec.normals and {spec.bank_path(image) for image in spec.images} <= {normal.path for normal in spec.normals}:
        warnings.append(
            "Every scored image is also a normal image; each was compared with the others only, so that the scores "
            "tell which normals are odd, not how well defects are found"
        )
    elif len(spec.normals) == 1:
        warnings.append(
            "A single normal image does not show how normal images vary: scores say little of what is usual, and the "
            "threshold is no false-alarm share. Add normal images"
        )
    return warnings


def copies_warnings(spec: JobSpec) -> list[str]:
    """Warn of images that are compared with others only, since what they are compared with holds them, too."""
    copies = [(path, original) for path, original in spec.bank_names.items() if path != original]
    if not copies or spec.method == "within_image":
        return []
    path, original = copies[0]
    are = pluralize(len(copies), "scored image is", "scored images are")
    if spec.method == "unlabeled":
        return [
            f"{are} the same file as, or a copy of, another one, and counted once; the first: {path} and {original}"
        ]
    return [
        f"{are} the same file as a normal image, or a copy of one, and compared with the others only; take out of the "
        f"normal images what is not normal. The first: {path} and {original}"
    ]
