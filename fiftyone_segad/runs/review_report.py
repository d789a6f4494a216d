"""The changes that a review made to a run, and to the runs of all slices."""

from __future__ import annotations

from dataclasses import dataclass

from ..registry.run import Run
from ..registry.views import ViewRuns
from ..review.lost_defects import LostDefect
from ..utils.text import pluralize


@dataclass(frozen=True)
class ReviewReport:
    """The changes that a review made.

    Attributes:
        run: the run as it is now
        marked: number of marks that are in the bank now
        cleared: ids of the samples that were flagged before and are not any more
        raised: ids of those that are flagged only now
        lost: defects that the tool was taught to miss, as far as the truth is known: regions of the ground truth that
            predicted ones matched and none matches any more, also in images that stay flagged, and the other defective
            images among ``cleared``; in the order of the images' scores, highest first
        found: defects that it was taught to find: the same the other way round, with those among ``raised``
    """

    run: Run
    marked: int
    cleared: list[str]
    raised: list[str]
    lost: list[LostDefect]
    found: list[LostDefect]

    def __str__(self) -> str:
        lines = [
            f"Run '{self.run.key}' knows {pluralize(self.marked, 'mark')}; alarms gone: {len(self.cleared)}, "
            f"new: {len(self.raised)}"
        ]
        if self.found:
            defects = pluralize(len(self.found), "defect that was missed is", "defects that were missed are")
            lines.append(f"{defects} found now, in {_names(self.found_ids)}")
        if self.lost:
            defects = pluralize(len(self.lost), "defect that was found is", "defects that were found are")
            lines.append(
                f"Warning: {defects} lost, in {_names(self.lost_ids)}. Look at them, and take marks back with unmark() "
                "or undo_review()"
            )
        return "\n".join(lines)

    @property
    def lost_ids(self) -> list[str]:
        """Ids of the samples with lost defects, highest score first."""
        return list(dict.fromkeys(defect.sample_id for defect in self.lost))

    @property
    def found_ids(self) -> list[str]:
        """Ids of the samples with defects that are found only now, highest score first."""
        return list(dict.fromkeys(defect.sample_id for defect in self.found))


def _names(ids: list[str]) -> str:
    return ", ".join(ids[:5]) + (" ..." if len(ids) > 5 else "")


@dataclass(frozen=True)
class ViewReports:
    """The changes that a review made to the runs of all slices of a grouped dataset.

    Attributes:
        runs: the runs as they are now
        reports: the changes of each slice

    Examples:
        >>> reports = segad.rescore(grouped, "segad")  # doctest: +SKIP
        >>> {name: len(report.cleared) for name, report in reports.reports.items()}  # doctest: +SKIP
        {'left': 3, 'right': 0}
    """

    runs: ViewRuns
    reports: dict[str, ReviewReport]

    @property
    def marked(self) -> int:
        """Number of marks that are in the banks of all slices now."""
        return sum(report.marked for report in self.reports.values())

    @property
    def cleared(self) -> list[str]:
        """Ids of the samples of any slice that were flagged before and are not any more."""
        return [id for report in self.reports.values() for id in report.cleared]

    @property
    def raised(self) -> list[str]:
        """Ids of those that are flagged only now."""
        return [id for report in self.reports.values() for id in report.raised]

    @property
    def lost(self) -> list[LostDefect]:
        """Defects of any slice that the tool was taught to miss."""
        return [defect for report in self.reports.values() for defect in report.lost]

    @property
    def found(self) -> list[LostDefect]:
        """Defects of any slice that it was taught to find."""
        return [defect for report in self.reports.values() for defect in report.found]

    @property
    def lost_ids(self) -> list[str]:
        """Ids of the samples with lost defects, slice by slice."""
        return [id for report in self.reports.values() for id in report.lost_ids]

    @property
    def found_ids(self) -> list[str]:
        """Ids of the samples with defects that are found only now, slice by slice."""
        return [id for report in self.reports.values() for id in report.found_ids]

    def __str__(self) -> str:
        return "\n".join(str(report) for report in self.reports.values())
