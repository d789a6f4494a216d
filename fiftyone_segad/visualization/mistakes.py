"""The images that an evaluation got wrong: which they are, and their pictures for a report or a notebook."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import fiftyone as fo
import numpy as np
from PIL import Image

from ..data.truth import Truth, read_truth
from ..engine.calibration import normal_scores
from ..engine.prediction import predicted_mask
from ..errors import ImageError, RunError
from ..registry.run import Run
from ..registry.samples import all_slices
from ..scoring.conformal import NormalScores
from ..storage.records import ImageScores
from ..utils.drawing import shrink_mask
from ..utils.grey_scale import FULL_RANGE
from .pictures import SamplePicture, short_name

if TYPE_CHECKING:
    from ..evaluation.results import AnomalyResults

SIDE = 320
"""Longest side of a picture in pixels."""

TITLES = ("image", "anomaly map", "mask")
"""The pictures of each image."""

JPEG_QUALITY = 82


@dataclass
class Mistake:
    """An image that an evaluation got wrong, as it is shown to people.

    Attributes:
        id: the sample's id
        name: its file and the folder of it
        facts: kind of defect, score, threshold and p-value, as one line of text
        pictures: by ``TITLES``; those that cannot be drawn are absent
        problems: why pictures are absent
    """

    id: str
    name: str
    facts: str
    pictures: dict[str, Image.Image] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def false_alarms(results: AnomalyResults) -> list[str]:
    """Return ids of the normal images that were flagged, highest score first."""
    return results.ids("FP")


def misses(results: AnomalyResults) -> list[str]:
    """Return ids of the defective images that were not flagged, largest defect first: it should have been easiest."""

    def size(id: str) -> tuple[int, float]:
        image = results.images[id]
        return -(image.pixels.tp + image.pixels.fn), image.score

    return sorted(results.ids("FN"), key=size)


def draw_mistakes(results: AnomalyResults, ids: Sequence[str]) -> list[Mistake]:
    """Draw image, map and masks of some images, from the scores and thresholds of the evaluation.

    Where something is gone since (an image, a mask, the run's folder, the sample, the dataset), its pictures are
    absent, and ``problems`` says why.
    """
    paths, truths = _read_samples(results, ids)
    records = _read_records(results.run, set(ids))
    normals = _read_normal_scores(results.run)
    mistakes = []
    for id in ids:
        name = short_name(paths[id]) if id in paths else id
        mistake = Mistake(id, name, _facts(results, id, normals, records.get(id)))
        if id in paths:
            _draw(mistake, paths[id], truths.get(id), records.get(id), results.run)
        else:
            mistake.problems.append("The sample is not in the dataset any more")
        mistakes.append(mistake)
    return mistakes


def sample_names(results: AnomalyResults, ids: Collection[str]) -> dict[str, str]:
    """Return file and folder, by id, of the samples that are still in the dataset."""
    return {id: short_name(path) for id, path in _read_paths(present_dataset(results), ids).items()}


def root_dataset(results: AnomalyResults) -> Any:
    """Return the dataset of the samples, since the view that was evaluated may have lost some.

    Only its name is safe to ask for: it may be deleted. None if the results hold no samples.
    """
    samples = results.samples
    # A deleted dataset refuses to be asked for its root, which it is itself
    return samples if samples is None or isinstance(samples, fo.Dataset) else samples._root_dataset


def _facts(results: AnomalyResults, id: str, normals: NormalScores, record: ImageScores | None) -> str:
    image = results.images[id]
    facts = [" / ".join(part for part in image.group if part)] if image.defective else []
    facts += [f"score {image.score:.4g}", f"threshold {results.threshold:.4g}"]
    if len(normals):
        facts.append(f"p-value {normals.p_values([image.score])[0]:.3g}")
    if record is not None and record.zones is not None and record.zones.decisive:
        facts.append(f"zone {record.zones.decisive}")
    return " · ".join(facts)


def _draw(mistake: Mistake, path: str, truth: Truth | None, record: ImageScores | None, run: Run | None) -> None:
    try:
        picture = SamplePicture.open(path, SIDE, run.grey_scale if run is not None else FULL_RANGE)
    except ImageError as error:
        mistake.problems.append(str(error))
        return
    if record is not None and run is not None:
        low, high = run.map_range
        heat = (record.map(picture.size) - low) / max(high - low, 1e-12)
        picture.heat = np.clip(heat, 0, 1)
        mask = predicted_mask(record, record.map(), run.thresholds)
        picture.predicted = shrink_mask(mask, picture.size)
    else:
        picture.problems.append("The run's scores are gone, and with them map and predicted mask")
    picture.read_truth(truth)
    drawn = (Image.fromarray(picture.image), picture.draw_map(), picture.draw_masks())
    mistake.pictures = {title: image for title, image in zip(TITLES, drawn, strict=True) if image is not None}
    mistake.problems += picture.problems


def present_dataset(results: AnomalyResults) -> Any:
    """Return the dataset of the samples; None if the results hold no samples, or it was deleted."""
    dataset = root_dataset(results)
    return None if dataset is None or dataset.deleted or not fo.dataset_exists(dataset.name) else dataset


def _read_paths(dataset: Any, ids: Collection[str]) -> dict[str, str]:
    if dataset is None or not ids:
        return {}
    return dict(zip(*all_slices(dataset).select(list(ids)).values(["id", "filepath"]), strict=True))


def _read_samples(results: AnomalyResults, ids: Collection[str]) -> tuple[dict[str, str], dict[str, Truth]]:
    dataset = present_dataset(results)
    paths = _read_paths(dataset, ids)
    if not paths:
        return {}, {}
    try:
        return paths, read_truth(all_slices(dataset).select(list(paths)), results.gt_field)
    except ValueError:  # the field was removed
        return paths, {}


def _read_records(run: Run | None, ids: set[str]) -> dict[str, ImageScores]:
    records: dict[str, ImageScores] = {}
    if run is None:
        return records
    try:
        for record in run.store.scores:
            if record.id in ids:
                records[record.id] = record
                if len(records) == len(ids):
                    break
    except RunError:  # damaged; what was read until there is drawn
        pass
    return records


def _read_normal_scores(run: Run | None) -> NormalScores:
    try:
        return normal_scores(run.store) if run is not None else NormalScores.of([])
    except RunError:
        return NormalScores.of([])
