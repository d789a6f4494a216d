"""``import_predictions``: the maps and scores of any other program as a run."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
from fiftyone.core.collections import SampleCollection as Samples

from ..engine.job import JobImage
from ..registry.colours import owns_color_scheme
from ..registry.exclusive import holds_run_lock
from ..registry.fields import write_fields
from ..registry.folders import current_folders, in_use, runs_folder
from ..registry.keys import check_key
from ..registry.run import Run, load_run, save_run
from ..registry.samples import check_collection
from ..scoring import IMPORTED
from ..scoring.thresholds import ThresholdRule
from ..storage.store import RunStore
from .checks import check_threshold
from .lifecycle import new_masks_name
from .prediction_plan import ImportPlan
from .thresholds import calibrate_run

logger = logging.getLogger(__name__)


def import_predictions(
    samples: Samples,
    predictions: Any,
    key: str,
    scores: Mapping[str, float] | str | Path | None = None,
    reference: Samples | None = None,
    threshold: str | float | None = None,
    model: str = "another program",
    overwrite: bool = False,
    progress: bool | Callable[[Any], None] | None = None,
) -> Run:
    """Make a run of the anomaly maps that another program has predicted, such as a model of anomalib.

    It can be looked at, triaged, marked, evaluated, compared and exported as any other. It has no bank and no features:
    it cannot score further images, be rescored or explained.

    A map stands for the whole of its image, whatever its size and shape. It is kept at most as fine as the heatmap (256
    px on the longest side), each cell the mean of what it covers, and interpolated between their centres; the run's
    warnings say how much the peaks lost. An image's score is the one that is given, else the peak of its map before
    that. Where scores are given, all maps of the run are stretched alike, so that their peaks have the mean and the
    spread of the scores: one threshold then means the same for both, and no figure of pixels changes.

    Args:
        samples: the images
        predictions: a folder of maps (``.npy``, ``.npz``, ``.tiff``, or grey ``.png``) that are called as their images
            are, in the same folders where names alone do not tell; a dict of arrays or tensors ``[height, width]``, or
            of pairs of such a map and a score, by id or path of the image; or what anomalib's ``Engine.predict``
            returns
        key: key of the run
        scores (None): image scores, as a dict by id or path, or as a ``.csv`` file with columns ``image`` and ``score``
        reference (None): good images with predictions that the program was not trained on, for the threshold and the
            p-values
        threshold (None): as in ``compute_segment_anomalies``: ``"fpr:0.05"`` with a reference, else
            ``"quantile:0.95"``
        model ("another program"): what made the predictions, for people
        overwrite (False): whether a run of this key is replaced
        progress (None): whether to show a progress bar, or a function that gets it

    Returns:
        the run; images without a usable prediction are in ``run.skipped``

    Raises:
        FileNotFoundError: if there is no such folder or file, or no map in it
        ValueError: if a parameter is wrong, the key is taken, or no prediction is of an image of the dataset
        OSError: if the run's folder cannot be written

    Examples:
        >>> run = segad.import_predictions(dataset, "anomaly_maps", "patchcore", model="PatchCore")  # doctest: +SKIP
        >>> predictions = Engine().predict(model=model, dataset=data)  # of anomalib  # doctest: +SKIP
        >>> run = segad.import_predictions(dataset, predictions, "efficientad")  # doctest: +SKIP
        >>> segad.compare_runs(dataset, ["segad", "patchcore"])  # doctest: +SKIP
    """
    return _import(samples, key, predictions, scores, reference, threshold, model, overwrite, progress)


@holds_run_lock
def _import(
    samples: Samples,
    key: str,
    predictions: Any,
    scores: Mapping[str, float] | str | Path | None,
    reference: Samples | None,
    threshold: str | float | None,
    model: str,
    overwrite: bool,
    progress: bool | Callable[[Any], None] | None,
) -> Run:
    dataset = check_collection(samples, "samples")
    check_key(dataset, key, overwrite)
    if not isinstance(model, str) or not model:
        raise ValueError(f"model={model!r} must be the name of what made the predictions")
    if reference is not None:
        check_collection(reference, "reference", is_written=False)
    plan = ImportPlan.of(samples, reference, predictions, scores)
    rule = check_threshold(threshold, samples, [JobImage(path, path) for path in plan.normals.values()])
    scale = plan.scale()
    settings: dict[str, Any] = {
        **{"method": IMPORTED, "embedder": model, "segments": None, "defects": "any", "embedder_kwargs": {}},
        **{"bank_size": None, "seed": 0, "image_score": "given" if plan.scored else "peak", "map_scale": scale},
    }
    store = RunStore.create(runs_folder(dataset, key) / uuid.uuid4().hex[:12], settings)
    try:
        with store.explain_write_errors():
            total = 2 * len(plan.images) + len(plan.normals)
            with fou.ProgressBar(total=total, progress=progress, iters_str="images") as bar:
                plan.fill(store, scale, bar.update)
                return _commit(dataset, key, store, plan, rule, bar.update)
    except BaseException:
        if not in_use(store.folder):
            store.delete()
        raise


def _commit(
    dataset: fo.Dataset,
    key: str,
    store: RunStore,
    plan: ImportPlan,
    rule: ThresholdRule,
    advance: Callable[[int], None],
) -> Run:
    settings = store.settings()
    ids = store.scores.ids()
    assert settings is not None
    if not ids:
        raise ValueError(f"None of the predictions can be used. {plan.skipped[-1]['reason']}")
    calibration = calibrate_run(dataset, store, IMPORTED, rule, ids)
    run = Run(
        key=key,
        method=IMPORTED,
        embedder=settings["embedder"],
        settings=settings,
        thresholds=calibration.thresholds,
        map_range=calibration.map_range,
        folder=str(store.folder),
        masks=new_masks_name(),
        scored=len(ids),
        normals=len(store.normals.ids()),
        skipped=plan.skipped,
        warnings=plan.warnings() + calibration.warnings,
        owns_color_scheme=owns_color_scheme(dataset),
        false_alarm_share=calibration.false_alarm_share,
    )
    obsolete = current_folders(dataset, key)
    with plan.timer("write"):
        write_fields(dataset, run, store.scores, calibration.compared, advance=advance, obsolete=obsolete)
    run = replace(run, seconds=dict(plan.timer.seconds))
    save_run(dataset, run)
    dataset.reload()
    logger.info("%s", run)
    return load_run(dataset, key)
