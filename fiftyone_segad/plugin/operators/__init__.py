"""Operators: forms for the public functions, one file each."""

from __future__ import annotations

from .cancel_run import CancelRun
from .compare_runs import CompareRuns
from .compute import ComputeSegmentAnomalies
from .decide_parts import DecideParts
from .delete import DeleteCuration, DeleteRun
from .evaluate import EvaluateAnomalies
from .export_curated import ExportCurated
from .export_run import ExportRun
from .families import FindFamilies, MarkFamily, MergeFamilies, NameFamily, SplitFamily
from .find_contamination import FindContamination
from .find_duplicates import FindDuplicates
from .image_quality import ImageQuality
from .import_predictions import ImportPredictions
from .load_folder import LoadFolder
from .rescore import Rescore
from .review import MarkAnomalous, MarkNormal, UndoReview, Unmark
from .save_bank import SaveBank
from .score_new import ScoreNew
from .second_opinions import SecondOpinions
from .select_coreset import SelectCoreset
from .set_threshold import SetThreshold
from .show_contours import ShowContours
from .try_image import ShowTrial, TryImage
from .visualize_segments import VisualizeSegments
from .worst_first import WorstFirst

OPERATORS = (
    LoadFolder,
    TryImage,
    ShowTrial,
    ComputeSegmentAnomalies,
    ScoreNew,
    ImportPredictions,
    SetThreshold,
    DecideParts,
    EvaluateAnomalies,
    CompareRuns,
    VisualizeSegments,
    WorstFirst,
    ShowContours,
    MarkNormal,
    MarkAnomalous,
    Unmark,
    UndoReview,
    Rescore,
    SecondOpinions,
    FindFamilies,
    NameFamily,
    MergeFamilies,
    SplitFamily,
    MarkFamily,
    SelectCoreset,
    SaveBank,
    ExportRun,
    ExportCurated,
    FindDuplicates,
    ImageQuality,
    FindContamination,
    CancelRun,
    DeleteRun,
    DeleteCuration,
)

__all__ = ["OPERATORS"]
