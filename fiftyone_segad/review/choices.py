"""Choices of images as views by what is true: a saved view stays right when scores, truth or threshold change."""

from __future__ import annotations

from dataclasses import dataclass

import fiftyone as fo
from fiftyone import ViewExpression
from fiftyone import ViewField as F
from fiftyone.core.collections import SampleCollection as Samples

from ..data.classes import is_normal
from ..registry.keys import ANOMALOUS, NORMAL
from ..registry.run import Run
from ..registry.samples import all_slices
from .score_table import MAX_IMAGES
from .triage import reference_ids, truth_path

CHOICES = ("highest", "uncertain", "flagged", "TP", "FP", "FN", "TN")


@dataclass(frozen=True)
class Choices:
    """Views of the images of a run, in the order in which one would look at them.

    Attributes:
        samples: the dataset, or a view of it
        run: the run

    Examples:
        >>> choices = Choices(dataset, segad.load_run(dataset, "segad"))  # doctest: +SKIP
        >>> session.view = choices.choose("FP", threshold=1.3)  # doctest: +SKIP
    """

    samples: Samples
    run: Run

    def choose(self, choice: str, threshold: float) -> fo.DatasetView:
        """Return a view of a choice.

        Args:
            choice: ``highest`` scores; ``uncertain``, those nearest to the threshold; ``flagged``, or those with an
                outcome: ``TP``, ``FP``, ``FN``, ``TN``. Highest scores first, but for the uncertain ones
            threshold: the threshold

        Raises:
            ValueError: if there is no such choice
        """
        if choice not in CHOICES:
            raise ValueError(f"There is no choice {choice!r}; use one of {list(CHOICES)}")
        score = self.run.field("score")
        if choice == "uncertain":
            distance = (F(score) - threshold).abs()
            return self._scored().sort_by(distance).limit(MAX_IMAGES)
        if choice == "highest":
            return self._highest_first(self._scored()).limit(MAX_IMAGES)
        if choice == "flagged":
            return self._highest_first(self._scored().match(F(score) > threshold))
        truth = ANOMALOUS if choice in ("TP", "FN") else NORMAL
        is_flagged = F(score) > threshold if choice[1] == "P" else F(score) <= threshold
        return self._highest_first(self._with_truth(truth).match(is_flagged))

    def between(self, low: float, high: float) -> fo.DatasetView:
        """Return a view of the images with scores from ``low`` to ``high``."""
        score = F(self.run.field("score"))
        return self._highest_first(self._scored().match((score >= low) & (score <= high)))

    def of_defect(self, defect: str) -> fo.DatasetView:
        """Return a view of the images with a kind of defect."""
        return self._highest_first(self._scored().match(F("defect.label") == defect))

    def _scored(self) -> fo.DatasetView:
        return all_slices(self.samples).exists(self.run.field("score"))

    def _highest_first(self, view: fo.DatasetView) -> fo.DatasetView:
        return view.sort_by(self.run.field("score"), reverse=True)

    def _with_truth(self, truth: str) -> fo.DatasetView:
        """Return a view of the images whose truth is known to be this one, and that the run does not compare with.

        As ``read_score_table`` has it, an evaluation knows better than the field ``defect``.
        """
        evaluated, view = truth_path(self.samples, self.run), self._scored()
        by_defect = self._by_defect(truth)
        if evaluated is None and by_defect is None:
            return view.limit(0)
        in_evaluation = None if evaluated is None else F(evaluated) == truth
        if by_defect is None:
            return view.match(in_evaluation)
        not_evaluated = by_defect if evaluated is None else by_defect & (F(evaluated) == None)  # noqa: E711
        references = reference_ids(view.match(not_evaluated), self.run)
        # The run has seen these. They are named one by one, since nothing else in the dataset tells them
        view = view.exclude(sorted(references)) if references else view
        return view.match(not_evaluated if in_evaluation is None else in_evaluation | not_evaluated)

    def _by_defect(self, truth: str) -> ViewExpression | None:
        """Return what the field ``defect`` says of a truth; None without such a field."""
        if "defect.label" not in self.samples.get_field_schema(flat=True):
            return None
        label = F("defect.label")
        normal = sorted(name for name in self.samples._root_dataset.distinct("defect.label") if is_normal(name))
        return label.is_in(normal) if truth == NORMAL else (label != None) & ~label.is_in(normal)  # noqa: E711
