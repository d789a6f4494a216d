"""``compute_segment_anomalies`` and ``set_threshold``: from a FiftyOne collection to a run."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import fiftyone.core.utils as fou
from fiftyone.core.collections import SampleCollection as Samples

from ..data.truth import GT_FIELD, read_truth
from ..embedders.base import Embedder
from ..embedders.factory import get_embedder, resolve_name
from ..engine.executors import check_executor, get_executor
from ..engine.job import Job, JobContext, JobImage, JobSpec
from ..engine.methods import run_job, steps
from ..registry.exclusive import holds_run_lock
from ..registry.run import Run, check_key, owns_color_scheme
from ..registry.samples import check_collection, check_numbers, job_images, reference_images
from ..review.marks import MARKS, marked_images
from ..scoring import METHODS
from ..scoring.mutual import FEWEST
from ..scoring.thresholds import DEFAULT_FPR, DEFAULT_QUANTILE, ThresholdRule, parse_threshold
from ..segments.boxes import Proposer
from ..utils.object_storage import is_url, object_state
from ..utils.threads import usable_cores
from .lifecycle import masks_name, open_store, put_in_place
from .thresholds import calibrated

logger = logging.getLogger(__name__)

DEFAULT_SEGMENTS = {"within_image": "grid:7"}
"""Segments of the methods that do not leave them to the embedder."""


@holds_run_lock
def compute_segment_anomalies(
    samples: Samples,
    key: str = "segad",
    method: str = "reference",
    reference: Samples | None = None,
    embedder: str = "auto",
    segments: str | Proposer | None = None,
    threshold: str | float | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    overwrite: bool = False,
    resume: bool = True,
    progress: bool | Callable[[Any], None] | None = None,
    defects: str = "any",
    rotations: int = 1,
    bank_size: int | None = None,
    embedder_kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
    executor: str = "local",
) -> Run:
    """Scores the segments of each image and adds scores, maps, masks and regions to the dataset.

    The fields are ``<key>_score``, ``_pred``, ``_map``, ``_mask``, ``_segments`` and ``_regions``. An image
    that cannot be read or cut is skipped, listed in ``run.skipped`` and tagged ``<key>_skipped``. A new run of a key
    learns what was marked as normal in a review of the old one, see ``mark_normal``.

    Args:
        samples: the images to score: a dataset, view or selection
        key ("segad"): name of the run and prefix of its fields
        method ("reference"): ``reference`` compares each segment with the segments of normal images,
            ``unlabeled`` with those of all other images, of which most should be normal, and ``within_image``
            with the others of its own image by fastdup's outlier rule (the original method)
        reference (None): normal images, from this or another dataset. An image that is also scored is
            never compared with itself. For ``within_image`` they only set the threshold
        embedder ("auto"): ``efficientnet`` (patches at three scales), ``fastdup`` (its model in memory, on tiles of
            two sizes), ``fastdup+efficientnet`` (both, fused), a PyTorch
            network by name (``"timm:NAME"``, ``"torchhub:OWNER/REPO:NAME"``, ``"zoo:NAME"``), or ``auto`` for the
            best single one that is installed
        segments (None): by default the embedder's own patches, and ``"grid:7"`` for ``within_image``. Or
            ``"tiles"``, ``"tiles:SIZE:STRIDE"`` as shares of the shorter side, the name of a Detections field, or a
            function of the image size ``(width, height)`` that gives pixel boxes ``[n, 4]``
        threshold (None): ``"fpr:0.01"`` (share of normal images that may be flagged; default with a
            reference), ``"quantile:0.95"`` of the scored images (default without), ``"f1"`` (best on the
            ground truth in ``defect_mask``), or a number
        batch_size (None): segments that go through the model at once
        num_workers (None): threads that decode images
        overwrite (False): replaces the run of this key; the old one stays until the new one is complete
        resume (True): goes on where an interrupted run with the same settings stopped
        progress (None): whether to show a progress bar, or a function that gets it, as in FiftyOne
        defects ("any"): ``small`` looks at fine patches only (finer maps; misses defects of texture and large
            areas), ``large`` at coarse ones only (calmer maps; misses small defects)
        rotations (1): copies of each normal image in the bank, turned in equal steps; 8 for parts that lie at any
            angle. Each costs one more pass of the model over the normal images
        bank_size (None): features that the bank may hold at each scale; by default 131,072 at the finest one and as
            many more at the others as they have fewer an image, 256 MiB at most. More are reduced to a coreset. What is
            marked as normal may be as much again
        embedder_kwargs (None): further arguments of the embedder, e.g. ``{"input_size": 640}``; for fused ones by
            their names, ``{"efficientnet": {...}}``
        seed (0): seed of all that is chosen at random
        executor ("local"): ``ray`` has images embedded and scored on the cluster that Ray is connected to or that the
            variable ``RAY_ADDRESS`` names, or else by a Ray of this machine; its machines must see the images under the
            same paths. A run that was interrupted can go on with the other executor

    Returns:
        the ``Run``

    Raises:
        ValueError: if a parameter is wrong, before any work
        MissingDependencyError: if the embedder or Ray is not installed, with the command that installs it
        OSError: if the run's folder cannot be written
        SegadError: if no image at all can be scored
    """
    dataset = check_collection(samples, "samples")
    if reference is not None:
        check_collection(reference, "reference")
    check_key(dataset, key, overwrite)
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not known; use one of {list(METHODS)}")
    check_numbers(num_workers=num_workers, bank_size=bank_size, rotations=rotations)
    check_executor(executor)
    spec = DEFAULT_SEGMENTS.get(method) if segments is None else segments
    images = job_images(samples, spec)
    normals: list[JobImage] = [] if reference is None else reference_images(reference, spec)
    _check_reference(method, images, normals)
    rule = _check_threshold(threshold, samples, normals)
    chosen = resolve_name(embedder, method)
    workers = num_workers or usable_cores()
    with (
        get_embedder(chosen, batch_size, defects, embedder_kwargs) as model,
        closing(get_executor(executor, workers)) as runner,
    ):
        settings = _settings(method, model, spec, normals if method != "unlabeled" else images)
        settings |= {"rotations": rotations, "bank_size": bank_size, "seed": seed, "defects": defects}
        settings["embedder_kwargs"] = _as_json(embedder_kwargs)
        marks, settings[MARKS] = marked_images(dataset, key) if method == "reference" else ([], None)
        store = open_store(dataset, key, settings, resume)
        if embedder == "auto":
            logger.info("embedder='auto' stands for '%s' here", chosen)
        job_spec = JobSpec(images, normals, method, spec, rotations, bank_size, marks, seed)
        context = JobContext(model, store, workers, runner, on_stage=lambda text: logger.info("%s: %s ...", key, text))
        job = Job(job_spec, context)
        bar = fou.ProgressBar(total=steps(job) + len(images), progress=progress, iters_str="images")
        job = job.with_progress(bar.update)
        with bar, store.explain_write_errors():
            report = run_job(job)
            present = {image.id for image in images}
            calibration = calibrated(dataset, store, method, rule, present)
            run = Run(
                key=key,
                method=method,
                embedder=chosen,
                settings=settings,
                thresholds=calibration.thresholds,
                map_range=calibration.map_range,
                folder=str(store.folder),
                masks=masks_name(),
                scored=len(store.scores.ids() & present),
                normals=len(set(store.bank.paths()) if method == "reference" else store.normals.ids()),
                skipped=report.skipped,
                warnings=_warnings(images, normals) + report.warnings + calibration.warnings,
                seconds=report.seconds,
                owns_color_scheme=owns_color_scheme(dataset),
            )
            with job.timer("write"):
                put_in_place(dataset, run, calibration, present, bar.update)
    logger.info("%s", run)
    return run


def _check_reference(method: str, images: list[JobImage], normals: list[JobImage]) -> None:
    if method == "reference" and not normals:
        raise ValueError(
            "method='reference' needs normal images: pass reference=..., e.g. dataset.match_tags('good') or "
            "dataset.match(F('split') == 'train'); without any, use method='unlabeled'"
        )
    if method == "unlabeled" and normals:
        raise ValueError("method='unlabeled' takes no reference=...; with normal images use method='reference'")
    if method == "unlabeled" and len({image.path for image in images}) <= FEWEST:
        raise ValueError(
            f"method='unlabeled' compares images with each other and needs at least {FEWEST + 1}, got {len(images)}"
        )
    if method == "reference" and len(normals) == 1 and {i.path for i in images} == {normals[0].path}:
        raise ValueError("The only normal image is also the only image to score; add normals to reference=...")


def _check_threshold(threshold: str | float | None, samples: Samples, normals: list[JobImage]) -> ThresholdRule:
    if threshold is None:
        threshold = f"fpr:{DEFAULT_FPR}" if len(normals) > 1 else f"quantile:{DEFAULT_QUANTILE}"
    rule = parse_threshold(threshold)
    if rule.kind == "fpr" and len(normals) < 2:
        raise ValueError(f"threshold='{rule}' needs at least 2 normal images in reference=...; use 'quantile:0.95'")
    if rule.kind == "f1":
        read_truth(samples, GT_FIELD)
    return rule


def _settings(method: str, model: Embedder, spec: str | Proposer | None, normals: list[JobImage]) -> dict[str, Any]:
    """All that the scores depend on but the images themselves, as JSON values."""
    named = spec
    if callable(spec):
        named = f"{spec.__module__}.{getattr(spec, '__qualname__', repr(spec))}"
    digest = hashlib.sha256()
    for normal in normals:
        digest.update(repr((normal.path, _file_state(normal.path), normal.boxes)).encode())
    return {
        "method": method,
        "embedder": model.identity,
        "segments": named,
        "normals": digest.hexdigest() if normals else None,
    }


def _as_json(options: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(options or {})))
    except TypeError as error:
        raise ValueError(f"embedder_kwargs must be numbers, texts and lists of these: {error}") from None
    return plain


def _file_state(path: str) -> tuple[int, int]:
    if is_url(path):
        return object_state(path)
    try:
        state = os.stat(path)
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns


def _warnings(images: list[JobImage], normals: list[JobImage]) -> list[str]:
    if normals and {image.path for image in images} <= {normal.path for normal in normals}:
        return [
            "Every scored image is also a normal image; each was compared with the others only, so that the scores "
            "tell which normals are odd, not how well defects are found"
        ]
    if len(normals) == 1:
        return [
            "A single normal image does not show how normal images vary: scores say little of what is usual, and the "
            "threshold is no false-alarm share. Add normal images"
        ]
    return []
