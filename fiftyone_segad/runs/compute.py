"""``compute_segment_anomalies``: from a FiftyOne collection to a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fiftyone.core.collections import SampleCollection as Samples

from ..engine.methods import run_job, steps
from ..registry.exclusive import holds_run_lock
from ..registry.run import Run
from ..segments.boxes import Proposer
from .families import kept_families, take_over_families
from .inspection import InspectionRequest, MinArea
from .lifecycle import commit, find_or_create_store, progress_bar
from .parts import decide_again
from .request import RunRequest, image_states
from .thresholds import calibrate_run
from .views import scores_each_slice


@scores_each_slice
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
    rotations: int | None = None,
    bank_size: int | None = None,
    embedder_kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
    executor: str = "local",
    groups: str | None = "auto",
    clean: bool = False,
    align: bool | None = None,
    zones: str | None = None,
    zones_from: str | None = None,
    min_area: MinArea = None,
    pixel_size: float | None = None,
) -> Run:
    """Score the segments of each image, and add scores, maps, masks and regions to the dataset.

    The fields are ``<key>_score``, ``_pred``, ``_map``, ``_mask``, ``_segments`` and ``_regions``. An image
    that cannot be read or cut is skipped, listed in ``run.skipped`` and tagged ``<key>_skipped``. A new run of a key
    learns what was marked in a review of the old one, see ``mark_normal`` and ``mark_anomalous``.

    Of a grouped dataset each slice is scored as a run of its own, against the normal images of its own slice, with the
    key ``<key>_<slice>``; ``decide_parts`` takes them together, and ``delete_run`` of the key removes all of them.

    Args:
        samples: the images to score: a dataset, view or selection; grouped ones with all of their slices of images
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
        threshold (None): ``"fpr:0.05"`` (share of new good images that may be flagged; default with a
            reference), ``"quantile:0.95"`` of the scored images (default without), ``"alarms:20"`` (flagged at most),
            ``"f1"`` (best on the ground truth in ``defect_mask``), or a number
        batch_size (None): segments that go through the model at once
        num_workers (None): threads that decode images
        overwrite (False): replaces the run of this key; the old one stays until the new one is complete
        resume (True): goes on where an interrupted run with the same settings stopped
        progress (None): whether to show a progress bar, or a function that gets it, as in FiftyOne
        defects ("any"): ``small`` looks at fine patches only (finer maps; misses defects of texture and large
            areas), ``large`` at coarse ones only (calmer maps; misses small defects)
        rotations (None): copies of each normal image in the bank, turned in equal steps, for parts that lie at any
            angle. Each costs one more pass of the model over the normal images. By default a few normal images tell
            whether copies help, and then there are 400 of all together or a few more, at most 8 of each; fewer
            where the bank has no room for them, and 1 with ``segments``, fastdup or fewer than 4 normal images
        bank_size (None): features that the bank may hold at each scale; by default 131,072 at the finest one and as
            many more at the others as they have fewer per image, 256 MiB at most. More are reduced to a coreset. What
            is marked as normal may be as much again
        embedder_kwargs (None): further arguments of the embedder, e.g. ``{"input_size": 640}``; for fused ones by
            their names, ``{"efficientnet": {...}}``
        seed (0): seed of all that is chosen at random
        executor ("local"): ``ray`` has images embedded and scored on the cluster that Ray is connected to or that the
            variable ``RAY_ADDRESS`` names, or else by a Ray of this machine; its machines must see the images under the
            same paths. A run that was interrupted can go on with the other executor
        groups ("auto"): which normal images show the same part. Each is scored without all of its own part, as a new
            image has none of it in the bank; else thresholds are too low for new parts. ``auto`` finds out from their
            features, a field of the reference says it, and None takes each image for a part of its own
        clean (False): for normal images with defective ones among them that nobody has found: a segment must be like
            normal images of two parts, as a defect usually is in one. It costs accuracy where normal parts vary and
            are few, see ``docs/thresholds.md``
        align (None): whether the part on each image is laid straight and cut out before features are taken, for parts
            at any angle on a plain ground. What lies beside the part is then not inspected. By default a few normal
            images tell whether that helps, if ``rotations`` is left out as well; see ``docs/methods.md``
        zones (None): a field of boxes, polygons or masks with the labels ``ignore``, ``inspect`` or ``inspect: NAME``.
            What is ignored, or lies in none of the zones to inspect, counts in nothing; zones with names have
            thresholds of their own, see ``docs/zones.md``
        zones_from (None): id of a sample whose zones are those of all images of its size that have none themselves;
            they move with parts that are laid straight
        min_area (None): pixels that a region must have to count, or e.g. ``"0.5 mm2"``; or a dict of these by zone
        pixel_size (None): side of a pixel in mm; by default ``dataset.info["pixel_size"]``. Regions then have
            ``area_mm2``, ``length_mm`` and ``width_mm``

    Returns:
        the ``Run``; of samples of media type ``group``, a grouped dataset or a view of its groups, ``ViewRuns``, a
        mapping of slices to the ``Run`` of each, also where there is one slice only. A view of one slice,
        ``grouped.select_group_slices("left")``, is not grouped and gives a ``Run``

    Raises:
        ValueError: if a parameter is wrong, before any work
        MissingDependencyError: if the embedder or Ray is not installed, with the command that installs it
        OSError: if the run's folder cannot be written
        SegadError: if no image at all can be scored

    Examples:
        >>> dataset = fo.Dataset.from_images_dir("/photos")  # doctest: +SKIP
        >>> run = segad.compute_segment_anomalies(dataset, method="unlabeled")  # doctest: +SKIP
        >>> print(run)  # doctest: +SKIP
        >>> dataset.sort_by("segad_score", reverse=True).first().segad_pred.label  # doctest: +SKIP
        'anomalous'
    """
    request = RunRequest.checked(
        samples,
        key,
        method,
        reference,
        embedder,
        segments,
        threshold,
        batch_size,
        num_workers,
        overwrite,
        defects,
        rotations,
        bank_size,
        embedder_kwargs,
        seed,
        executor,
        groups,
        clean,
        align,
    )
    inspection = InspectionRequest.checked(samples, reference, method, zones, zones_from, min_area, pixel_size)
    dataset = request.dataset
    with request.load_embedder() as model, request.executor() as runner:
        settings = request.settings(model)
        store = find_or_create_store(dataset, key, settings, resume)
        with store.explain_write_errors():
            store.forget_changed(image_states(request.spec.images))
        job = request.job(model, store, runner)
        with progress_bar(job, steps(job), progress) as job, store.explain_write_errors():
            run_job(job)
            zoned_store = inspection.set_zones(store, method, job.spec.scale)
            calibration = calibrate_run(
                dataset, zoned_store, method, request.threshold, job.spec.ids, min_area=inspection.min_area
            )
            kept = kept_families(dataset, key)
            run = commit(dataset, inspection.record(request.run(job, settings, calibration)), job, calibration)
    take_over_families(dataset, run, kept)
    decide_again(dataset, key)
    return run
