"""``evaluate_parts``: measure what was decided on parts, and what each view contributes to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from ..data.truth import GOOD, GT_FIELD, NO_TRUTH, UNNAMED, check_truth_field, read_truth
from ..errors import ImageError, RunError
from ..metrics.summary import Metrics, image_metrics
from ..registry.keys import list_views, owners_of
from ..registry.parts import PartDecision, PartDecisions, list_parts, read_parts
from ..registry.run import load_record
from ..registry.samples import all_slices, root_dataset
from ..registry.views import read_views
from ..runs.part_pictures import NO_VIEW, PartFields, Picture, scored_pictures
from ..utils.images import read_header
from ..utils.text import pluralize
from ..utils.threads import prefetch_map
from ..visualization.text import text_table

_NAMES = {
    "image_auroc": "part_auroc",
    "image_ap": "part_ap",
    "precision": "part_precision",
    "recall": "part_recall",
    "fpr": "part_fpr",
    "image_f1": "part_f1",
    "n_normal": "n_normal",
    "n_anomalous": "n_anomalous",
}
"""Figures of parts, by the names that those of images have."""


@dataclass(frozen=True)
class PartResult:
    """What was decided on a part, and what is true of it.

    Attributes:
        decision: the decision
        defect: kind of the defect that any of its pictures shows, ``good`` if none shows one
        defective_views: views of the pictures that show one
    """

    decision: PartDecision
    defect: str
    defective_views: list[str]

    @property
    def defective(self) -> bool:
        return self.defect != GOOD

    @property
    def outcome(self) -> str:
        """``TP``, ``FP``, ``FN`` or ``TN``."""
        flagged = self.decision.anomalous
        return ("T" if flagged == self.defective else "F") + ("P" if flagged else "N")


@dataclass(frozen=True)
class PartResults:
    """The results of ``evaluate_parts``.

    Attributes:
        decisions: what was decided
        gt_field: the field of the ground truth
        parts: what is true of each evaluated part, by its name
        views: a row for each view: numbers of its pictures, image AUROC, recall and false-positive rate at the run's
            threshold, and how many parts it had flagged, rightly and wrongly
        excluded: ``{"part", "reason"}`` of parts that could not be evaluated
    """

    decisions: PartDecisions
    gt_field: str
    parts: dict[str, PartResult]
    views: list[dict[str, Any]]
    excluded: list[dict[str, str]] = field(default_factory=list)

    def metrics(self, defect: str | None = None) -> Metrics:
        """Compute the figures of parts.

        Args:
            defect (None): one kind of defect against all normal parts, instead of all kinds

        Returns:
            ``part_auroc`` and ``part_ap`` by the p-values; ``part_recall``, ``part_fpr``, ``part_precision`` and
            ``part_f1`` of the decisions, all in [0, 1], None where one does not exist because a class is absent; and
            ``n_normal`` and ``n_anomalous``, numbers of parts

        Raises:
            ValueError: if no part shows that kind of defect
        """
        if defect is not None and defect not in self.defects:
            raise ValueError(f"defect={defect!r} is not among the evaluated parts; there are {self.defects}")
        parts = [part for part in self.parts.values() if defect is None or part.defect in (GOOD, defect)]
        figures = image_metrics(
            [-part.decision.p_value for part in parts],
            [part.decision.anomalous for part in parts],
            [part.defective for part in parts],
        )
        return {name: figures[of_images] for of_images, name in _NAMES.items()}

    @property
    def defects(self) -> list[str]:
        """Names of the kinds of defects."""
        return sorted({part.defect for part in self.parts.values() if part.defective})

    def rows(self) -> list[dict[str, Any]]:
        """Compute the figures for each kind of defect, and for all."""
        rows = [{"defect": defect, **self.metrics(defect)} for defect in self.defects]
        return [*rows, {"defect": "all", **self.metrics()}]

    def names(self, outcome: str) -> list[str]:
        """Return the names of the parts with an outcome, the lowest p-value first.

        Args:
            outcome: ``TP``, ``FP``, ``FN`` or ``TN``

        Raises:
            ValueError: if it is none of these
        """
        if outcome not in ("TP", "FP", "FN", "TN"):
            raise ValueError(f"There is no outcome {outcome!r}; use one of ['TP', 'FP', 'FN', 'TN']")
        return [name for name, part in self.parts.items() if part.outcome == outcome]

    def report(self) -> str:
        """Write the figures per kind of defect and per view as text tables."""
        lines = [
            f"Parts of '{self.decisions.key}', flagged at p-values up to {self.decisions.share:g}:",
            text_table(self.rows(), ["defect", *_NAMES.values()]),
            "",
            "Views: their pictures at the run's threshold, and the parts that each had flagged:",
            text_table(self.views, list(self.views[0])) if self.views else "",
        ]
        if self.excluded:
            first = self.excluded[0]
            lines.append(
                f"{pluralize(len(self.excluded), 'part was', 'parts were')} not evaluated; the first is "
                f"{first['part']}: {first['reason']}"
            )
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.report()


def evaluate_parts(samples: Samples, key: str = "segad", gt_field: str = GT_FIELD) -> PartResults:
    """Evaluate what ``decide_parts`` decided: a part is defective if any of its pictures is.

    Args:
        samples: the samples whose parts are evaluated, e.g. the test split; of each part all pictures count
        key ("segad"): key of the run, or of the runs of all slices
        gt_field ("defect_mask"): ground truth, as for ``evaluate_anomalies``

    Returns:
        ``PartResults``, whose ``metrics()`` has ``part_auroc``, ``part_recall`` and ``part_fpr``

    Raises:
        ValueError: if nothing was decided on parts, or the field is wrong
        RunError: if none of the parts can be evaluated

    Examples:
        >>> results = segad.evaluate_parts(dataset.match_tags("test"), "segad")  # doctest: +SKIP
        >>> results.metrics()["part_recall"]  # doctest: +SKIP
        0.958
    """
    dataset = root_dataset(samples, "samples")
    decisions = list_parts(dataset, key)
    check_truth_field(dataset, gt_field)
    results = _evaluate(dataset, decisions, set(all_slices(samples).values("id")), gt_field)
    if not results.parts:
        reason = f": {results.excluded[0]['reason']}" if results.excluded else ""
        raise RunError(f"None of the parts of '{key}' can be evaluated on these samples{reason}")
    return results


def parts_of_run(samples: Samples, key: str, gt_field: str) -> PartResults | None:
    """Evaluate the parts of a run, or of the runs of all slices that it is one of; None if nothing was decided."""
    dataset = samples._root_dataset
    for owner in [key, *owners_of(dataset, key)]:
        decisions = read_parts(dataset, owner)
        if decisions is not None:
            results = _evaluate(dataset, decisions, set(all_slices(samples).values("id")), gt_field)
            return results if results.parts else None
    return None


def _evaluate(dataset: fo.Dataset, decisions: PartDecisions, ids: set[str], gt_field: str) -> PartResults:
    parts = [part for part in decisions.parts if not ids.isdisjoint(part.sample_ids)]
    defects = _read_defects(dataset, [id for part in parts for id in part.sample_ids], gt_field)
    pictures = _pictures(dataset, decisions)
    views = {picture.id: picture.view for picture, _ in pictures}
    results: dict[str, PartResult] = {}
    excluded = []
    for part in parts:
        told = {id: defects[id] for id in part.sample_ids}
        shown = {id: defect for id, defect in told.items() if defect not in (None, GOOD)}
        unknown = [id for id, defect in told.items() if defect is None]
        if unknown and not shown:
            excluded.append({"part": part.part, "reason": f"sample {unknown[0]}: {NO_TRUTH}"})
            continue
        defect = next(iter(shown.values()), GOOD)
        results[part.part] = PartResult(part, str(defect), sorted({views.get(id, NO_VIEW) for id in shown}))
    judged = {id for part in results.values() for id in part.decision.sample_ids}
    rows = _view_rows([(picture, flagged) for picture, flagged in pictures if picture.id in judged], defects, results)
    return PartResults(decisions, gt_field, results, rows, excluded)


def _read_defects(dataset: fo.Dataset, ids: Sequence[str], gt_field: str) -> dict[str, str | None]:
    """Read the kind of defect of each sample, ``good`` if its ground truth shows none, None if nothing is known."""
    samples = all_slices(dataset).select(list(ids))
    truths = read_truth(samples, gt_field)
    paths = dict(zip(*samples.values(["id", "filepath"]), strict=True))

    def defect_of(id: str) -> str | None:
        truth = truths[id]
        try:
            if not truth.known or truth.read(read_header(paths[id]).size) is None:
                return GOOD if truth.known else None
        except ImageError:
            return None
        return truth.defect if truth.defect not in (None, GOOD) else UNNAMED

    return dict(prefetch_map(defect_of, ids))


def _pictures(dataset: fo.Dataset, decisions: PartDecisions) -> list[tuple[Picture, bool]]:
    """Return the pictures that were scored, each with whether its run flags it."""
    record = decisions.record
    fields = PartFields(record.by, record.views)
    views = read_views(dataset, record.key) if record.key in list_views(dataset) else None
    keys = {NO_VIEW: record.key} if views is None else views.keys
    pictures = []
    for view, run_key in keys.items():
        run = load_record(dataset, run_key)
        for picture in scored_pictures(dataset, run, view or None, fields):
            pictures.append((picture, picture.score > run.thresholds.image))
    return pictures


def _view_rows(
    pictures: Sequence[tuple[Picture, bool]], defects: dict[str, str | None], parts: dict[str, PartResult]
) -> list[dict[str, Any]]:
    by_view: dict[str, list[tuple[Picture, bool]]] = {}
    for picture, flagged in pictures:
        if defects[picture.id] is not None:
            by_view.setdefault(picture.view, []).append((picture, flagged))
    rows = []
    for view, members in sorted(by_view.items()):
        defective = [defects[picture.id] != GOOD for picture, _ in members]
        figures = image_metrics([picture.score for picture, _ in members], [flag for _, flag in members], defective)
        decided = [p for p in parts.values() if p.decision.anomalous and (p.decision.view or NO_VIEW) == view]
        rows.append(
            {
                "view": view or "all",
                "pictures": len(members),
                "defective": sum(defective),
                **{name: figures[name] for name in ("image_auroc", "recall", "fpr")},
                "parts_flagged": len(decided),
                "rightly": sum(part.defective for part in decided),
                "wrongly": sum(not part.defective for part in decided),
            }
        )
    return rows
