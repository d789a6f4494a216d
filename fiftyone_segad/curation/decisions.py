"""Decisions: the final verdict on each sample, by reviews, ground truth or predictions, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..data.classes import is_normal
from ..data.truth import GOOD, Truth, read_truth
from ..errors import ImageError
from ..registry.keys import ANOMALOUS, NORMAL
from ..registry.run import Run
from ..review.mark_field import SAMPLE, Mark
from ..review.marks import list_marks
from ..utils.images import read_header
from ..utils.listing import IMAGE_SUFFIXES

DEFECT = "defect"
"""Defect type where nothing names it."""

REVIEW, TRUTH, PREDICTION = "review", "ground truth", "prediction"


@dataclass(frozen=True)
class Decision:
    """The final verdict on one sample, and what it rests on.

    Attributes:
        id: the sample's id
        filepath: its image
        size: width and height of the image
        anomalous: the verdict: whether it has a defect
        decided_by: what the verdict rests on: ``review``, ``ground truth`` or ``prediction``
        defect: its defect type; ``good`` for a normal image
        mask: bool array ``[height, width]``, True on defects; None for a normal image, or if nothing says where
        mask_field: field that the mask is from, if there is one
        category: name of its product, or None
        split: the sample's ``split``, or None
        score: its score in the run, or None
        tags: its tags
        marks: what people said of it in reviews of the run, oldest first
    """

    id: str
    filepath: str
    size: tuple[int, int]
    anomalous: bool
    decided_by: str
    defect: str
    mask: NDArray[np.bool_] | None
    mask_field: str | None
    category: str | None
    split: str | None
    score: float | None
    tags: list[str]
    marks: list[Mark]


@dataclass(frozen=True)
class Undecided:
    """A sample that cannot be exported, and why."""

    id: str
    filepath: str
    reason: str


class Decisions:
    """Decides on samples.

    Attributes:
        ids: the samples' ids
        categorised: whether any of them has a category

    Args:
        samples: the samples
        gt_field: field of ground truth as in ``read_truth``; None for none
        runs: runs whose predictions stand for what is not known otherwise, and whose marks are reviews: none, one, or
            those of the slices of a grouped dataset
        decision_field: field of reviews that say ``normal`` or ``anomalous``, or None: a text, or a Classification

    Raises:
        ValueError: if a field does not exist or is of another type
    """

    def __init__(self, samples: Samples, gt_field: str | None, runs: Sequence[Run], decision_field: str | None) -> None:
        dataset = samples._root_dataset
        ids: list[str] = samples.values("id")

        def column(path: str | None) -> dict[str, object]:
            return dict(zip(ids, samples.values(path) if path else [None] * len(ids), strict=True))

        self.ids = ids
        self._paths, self._tags = column("filepath"), column("tags")
        self._splits = column("split" if isinstance(dataset.get_field("split"), fo.StringField) else None)
        self._reviews = column(
            None if decision_field is None else _text_path(dataset, "decision_field", decision_field)
        )
        self._defects = column(_text_path(dataset, "", "defect"))
        self._categories = column(_text_path(dataset, "", "category"))
        self.categorised = any(self._categories.values())
        self._gt_field = gt_field
        self._truths: dict[str, Truth] = {} if gt_field is None else read_truth(samples, gt_field)
        self._predictions, self._scores = column(None), column(None)
        self._mask_fields: dict[str, str] = {}
        self._masks: dict[str, Truth] = {}
        self._marks: dict[str, list[Mark]] = {}
        for run in runs:
            scores, predictions = column(run.field("score")), column(f"{run.field('pred')}.label")
            scored = [id for id in ids if len(runs) == 1 or scores[id] is not None]
            self._scores |= {id: scores[id] for id in scored}
            self._predictions |= {id: predictions[id] for id in scored}
            masks = read_truth(samples, run.field("mask"))
            self._masks |= {id: masks[id] for id in scored}
            self._mask_fields |= dict.fromkeys(scored, run.field("mask"))
            for mark in list_marks(samples, run.key):
                self._marks.setdefault(mark.sample_id, []).append(mark)

    def decide(self, id: str) -> Decision | Undecided:
        """Decide on a sample; this reads its header and its masks."""
        filepath = str(self._paths[id])
        if Path(filepath).suffix.lower() not in IMAGE_SUFFIXES:
            return Undecided(id, filepath, f"Its suffix is none of {', '.join(IMAGE_SUFFIXES)}; convert it")
        try:
            size = read_header(filepath).size
            truth = self._truths[id].read(size) if id in self._truths else None
            anomalous, decided_by = self._verdict(id, truth, size)
            if anomalous is None:
                return Undecided(
                    id, filepath, "Nothing says whether it is normal: no review, ground truth or prediction"
                )
            mask, mask_field = truth, self._gt_field
            if anomalous and truth is None:
                mask, mask_field = self._predicted_mask(id, size), self._mask_fields.get(id)
        except ImageError as error:
            return Undecided(id, filepath, str(error))
        defect = self._defects[id]
        named = str(defect) if defect and not is_normal(str(defect)) else DEFECT
        return Decision(
            id=id,
            filepath=filepath,
            size=size,
            anomalous=anomalous,
            decided_by=decided_by,
            defect=named if anomalous else GOOD,
            mask=mask if anomalous else None,
            mask_field=mask_field if anomalous and mask is not None else None,
            category=_text(self._categories[id]),
            split=_text(self._splits[id]),
            score=self._scores[id],  # type: ignore[arg-type]
            tags=list(self._tags[id] or []),  # type: ignore[call-overload]
            marks=self._marks.get(id, []),
        )

    def _predicted_mask(self, id: str, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Return the predicted mask, corrected by what people marked in it; None if nothing of it is left."""
        mask = self._masks[id].read(size) if id in self._masks else None
        marks_within = [mark for mark in self._marks.get(id, []) if mark.kind != SAMPLE]
        if not marks_within:
            return mask
        corrected = np.zeros(size[::-1], bool) if mask is None else mask.copy()
        for mark in marks_within:  # a later one counts where two overlap
            box = mark.pixels(size)
            if mark.label == NORMAL:
                corrected[box] = False
            elif not corrected[box].any():  # nothing says where in the box it is
                corrected[box] = True
        return corrected if corrected.any() else None

    def _verdict(self, id: str, truth: NDArray[np.bool_] | None, size: tuple[int, int]) -> tuple[bool | None, str]:
        """Return whether a sample is anomalous (None if nothing says so), and what says it.

        Raises:
            ImageError: if its review is no verdict
        """
        reviewed = self._reviewed(id)
        if reviewed is not None:
            return reviewed, REVIEW
        if truth is not None:
            return True, TRUTH
        defect = _text(self._defects[id])
        if defect is not None:
            return not is_normal(defect), TRUTH
        if id in self._truths and self._truths[id].source is not None:
            return False, TRUTH
        prediction = self._predictions[id]
        if prediction is None:
            return None, ""
        if prediction == ANOMALOUS and id in self._marks and self._predicted_mask(id, size) is None:
            return False, REVIEW  # all that was predicted is marked as normal
        return prediction == ANOMALOUS, PREDICTION

    def _reviewed(self, id: str) -> bool | None:
        """Return whether people said that a sample is anomalous; None if they said nothing of the image.

        Raises:
            ImageError: if its review is neither normal nor anomalous
        """
        review = str(self._reviews[id] or "").strip().lower()
        if review:
            if review != ANOMALOUS and not is_normal(review):
                raise ImageError(f"Its review is {review!r}; it must be '{NORMAL}' or '{ANOMALOUS}'")
            return review == ANOMALOUS
        # A mark of the whole image is about the image, and one of a part that is anomalous makes the image so
        marks = [mark for mark in self._marks.get(id, []) if mark.kind == SAMPLE or mark.label == ANOMALOUS]
        return marks[-1].label == ANOMALOUS if marks else None


def _text_path(dataset: fo.Dataset, parameter: str, name: str) -> str | None:
    """Return the path of a field's texts; None if the field cannot have any and no parameter named it.

    Raises:
        ValueError: if a parameter named it
    """
    field = dataset.get_field(name)
    if isinstance(field, fo.StringField):
        return name
    if getattr(field, "document_type", None) is fo.Classification:
        return f"{name}.label"
    if parameter:
        raise ValueError(f"{parameter}={name!r} is not a text or Classification field of '{dataset.name}'")
    return None


def _text(value: object) -> str | None:
    return None if value is None or str(value) == "" else str(value)
