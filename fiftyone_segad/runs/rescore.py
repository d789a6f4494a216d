"""``rescore``: a run learns what people marked as normal or anomalous, at the cost of the change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples

from ..data.truth import GT_FIELD, check_defects, read_truth, truth_fields
from ..engine.dirty_bank import DIRTY_BANK
from ..engine.job import Job, JobContext, JobImage, JobSpec
from ..engine.marked import normals_to_leave_out
from ..engine.methods import run_job, steps
from ..engine.zones import set_zones, zoned
from ..registry.exclusive import holds_run_lock
from ..registry.fields import flagged
from ..registry.keys import ANOMALOUS
from ..registry.run import Run, load_run
from ..registry.samples import all_slices
from ..registry.views import ViewRuns
from ..review.learnt import MARKS, LearntMarks, learnt_marks
from ..review.lost_defects import LostDefect, MatchedRegions, found_regions, lost_regions
from ..review.triage import read_score_table
from ..scoring import IMPORTED
from ..scoring.thresholds import ThresholdRule, parse_threshold
from ..segments.boxes import Proposer
from ..storage.bank_file import BANK_SETTING
from ..storage.bank_images import bank_copies, bank_images, save_bank_images
from ..storage.zones import ZoneField
from ..utils.copies import find_copies
from ..utils.threads import usable_cores
from .each_slice import SliceCalls, check_each, works_on_each_slice
from .families import assign_families
from .features import load_embedder, named_segments
from .inspection import PresentDrawings, present_zones
from .lifecycle import commit, find_or_create_store, log_stages, progress_bar, scored_ids
from .parts import decide_again
from .request import image_states, job_images
from .review_report import ReviewReport, ViewReports
from .rezone import rezone
from .thresholds import calibrate_run

logger = logging.getLogger(__name__)


def _plan_slices(views: ViewRuns, call: dict[str, Any]) -> SliceCalls:
    """Check that the run of each slice can be scored again."""
    dataset = call["samples"]._root_dataset

    def check(run: Run) -> None:
        source = _checked_zone_field(run, call["zones"], call["zones_from"])
        _present_rule(dataset, run, scored_ids(dataset, run))
        if source is not None:
            present_zones(dataset, run, source)

    check_each(views.runs, check)
    return dict.fromkeys(views.runs, call)


@works_on_each_slice(_plan_slices, ViewReports)
@holds_run_lock
def rescore(
    samples: Samples,
    key: str = "segad",
    segments: Proposer | None = None,
    progress: bool | Callable[[Any], None] | None = None,
    zones: str | None = None,
    zones_from: str | None = None,
) -> ReviewReport:
    """Score a run's images again: what people marked as normal is in its bank, and what looks like their defects rises.

    Scores, maps, masks, regions and thresholds follow, exactly as if the run were computed anew with these marks (a new
    run of the key learns them, too). Distances to the bank are kept, so that only those to the marked segments are
    computed; images whose features had no room in the store go through the embedder once more. Marks that were taken
    back are forgotten.

    What looks like marked defects scores higher, by a weight that grows with the number of images that have such marks
    (0.11 at three, 0.24 at ten, never 0.45); of a mark on a complete image its highest places count.
    Thresholds follow from normal images that are scored the same way. A normal image with a marked defect is none any
    more: nothing is compared with it, and all distances to the bank are computed again.

    Zones are read anew, too. Where they alone have changed, all follows from the scores that the run keeps, without its
    embedder and for any method.

    Args:
        samples: the dataset, or a view of it; the whole run changes
        key ("segad"): the run's key, or that of the runs of all slices of a grouped dataset
        segments (None): the function of the run's segments, if they came from a function
        progress (None): whether to show a progress bar, or a function that gets it
        zones (None): a field of zones, by default the run's, see ``compute_segment_anomalies``
        zones_from (None): id of the sample whose zones are those of all images of its size, by default the run's

    Returns:
        what has changed, the defects of the ground truth in ``defect_mask`` that are lost among it: a ``ReviewReport``,
        or for the key of all slices ``ViewReports`` with that of each

    Raises:
        ValueError: if there is no such run, its zones are wrong, or it has none and compares with no normal images, or
            was made with a bank file
        RunError: if the run's files are gone, or the embedder gives other features than it did
        SegadError: if an image with marks cannot be read
        MissingDependencyError: if the embedder is not installed

    Examples:
        >>> _ = segad.mark_normal(dataset.to_patches("segad_regions").limit(1), "segad")  # doctest: +SKIP
        >>> print(segad.rescore(dataset, "segad"))  # doctest: +SKIP
        Run 'segad' knows 1 mark; alarms gone: 1, new: 0
    """
    dataset: fo.Dataset = samples._root_dataset
    run = load_run(dataset, key)
    source = _checked_zone_field(run, zones, zones_from)
    marks = LearntMarks([], [], run.settings.get(MARKS)) if _cannot_learn(run) else learnt_marks(dataset, key)
    flagged_before = set(flagged(dataset, run).values("id"))
    mark_count = sum(len(boxes) for _, boxes in (*marks.normal, *marks.defects))
    knows_marks = marks.digest == run.settings.get(MARKS)
    if knows_marks and source is None:
        logger.info("Run '%s' knows these marks already", key)
        return ReviewReport(run, mark_count, [], [], [], [])
    ids = scored_ids(dataset, run)
    rule = _present_rule(dataset, run, ids)
    drawings = None if source is None else present_zones(dataset, run, source)
    matched = _matched(dataset, run, flagged_before)  # before its store goes
    if knows_marks and source is not None and drawings is not None:
        changed = rezone(dataset, run, source, drawings, rule, ids, progress)
        if changed is run:
            logger.info("Run '%s' knows these marks and zones already", key)
            return ReviewReport(run, mark_count, [], [], [], [])
    else:
        changed = _learn(dataset, replace(run, zones=source), marks, segments, rule, ids, drawings, progress)
    assign_families(dataset, changed)
    decide_again(dataset, key)
    report = _report(dataset, changed, mark_count, flagged_before, matched)
    logger.info("%s", report)
    return report


def _cannot_learn(run: Run) -> str:
    """Say why a run cannot learn marks; empty if it can."""
    if run.method != "reference":
        return f"Run '{run.key}' has no bank that could learn: its method is '{run.method}', not 'reference'"
    if BANK_SETTING in run.settings:
        return f"Run '{run.key}' was made with a bank file; rescore the run that the file was saved from"
    return ""


def _checked_zone_field(run: Run, zones: str | None, zones_from: str | None) -> ZoneField | None:
    """Return where the zones are drawn that a run shall have.

    Raises:
        ValueError: if there can be none, or the run has none and cannot learn either
    """
    source, cannot_learn = _zone_field(run, zones, zones_from), _cannot_learn(run)
    if cannot_learn and source is None:
        raise ValueError(cannot_learn)
    return source


def _zone_field(run: Run, zones: str | None, zones_from: str | None) -> ZoneField | None:
    """Return where the zones are drawn that a run shall have.

    Raises:
        ValueError: if there can be none
    """
    if run.method == IMPORTED and (zones is not None or zones_from is not None):
        raise ValueError(f"Run '{run.key}' holds predictions of another tool, to which no zones can be applied")
    if zones is not None:
        return ZoneField(zones, zones_from)
    if zones_from is not None and run.zones is None:
        raise ValueError(f"zones_from={zones_from!r} needs zones=..., the field in which that sample's are drawn")
    return run.zones if zones_from is None or run.zones is None else replace(run.zones, zones_from=zones_from)


def _present_rule(dataset: fo.Dataset, run: Run, ids: set[str]) -> ThresholdRule:
    """Return the rule of a run's thresholds.

    Raises:
        ValueError: if it needs ground truth that is gone
    """
    rule, gt_field = parse_threshold(run.thresholds.rule), run.gt_field or GT_FIELD
    if rule.kind == "f1" and gt_field not in truth_fields(dataset):
        raise ValueError(
            f"The threshold of run '{run.key}' is 'f1' on '{gt_field}', which is no ground truth of the dataset any "
            "more; choose another with set_threshold() first"
        )
    if rule.kind == "f1":
        check_defects(all_slices(dataset).select(list(ids)), gt_field)
    return rule


def _learn(
    dataset: fo.Dataset,
    run: Run,
    marks: LearntMarks,
    segments: Proposer | None,
    rule: ThresholdRule,
    ids: set[str],
    drawings: PresentDrawings | None,
    progress: bool | Callable[[Any], None] | None,
) -> Run:
    """Score the images of a run again with what is marked, and commit it."""
    run_segments = named_segments(run, dataset, segments)
    images = job_images(all_slices(dataset).select(list(ids)), run_segments)
    settings, spec = {**run.settings, MARKS: marks.digest}, _spec(run, images, run_segments, marks)
    same_bank = normals_to_leave_out(spec, run.store) == run.store.left_out()
    with load_embedder(run) as model:
        store = find_or_create_store(dataset, run.key, settings, resume=True)
        with store.explain_write_errors():
            store.link_from(run.store, distances=same_bank)
            save_bank_images(store, list(bank_images(run.store).values()))
            store.forget_changed(image_states(images))
        earlier = None if same_bank else run.store
        job = Job(spec, JobContext(model, store, usable_cores(), on_stage=log_stages(run.key), earlier=earlier))
        with progress_bar(job, steps(job), progress) as job, store.explain_write_errors():
            run_job(job)
            if drawings is not None:
                set_zones(store, drawings, run.method)
            gt_field, areas = run.gt_field or GT_FIELD, run.thresholds.min_area
            calibration = calibrate_run(dataset, zoned(store), run.method, rule, ids, gt_field, areas)
            # Of a bank that was not indexed again nothing new is known
            dirty = [text for text in run.warnings if text.startswith(DIRTY_BANK)]
            return commit(dataset, replace(run, settings=settings, warnings=dirty), job, calibration)


def _spec(run: Run, images: list[JobImage], segments: str | Proposer | None, marks: LearntMarks) -> JobSpec:
    bank, paths = run.store.bank.paths(), [image.path for image in images]
    return JobSpec(
        images,
        [JobImage(path, path) for path in bank],
        run.method,
        segments,
        run.settings["rotations"],
        run.settings["bank_size"],
        marks.normal,
        marks.defects,
        run.settings["seed"],
        bank_names=find_copies(paths, bank) | bank_copies(run.store, paths),
        scale=run.grey_scale,
        groups=run.settings.get("groups"),
        clean=run.settings.get("clean", False),
    )


def _matched(dataset: fo.Dataset, run: Run, ids: set[str]) -> MatchedRegions:
    if not ids or GT_FIELD not in truth_fields(dataset):
        return {}
    truths = read_truth(all_slices(dataset).select(list(ids)), GT_FIELD)
    return found_regions(run.store, run.thresholds, truths, ids)


def _report(
    dataset: fo.Dataset,
    run: Run,
    marks: int,
    flagged_before: set[str],
    matched_before: MatchedRegions,
) -> ReviewReport:
    """Compare a run with what it was before: which samples are flagged, and which regions of the truth are matched."""
    flagged_now = set(flagged(dataset, run).values("id"))
    table = read_score_table(dataset, run)
    ranks = {id: rank for rank, id in enumerate(table.ids[np.argsort(-table.scores)].tolist())}

    def rank(id: str) -> int:
        return ranks.get(id, len(ranks))

    cleared = sorted(flagged_before - flagged_now, key=rank)
    raised = sorted(flagged_now - flagged_before, key=rank)
    matched = _matched(dataset, run, flagged_now)
    # An image may be judged as defective without a mask, or be flagged for something beside its defect
    defective = set(table.ids[table.truth == ANOMALOUS].tolist()) | matched.keys() | matched_before.keys()

    def changed(before: MatchedRegions, after: MatchedRegions, images: list[str]) -> list[LostDefect]:
        defects = lost_regions(before, after)
        defects += [LostDefect(id) for id in (set(images) & defective) - {defect.sample_id for defect in defects}]
        return sorted(defects, key=lambda defect: rank(defect.sample_id))

    lost, found = changed(matched_before, matched, cleared), changed(matched, matched_before, raised)
    return ReviewReport(run, marks, cleared, raised, lost, found)
