"""Finds defects segment by segment in FiftyOne datasets.

The public functions are imported on first use, so that neither the package nor the plugin costs time or
needs fastdup before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compute import compute_segment_anomalies, set_threshold
    from .datasets import load_mvtec
    from .errors import ImageError, MissingDependencyError, RunCancelled, RunError, SegadError
    from .evaluate import AnomalyResults, evaluate_anomalies
    from .outliers import ImageOutliers, find_outlier_segments
    from .pictures import contact_sheet
    from .runs import Run, delete_run, list_runs, load_run

__version__ = "0.1.0"

_MODULES = {
    "compute": ("compute_segment_anomalies", "set_threshold"),
    "datasets": ("load_mvtec",),
    "errors": ("ImageError", "MissingDependencyError", "RunCancelled", "RunError", "SegadError"),
    "evaluate": ("AnomalyResults", "evaluate_anomalies"),
    "outliers": ("ImageOutliers", "find_outlier_segments"),
    "pictures": ("contact_sheet",),
    "runs": ("Run", "delete_run", "list_runs", "load_run"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AnomalyResults",
    "ImageError",
    "ImageOutliers",
    "MissingDependencyError",
    "Run",
    "RunCancelled",
    "RunError",
    "SegadError",
    "compute_segment_anomalies",
    "contact_sheet",
    "delete_run",
    "evaluate_anomalies",
    "find_outlier_segments",
    "list_runs",
    "load_mvtec",
    "load_run",
    "set_threshold",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def register(plugin: Any) -> None:
    """Registers the operators with FiftyOne; called when it loads the plugin."""
    from .operators import OPERATORS

    for operator in OPERATORS:
        plugin.register(operator)
