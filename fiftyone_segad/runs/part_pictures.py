"""Read which part and which view each picture of a run shows, the scored ones and the normal ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
from bson import ObjectId

from ..engine.calibration import normal_scores
from ..registry.run import Run
from ..registry.samples import all_slices
from ..scoring.conformal import NormalScores
from ..utils.text import pluralize

NO_VIEW = ""
"""View of pictures of which nothing tells the view."""


@dataclass(frozen=True)
class Picture:
    """A picture that was scored.

    Attributes:
        id: id of the sample, or path of a normal image
        part: name of the part that it shows; None if nothing tells it
        view: name of its view
        score: its anomaly score
    """

    id: str
    part: str | None
    view: str
    score: float


@dataclass(frozen=True)
class PartFields:
    """What tells parts and views.

    Attributes:
        by: field of the parts; None for the groups of the dataset
        views: field of the views; None if nothing but the slices tells them
    """

    by: str | None
    views: str | None

    def columns(self, samples: Any) -> tuple[list[str | None], list[str]]:
        """Read part and view of each of some samples, flattened if they are grouped.

        Raises:
            ValueError: if there is no such field, or its values are no names
        """
        group = samples._root_dataset.group_field
        if self.by is None and group is None:
            raise ValueError(
                f"Dataset '{samples._root_dataset.name}' is not grouped: name the field that is the same for "
                "pictures of one part, e.g. by='part_id'"
            )
        parts = _values(samples, "by", self.by) if self.by is not None else samples.values(f"{group}.id")
        if self.views is not None:
            views = [NO_VIEW if view is None else view for view in _values(samples, "views", self.views)]
        else:
            views = samples.values(f"{group}.name") if group is not None else [NO_VIEW] * len(parts)
        return [None if part is None else str(part) for part in parts], views


def _values(samples: Any, parameter: str, path: str) -> list[str | None]:
    """Return the values of a field as texts, None where a sample has none."""
    if samples.get_field(path) is None:
        raise ValueError(
            f"{parameter}={path!r} is no field of dataset '{samples._root_dataset.name}'; name one that tells "
            f"{'parts' if parameter == 'by' else 'views'}"
        )
    values = samples.values(path)
    odd = next((value for value in values if not isinstance(value, (str, int, float, ObjectId, type(None)))), None)
    if odd is not None:
        raise ValueError(
            f"{parameter}={path!r} holds values of type {type(odd).__name__}, which are no names; use a field of "
            "texts or numbers, or one of theirs, such as 'part.label'"
        )
    return [None if value is None else str(value) for value in values]


def scored_pictures(dataset: fo.Dataset, run: Run, view: str | None, fields: PartFields) -> Iterator[Picture]:
    """Yield the pictures that a run has scored; ``view`` is that of a run of one slice.

    Raises:
        ValueError: if the run's scores are gone, or as ``PartFields.columns``
    """
    if not dataset.has_sample_field(run.field("score")):
        raise ValueError(f"The field '{run.field('score')}' is gone; compute run '{run.key}' again")
    samples = all_slices(dataset).exists(run.field("score"))
    parts, views = fields.columns(samples)
    ids, scores = samples.values(["id", run.field("score")])
    for id, part, own_view, score in zip(ids, parts, views, scores, strict=True):
        yield Picture(id, part, own_view if view is None else view, score)


def normal_pictures(
    run: Run, view: str | None, fields: PartFields, told_by: fo.Dataset
) -> tuple[list[Picture], list[str]]:
    """Return the normal images of a run that have a score, and what a user should know of them.

    Those that are not in the dataset, as of a bank file, count as parts of one picture, or as the groups that the run
    knows.

    Args:
        run: the run
        view: as for ``scored_pictures``
        fields: what tells parts and views
        told_by: the dataset that has them
    """
    paths = [record.id for record in run.store.normals]
    scores = normal_scores(run.store)
    samples = all_slices(told_by)
    parts, views = fields.columns(samples)
    by_path: dict[str, tuple[str | None, str]] = {}
    for path, part, own_view in zip(samples.values("filepath"), parts, views, strict=True):
        by_path[path] = by_path[os.path.realpath(path)] = part, own_view
    has_view = view is not None or (fields.views is None and told_by.group_field is None)
    pictures, alone, left_out = [], 0, 0
    for path, score, number in zip(paths, scores.scores.tolist(), scores.groups.tolist(), strict=True):
        part, own_view = by_path.get(path, (None, NO_VIEW))
        if path not in by_path and has_view:
            part, alone = f"{run.key}: normal part {number}", alone + 1
        if part is None:
            left_out += 1
        else:
            pictures.append(Picture(path, part, own_view if view is None else view, score))
    notes = []
    if alone:
        notes.append(
            f"{pluralize(alone, 'normal image')} of run '{run.key}' cannot be found in dataset '{told_by.name}': each "
            "counts as a part that is seen once, unless the run has found others of it. Name the samples that tell "
            "their parts by reference=..."
        )
    if left_out:
        notes.append(
            f"{pluralize(left_out, 'normal image')} of run '{run.key}' without a known part or view count for nothing"
        )
    return pictures, notes + _siblings_in_bank(run, paths, scores, by_path)


def _siblings_in_bank(
    run: Run, paths: list[str], scores: NormalScores, by_path: Mapping[str, tuple[str | None, str]]
) -> list[str]:
    """Warn of normal parts whose pictures were compared with each other, so that their scores are too low."""
    numbers: dict[str, set[int]] = {}
    for path, number in zip(paths, scores.groups.tolist(), strict=True):
        part = by_path.get(path, (None, NO_VIEW))[0]
        if part is not None:
            numbers.setdefault(part, set()).add(number)
    apart = sum(len(of_part) > 1 for of_part in numbers.values())
    if not apart or run.method != "reference":
        return []
    return [
        f"Pictures of {pluralize(apart, 'normal part')} were compared with each other in run '{run.key}', so that "
        "they look more normal than those of new parts, of which more would be flagged than stated. Compute the "
        "run with groups=... naming the field of the parts"
    ]
