"""Finds defects segment by segment in FiftyOne datasets.

The public functions are imported on first use, so that neither the package nor the plugin costs time or
needs fastdup before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compare import RunComparison, compare_runs
    from .compute import compute_segment_anomalies, set_threshold
    from .contamination import find_contamination
    from .coreset import select_coreset
    from .curations import delete_curation, list_curations
    from .datasets import load_mvtec
    from .duplicates import Duplicates, find_duplicates
    from .errors import BankError, ImageError, MissingDependencyError, RunCancelled, RunError, SegadError
    from .evaluate import evaluate_anomalies
    from .explain import ExplainedSegment, explain_sample
    from .export import CuratedExport, export_curated
    from .lost_defects import LostDefect
    from .new_images import save_bank, score_new
    from .outliers import ImageOutliers, find_outlier_segments
    from .pictures import contact_sheet
    from .quality import image_quality
    from .removal import delete_run
    from .rescoring import ReviewReport, rescore
    from .results import AnomalyResults
    from .review import Mark, list_marks, mark_anomalous, mark_normal, undo_review, unmark
    from .runs import Run, list_runs, load_run
    from .segment_plot import visualize_segments
    from .triage import second_opinions

__version__ = "0.1.0"

_MODULES = {
    "compare": ("RunComparison", "compare_runs"),
    "compute": ("compute_segment_anomalies", "set_threshold"),
    "contamination": ("find_contamination",),
    "coreset": ("select_coreset",),
    "curations": ("delete_curation", "list_curations"),
    "datasets": ("load_mvtec",),
    "duplicates": ("Duplicates", "find_duplicates"),
    "errors": ("BankError", "ImageError", "MissingDependencyError", "RunCancelled", "RunError", "SegadError"),
    "evaluate": ("evaluate_anomalies",),
    "explain": ("ExplainedSegment", "explain_sample"),
    "export": ("CuratedExport", "export_curated"),
    "lost_defects": ("LostDefect",),
    "new_images": ("save_bank", "score_new"),
    "outliers": ("ImageOutliers", "find_outlier_segments"),
    "pictures": ("contact_sheet",),
    "quality": ("image_quality",),
    "removal": ("delete_run",),
    "rescoring": ("ReviewReport", "rescore"),
    "results": ("AnomalyResults",),
    "review": ("Mark", "list_marks", "mark_anomalous", "mark_normal", "undo_review", "unmark"),
    "runs": ("Run", "list_runs", "load_run"),
    "segment_plot": ("visualize_segments",),
    "triage": ("second_opinions",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AnomalyResults",
    "BankError",
    "CuratedExport",
    "Duplicates",
    "ExplainedSegment",
    "ImageError",
    "ImageOutliers",
    "LostDefect",
    "Mark",
    "MissingDependencyError",
    "ReviewReport",
    "Run",
    "RunCancelled",
    "RunComparison",
    "RunError",
    "SegadError",
    "compare_runs",
    "compute_segment_anomalies",
    "contact_sheet",
    "delete_curation",
    "delete_run",
    "evaluate_anomalies",
    "explain_sample",
    "export_curated",
    "find_contamination",
    "find_duplicates",
    "find_outlier_segments",
    "image_quality",
    "list_curations",
    "list_marks",
    "list_runs",
    "load_mvtec",
    "load_run",
    "mark_anomalous",
    "mark_normal",
    "rescore",
    "save_bank",
    "score_new",
    "second_opinions",
    "select_coreset",
    "set_threshold",
    "undo_review",
    "unmark",
    "visualize_segments",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def register(plugin: Any) -> None:
    """Registers operators and panels with FiftyOne; called when it loads the plugin."""
    from .operators import OPERATORS
    from .panels import PANELS

    for each in (*OPERATORS, *PANELS):
        plugin.register(each)
