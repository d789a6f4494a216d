"""Operators: forms for the public functions, one file each."""

from __future__ import annotations

from .cancel_run import CancelRun
from .compute import ComputeSegmentAnomalies
from .delete_run import DeleteRun
from .evaluate import EvaluateAnomalies
from .load_mvtec import LoadMvtec

OPERATORS = (LoadMvtec, ComputeSegmentAnomalies, EvaluateAnomalies, CancelRun, DeleteRun)

__all__ = ["OPERATORS"]
