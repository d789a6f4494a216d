"""How long the work of a form takes, and what it writes: the end of a sentence, from a trial on a few images.

FiftyOne asks for a form at every key that is pressed: what is tried is kept, and else only few values are read.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import nlargest
from pathlib import Path
from typing import ParamSpec

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from ..curation.decisions import Decisions
from ..data.truth import read_truth
from ..errors import SegadError
from ..registry.fields import flagged as flagged_by
from ..registry.run import Run
from ..review.marks import marked_images
from ..storage.records import ImageScores
from . import forms, work_trials
from .estimate import TRIED, Estimate, estimate_reading, estimate_work

_P = ParamSpec("_P")

_ROW = 0.01
"""Seconds that the database takes to write the labels of one image, roughly."""

_SIZED = 100
"""Images whose files are looked at to tell the size of all."""


def _in_words(estimate: Callable[_P, Estimate | None]) -> Callable[_P, str]:
    """An estimate as the end of a sentence; empty where a parameter is wrong, which is told under its field."""

    def words(*args: _P.args, **kwargs: _P.kwargs) -> str:
        try:
            return forms.as_tried(estimate(*args, **kwargs))
        except (SegadError, ValueError, KeyError, OSError):
            return ""

    return words


@_in_words
def quality(samples: Samples) -> Estimate | None:
    """What it takes to measure the quality of images."""
    paths = samples.values("filepath")
    key = ("quality", *paths[:TRIED])
    return estimate_work(key, lambda: (paths, work_trials.quality_of), len(paths), 0.7, _ROW * len(paths))


@_in_words
def duplicates(samples: Samples, kind: str) -> Estimate | None:
    """What it takes to find duplicates."""
    paths = samples.values("filepath")
    key = ("duplicates", kind, *paths[:TRIED])
    other = 1.2 if kind == "near" else 0.7  # images are read in threads
    return estimate_work(key, lambda: (paths, work_trials.duplicates_of(kind, len(paths))), len(paths), other)


@_in_words
def threshold(run: Run, flagged: int) -> Estimate | None:
    """What it takes to rewrite the predictions of a run of which so many are flagged: only these are drawn."""
    key = ("threshold", run.folder, run.masks)
    return estimate_work(
        key, lambda: (_highest(run), work_trials.drawn(run.thresholds)), flagged, 2.0, _ROW * run.scored
    )


@_in_words
def evaluation(samples: Samples, run: Run, gt_field: str, kept: bool) -> Estimate | None:
    """What it takes to evaluate a run, and the maps of errors of an evaluation that is kept."""

    def trial() -> tuple[list[ImageScores], Callable[[ImageScores], int]]:
        records = _highest(run)
        truths = read_truth(samples._root_dataset.select([record.id for record in records]), gt_field)
        known = [record for record in records if record.id in truths]
        return known, work_trials.evaluated(run.thresholds, truths, kept)

    key = ("evaluation", run.folder, run.masks, gt_field, kept)
    count, wrong = len(samples.exists(run.field("score"))), len(flagged_by(samples, run))
    found = estimate_work(key, trial, count, 3.0, _ROW * count if kept else 0)
    # An image without errors has no map of its own
    return None if found is None else Estimate(found.seconds, round(found.bytes * wrong / max(count, 1)))


@_in_words
def rescoring(dataset: fo.Dataset, run: Run) -> Estimate | None:
    """What it takes to rescore: images with marks, and those whose features had no room, go through the embedder."""
    marks, _ = marked_images(dataset, run.key)
    kept = set(run.store.features.paths())  # of scored images their ids
    scored = zip(*dataset.exists(run.field("score")).values(["id", "filepath"]), strict=True)
    paths = [image.path for image, _ in marks] + [path for id, path in scored if id not in kept]
    key = ("rescoring", run.folder, run.masks)
    drawn = estimate_work(
        key, lambda: (_highest(run), work_trials.drawn_again(run.thresholds)), run.scored, 2.0, _ROW * run.scored
    )
    read = None
    if run.embedder != "fastdup-native":  # a trial of it takes seconds
        settings = run.settings
        read = estimate_reading(paths, run.embedder, settings["segments"], settings.get("defects", "any"))
    if drawn is None or read is None:
        return drawn
    return Estimate(drawn.seconds + read.seconds, drawn.bytes)


def _highest(run: Run) -> list[ImageScores]:
    """Those of the highest scores: there is something to draw on them."""
    return nlargest(TRIED, run.store.scores, key=lambda record: record.image_score)


@_in_words
def export(
    samples: Samples, gt_field: str | None, run: Run | None, decision_field: str | None, link: bool
) -> Estimate | None:
    """What it takes to export images and masks."""
    paths = samples.values("filepath")
    ids = samples[: min(TRIED, len(paths))].values("id")

    def trial() -> tuple[list[str], Callable[[str], int]]:
        decisions = Decisions(samples._root_dataset.select(ids), gt_field, run, decision_field)
        return ids, work_trials.exported(decisions, link)

    key = ("export", *ids, gt_field, run and (run.folder, run.masks), decision_field, link)
    found = estimate_work(key, trial, len(paths), 2.0, _ROW * len(paths))
    if found is None or link:
        return found
    sizes = [Path(path).stat().st_size for path in paths[:: max(len(paths) // _SIZED, 1)]]
    return Estimate(found.seconds, round(sum(sizes) / len(sizes) * len(paths)))
