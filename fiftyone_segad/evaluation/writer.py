"""Write an evaluation to a dataset: fields, files, and the evaluation that FiftyOne itself and its App know.

As with runs, everything goes to pending fields first and is committed together at the end.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray
from PIL import Image

from ..metrics.curves import overlap_to_limit, subsample_curve
from ..metrics.names import METRICS
from ..metrics.summary import Metrics
from ..registry.colours import BLUE, ORANGE, TEAL, set_colours
from ..registry.fields import detection, zero_mask
from ..registry.folders import evaluations_folder
from ..registry.keys import ANOMALOUS, EVALUATION_FIELDS, NORMAL, PLUGIN, evaluation_field, list_evaluations
from ..registry.locks import run_lock
from ..registry.removal import delete_evaluation_fields, remove_evaluation
from ..registry.run import Run
from ..registry.samples import all_slices
from ..registry.sidebar import add_group
from ..registry.uncommitted import remove_uncommitted, uncommitted
from ..segments.boxes import Size
from ..segments.regions import Region
from ..utils.files import write_png
from .evaluator import FALSE_ALARM, HIT, MISS, EvaluatedImage
from .results import AnomalyResults

ERRORS = {FALSE_ALARM: "false alarm", MISS: "miss", HIT: "hit"}
"""Names of the values of an error map; regions are labelled so too."""

_COLOURS = {"false alarm": ORANGE, "miss": BLUE, "hit": TEAL}  # told apart by colour-blind people too

_BATCH = 64

_CURVE_POINTS = 200
"""Points of the curve that is kept for the panel, which cannot make it: it needs all maps."""

_KINDS: dict[str, type[fo.Field]] = {
    "truth": fo.Classification,
    "regions": fo.Detections,
    "errors": fo.Segmentation,
    "iou": fo.FloatField,
    "f1": fo.FloatField,
    "aupimo": fo.FloatField,
}

_DESCRIPTIONS = {
    "truth": "normal or anomalous by the ground truth",
    "regions": "Predicted regions (hit or false alarm) and missed ones of the truth, at the threshold {threshold}",
    "errors": "Pixels: 1 false alarm, 2 miss, 3 hit, at the threshold {threshold}",
    "iou": "Intersection over union of predicted mask and ground truth; empty if both are",
    "f1": "F1 (Dice) of predicted mask and ground truth; empty if both are",
    "aupimo": "Pixel recall at false-positive rates of normal images from 1e-5 to 1e-4; defective images only",
}

_FIFTYONE_METRICS = ("precision", "recall")
"""Metrics that evaluations of FiftyOne have under the same names: the panel would show them twice."""

_OUTCOMES = {HIT: "TP", FALSE_ALARM: "FP", MISS: "FN"}


class EvaluationWriter:
    """Writes an evaluation to these fields, with its key before them:

    - ``<key>``: ``TP``, ``FP``, ``TN`` or ``FN`` of the image
    - ``<key>_truth``: Classification ``normal`` or ``anomalous``
    - ``<key>_iou``, ``<key>_f1``, ``<key>_aupimo``: figures of the image, to sort by
    - ``<key>_regions``: Detections labelled ``hit``, ``false alarm`` (predicted regions) or ``miss`` (regions of the
      ground truth), with ``outcome`` (TP, FP, FN), ``iou``, ``area`` in pixels and ``anomaly_score`` (peak)
    - ``<key>_errors``: Segmentation with the values of ``ERRORS``

    Args:
        dataset: the dataset
        eval_key: the evaluation's key
        run: the run that is evaluated
        gt_field: the field of the ground truth
    """

    def __init__(self, dataset: fo.Dataset, eval_key: str, run: Run, gt_field: str) -> None:
        self.dataset = dataset
        self.eval_key = eval_key
        self.run = run
        self.gt_field = gt_field
        self._folder = evaluations_folder(dataset) / f"{eval_key}-{uuid.uuid4().hex[:8]}"
        self._batch: dict[str, dict[str, Any]] = {}
        self._registered = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of the evaluation, and remove what was written if the block fails.

        Raises:
            RunBusyError: if another process writes an evaluation of this key
        """
        note = self._folder.parent / f"{self.eval_key}.json"
        with run_lock(self.dataset, self.eval_key):
            remove_uncommitted(note, self._must_stay)
            with uncommitted(note, [self._folder], self._must_stay):
                try:
                    self._folder.mkdir()
                    self._declare()
                    yield
                except BaseException:
                    self._discard()
                    raise

    def _must_stay(self, folder: Path) -> bool:
        """Return whether the evaluation of this key uses a folder, or it is none of an evaluation of this key."""
        self.dataset.reload()
        registered = self.eval_key in list_evaluations(self.dataset)
        current = self.dataset.get_run_info(self.eval_key).config.errors if registered else None
        ours = folder.parent == self._folder.parent and folder.name.startswith(f"{self.eval_key}-")
        return not ours or folder.name == current

    def _declare(self) -> None:
        delete_evaluation_fields(self.dataset, self.eval_key, pending=True)
        for name, kind in _KINDS.items():
            path = evaluation_field(self.eval_key, name, pending=True)
            description = _DESCRIPTIONS[name].format(threshold=f"{self.run.thresholds.image:.4g}")
            if issubclass(kind, fo.Field):
                self.dataset.add_sample_field(path, kind, description=description)
            else:
                self.dataset.add_sample_field(
                    path, fo.EmbeddedDocumentField, embedded_doc_type=kind, description=description
                )

    def add(self, image: EvaluatedImage) -> None:
        """Write what was measured of an image; images are written in batches."""
        result, regions, errors = image.result, [], None
        if image.errors is not None:
            size = (image.errors.shape[1], image.errors.shape[0])
            regions = [
                _region(region, HIT if true else FALSE_ALARM, size, iou)
                for region, true, iou in image.regions.predicted
            ]
            regions += [_region(region, MISS, size) for region in image.regions.missed]
            errors = self._error_map(result.id, image.errors)
        self._batch[result.id] = {
            "truth": fo.Classification(label=ANOMALOUS if result.defective else NORMAL),
            "regions": fo.Detections(detections=regions),
            "errors": errors,
            "iou": result.pixels.iou,
            "f1": result.pixels.f1,
            "aupimo": result.aupimo,
        }
        if len(self._batch) >= _BATCH:
            self._flush()

    def finish(self, samples: Samples, results: AnomalyResults) -> None:
        """Commit the evaluation: register it and swap its pending fields in, replacing one of the same key."""
        self._flush()
        dataset, eval_key = self.dataset, self.eval_key
        regions = evaluation_field(eval_key, "regions", pending=True)
        dataset.add_dynamic_sample_fields(all_slices(dataset).get_dynamic_field_schema(fields=regions))
        metrics = results.metrics()
        remove_evaluation(dataset, eval_key, keep_pending=True)
        self._register(results, metrics)
        fields = {name: evaluation_field(eval_key, name) for name in EVALUATION_FIELDS}
        dataset.rename_sample_fields(
            {evaluation_field(eval_key, name, pending=True): field for name, field in fields.items()}
        )
        self._set_colours(fields)
        self._register_with_fiftyone(self._evaluated(samples, list(results.images)), metrics)

    def _set_colours(self, fields: dict[str, str]) -> None:
        self.dataset.mask_targets = {**self.dataset.mask_targets, fields["errors"]: ERRORS}
        values = [{"value": label, "color": colour} for label, colour in _COLOURS.items()]
        targets = [{"intTarget": value, "color": _COLOURS[label]} for value, label in ERRORS.items()]
        set_colours(
            self.dataset,
            [
                {"path": fields["regions"], "colorByAttribute": "label", "valueColors": values},
                {"path": fields["errors"], "maskTargetsColors": targets},
            ],
        )

    def _discard(self) -> None:
        """Remove the fields of an evaluation that came to nothing, and its registration."""
        delete_evaluation_fields(self.dataset, self.eval_key, pending=True)
        if self._registered:
            remove_evaluation(self.dataset, self.eval_key)

    def _register(self, results: AnomalyResults, metrics: Metrics) -> None:
        """Register the evaluation as this package knows it, from when on it can be removed."""
        overlap = subsample_curve(*overlap_to_limit(*results.curve("pro")), max_points=_CURVE_POINTS)
        config = self.dataset.init_run(
            plugin=PLUGIN,
            evaluated=self.run.key,
            gt_field=self.gt_field,
            threshold=results.threshold,
            masks=self.run.masks,
            metrics=metrics,
            pro=[values.tolist() for values in overlap],
            errors=self._folder.name,
        )
        self.dataset.register_run(self.eval_key, config)
        self._registered = True

    def _evaluated(self, samples: Samples, ids: list[str]) -> Samples:
        """Return the evaluated ones of the samples, as a view that holds the fields of prediction and truth."""
        sample_ids = set(samples.values("id"))
        fields = (self.run.field("pred"), evaluation_field(self.eval_key, "truth"))
        # A view may leave the fields out, or be made of those of the evaluation that was replaced
        if not sample_ids.issuperset(ids) or not all(samples.has_sample_field(name) for name in fields):
            return all_slices(self.dataset).select(ids)
        return samples if len(sample_ids) == len(ids) else samples.select(ids)

    def _register_with_fiftyone(self, samples: Samples, metrics: Metrics) -> None:
        """Make it an evaluation that FiftyOne itself knows, which the App's Model Evaluation panel lists."""
        groups = self.dataset.app_config.sidebar_groups
        groups = None if groups is None else [group.copy() for group in groups]
        evaluation = samples.evaluate_classifications(
            self.run.field("pred"),
            gt_field=evaluation_field(self.eval_key, "truth"),
            eval_key=self.eval_key,
            classes=[NORMAL, ANOMALOUS],
            method="binary",
            progress=False,
        )
        evaluation.custom_metrics = {
            f"{PLUGIN}/{name}": {"key": name, "value": metrics[name], "label": title, "lower_is_better": name == "fpr"}
            for name, (title, _) in METRICS.items()
            if metrics[name] is not None and name not in _FIFTYONE_METRICS
        }
        evaluation.custom_metrics[f"{PLUGIN}/threshold"] = {
            "key": "threshold",
            "value": self.run.thresholds.image,
            "label": "Threshold that was evaluated",
            "lower_is_better": False,
        }
        evaluation.save()
        # FiftyOne fixes the groups of all fields, which would outlast the evaluation
        self.dataset.app_config.sidebar_groups = groups
        paths = [evaluation_field(self.eval_key, name) for name in EVALUATION_FIELDS]
        add_group(self.dataset, self.eval_key, [self.eval_key, *paths])

    def _flush(self) -> None:
        for name in EVALUATION_FIELDS:
            values = {id: labels[name] for id, labels in self._batch.items()}
            if values:
                path = evaluation_field(self.eval_key, name, pending=True)
                self.dataset.set_values(path, values, key_field="id", dynamic=True)
        self._batch = {}

    def _error_map(self, id: str, errors: NDArray[np.uint8]) -> fo.Segmentation:
        if not errors.any():
            return fo.Segmentation(mask_path=str(zero_mask(self._folder, errors.shape[1], errors.shape[0])))
        file = self._folder / f"{id}.png"
        write_png(file, Image.fromarray(errors), compress_level=1)
        return fo.Segmentation(mask_path=str(file))


def _region(region: Region, error: int, size: Size, iou: float = 0.0) -> fo.Detection:
    labelled = detection(region, size, ERRORS[error])
    labelled["outcome"] = _OUTCOMES[error]
    labelled["iou"] = iou
    return labelled
