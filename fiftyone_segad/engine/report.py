"""The report of a job."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class JobReport:
    """The outcome of a job, besides what is in its store.

    Attributes:
        skipped: ``{"id", "filepath", "reason"}`` of the images that could not be used
        warnings: what the user should know
        seconds: time spent, by stage
    """

    skipped: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def first_reason(self) -> str:
        """Return why the first image was skipped, as a sentence; empty if none was."""
        return f"The first: {self.skipped[0]['filepath']}: {self.skipped[0]['reason']}" if self.skipped else ""
