"""Put the predictions of another program into a store: match, read, bring to one scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from fiftyone.core.collections import SampleCollection as Samples

from ..errors import ImageError
from ..storage.records import ImageScores
from ..storage.store import RunStore
from ..utils.images import read_header
from ..utils.text import pluralize
from ..utils.threads import prefetch_map
from ..utils.timing import StageTimer
from .map_files import Map, read_map, record_of, reduce_map
from .prediction_matching import match_predictions
from .prediction_source import Prediction, collect_predictions, collect_scores

_NAMED = 5
"""Predictions that a message names."""

_NO_PREDICTION = "It has no prediction"
_AMBIGUOUS = "Several predictions could be its, by their names; tell them apart by folders, or pass a dict by path"


@dataclass
class ImportPlan:
    """The predictions that are of images of the dataset.

    Attributes:
        images: paths of the images to score, by id
        normals: paths of the reference's images that have a prediction, by id
        predictions: the predictions, by id
        scored: whether they have image scores
        unused: names of predictions that are of no image
        skipped: images that are not scored, and why
        reduced: number of maps that were finer than what is kept
        lost: how much their peaks lost at most
        timer: counts seconds
    """

    images: dict[str, str]
    normals: dict[str, str]
    predictions: dict[str, Prediction]
    scored: bool
    unused: list[str]
    skipped: list[dict[str, str]]
    reduced: int = 0
    lost: float = 0.0
    timer: StageTimer = field(default_factory=StageTimer)

    @classmethod
    def of(
        cls,
        samples: Samples,
        reference: Samples | None,
        predictions: Any,
        scores: Mapping[str, float] | str | Path | None,
    ) -> ImportPlan:
        """Match predictions and scores with images.

        Raises:
            FileNotFoundError: if there is no such folder or file
            ValueError: if none is of an image, or only some have a score
        """
        images = dict(zip(*samples.values(["id", "filepath"]), strict=True))
        normals = {} if reference is None else dict(zip(*reference.values(["id", "filepath"]), strict=True))
        paths = {**normals, **images}
        collected = collect_predictions(predictions)
        matches = match_predictions(collected, paths)
        if not images.keys() & matches.keys.keys():
            reason = _AMBIGUOUS if matches.ambiguous else f"the first of the images is '{next(iter(paths.values()))}'"
            first = next(iter(collected), "none")
            raise ValueError(
                f"None of the {len(collected)} predictions is of an image; the first is '{first}', {reason}"
            )
        by_id = {id: collected[key] for id, key in matches.keys.items()}
        if scores is not None:
            by_id = _with_scores(by_id, collect_scores(scores), paths)
        without = [id for id in by_id if by_id[id].score is None]
        if 0 < len(without) < len(by_id):
            raise ValueError(
                f"{len(without)} of the {len(by_id)} predictions have no score, such as that of '{paths[without[0]]}'; "
                "scores of all or of none are needed"
            )
        ambiguous = set(matches.ambiguous)
        skipped = [
            {"id": id, "filepath": path, "reason": _AMBIGUOUS if path in ambiguous else _NO_PREDICTION}
            for id, path in images.items()
            if id not in by_id
        ]
        return cls(
            {id: path for id, path in images.items() if id in by_id},
            {id: path for id, path in normals.items() if id in by_id},
            by_id,
            not without,
            matches.unused,
            skipped,
        )

    def scale(self) -> tuple[float, float]:
        """Find the factor and the offset by which the maps' peaks have the mean and spread of the scores."""
        if not self.scored:
            return 1.0, 0.0
        with self.timer("read"):
            pairs = [
                (peak, self.predictions[id].score)
                for id, peak in prefetch_map(self._peak, self.images)
                if peak is not None
            ]
        if not pairs:
            return 1.0, 0.0
        peaks, scores = np.array(pairs, np.float64).T
        factor = float(scores.std() / peaks.std()) if peaks.std() and scores.std() else 1.0
        return factor, 0.0 if np.array_equal(peaks, scores) else float(scores.mean() - factor * peaks.mean())

    def _peak(self, id: str) -> float | None:
        try:
            return float(read_map(self.predictions[id].map).max())
        except ImageError:  # told when it is read again
            return None

    def fill(self, store: RunStore, scale: tuple[float, float], advance: Callable[[int], None]) -> None:
        """Put the scores of all images into a store.

        Args:
            store: the store
            scale: factor and offset of the maps
            advance: called with the number of images that were read
        """

        def read(id: str) -> tuple[ImageScores, float, bool] | ImageError:
            try:
                return self._read(id, {**self.normals, **self.images}[id], scale)
            except ImageError as error:
                return error

        with self.timer("read"):
            for id, result in prefetch_map(read, dict.fromkeys([*self.images, *self.normals])):
                if isinstance(result, ImageError):
                    path = self.images.get(id, self.normals.get(id, ""))
                    self.skipped.append({"id": id, "filepath": path, "reason": str(result)})
                else:
                    record, lost, is_reduced = result
                    self.lost, self.reduced = max(self.lost, lost), self.reduced + is_reduced
                    if id in self.images:
                        store.scores.add(record)
                    if id in self.normals:
                        store.normals.add(replace(record, id=self.normals[id]))
                advance((id in self.images) + (id in self.normals))
        store.scores.flush()
        store.normals.flush()

    def _read(self, id: str, path: str, scale: tuple[float, float]) -> tuple[ImageScores, float, bool]:
        """Return the record of an image, how much the peak of its map lost, and whether the map was reduced."""
        prediction = self.predictions[id]
        size = read_header(path).size
        values: Map = read_map(prediction.map)
        if scale != (1.0, 0.0):
            values = values * np.float32(scale[0]) + np.float32(scale[1])
        kept = reduce_map(values, size)
        peak = float(values.max())
        score = peak if prediction.score is None else float(prediction.score)
        return record_of(id, kept, size, score), peak - float(kept.max()), kept is not values

    def warnings(self) -> list[str]:
        """List what a reader of the run should know of the predictions."""
        lines = [] if self.scored else ["The predictions have no image scores; the peak of the map stands for each"]
        if self.reduced:
            lines.append(
                f"{pluralize(self.reduced, 'map is', 'maps are')} kept coarser than predicted, by which peaks fell by "
                f"{self.lost:.3g} at most"
            )
        if self.unused:
            names = ", ".join(self.unused[:_NAMED]) + (" ..." if len(self.unused) > _NAMED else "")
            lines.append(f"{pluralize(len(self.unused), 'prediction is', 'predictions are')} of no image: {names}")
        return lines


def _with_scores(
    predictions: Mapping[str, Prediction], scores: Mapping[str, float], paths: Mapping[str, str]
) -> dict[str, Prediction]:
    """Return the predictions with image scores that came apart from the maps."""
    keys = match_predictions(scores, {id: path for id, path in paths.items() if id in predictions}).keys
    return {
        id: replace(prediction, score=scores[keys[id]] if id in keys else None)
        for id, prediction in predictions.items()
    }
