"""``rescore``: a run learns what people marked as normal, at the cost of the change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples

from ..data.truth import GT_FIELD, Truth, read_truth, truth_fields
from ..engine.job import Job, JobContext, JobImage, JobSpec
from ..engine.methods import run_job, steps
from ..registry.exclusive import holds_run_lock
from ..registry.fields import ANOMALOUS, flagged
from ..registry.run import Run, load_run
from ..registry.samples import job_images, named_segments
from ..review.lost_defects import LostDefect, MatchedRegions, found_regions, lost_regions
from ..review.marks import MARKS, MarkedImages, marked_images
from ..review.triage import read_score_table
from ..scoring.thresholds import parse_threshold
from ..segments.boxes import Proposer
from ..utils.text import pluralize
from ..utils.threads import usable_cores
from .features import load_embedder
from .lifecycle import masks_name, open_store, put_in_place
from .thresholds import calibrated

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReviewReport:
    """What a review has changed.

    Attributes:
        run: the run as it is now
        marked: number of marks that are in the bank now
        cleared: ids of the samples that were flagged before and are not any more
        raised: ids of those that are flagged only now
        lost: defects that the tool was taught to miss, as far as the truth is known: regions of the ground truth that
            predicted ones matched and none matches any more, also in images that stay flagged, and the other defective
            images among ``cleared``; in the order of the images' scores, highest first
    """

    run: Run
    marked: int
    cleared: list[str]
    raised: list[str]
    lost: list[LostDefect]

    def __str__(self) -> str:
        lines = [
            f"Run '{self.run.key}' has {pluralize(self.marked, 'mark')} in its bank; alarms gone: {len(self.cleared)}, "
            f"new: {len(self.raised)}"
        ]
        if self.lost:
            ids = self.lost_ids
            found = pluralize(len(self.lost), "defect that was found is", "defects that were found are")
            lines.append(
                f"Warning: {found} lost, in {', '.join(ids[:5])}"
                + (" ..." if len(ids) > 5 else "")
                + ". Look at them, and take marks back with unmark() or undo_review()"
            )
        return "\n".join(lines)

    @property
    def lost_ids(self) -> list[str]:
        """Ids of the samples with lost defects, highest score first."""
        return list(dict.fromkeys(defect.sample_id for defect in self.lost))


@holds_run_lock
def rescore(
    samples: Samples,
    key: str = "segad",
    segments: Proposer | None = None,
    progress: bool | Callable[[Any], None] | None = None,
) -> ReviewReport:
    """Scores a run's images again, with what people marked as normal in its bank.

    Scores, maps, masks, regions and thresholds follow, exactly as if the run were computed anew with these marks (a new
    run of the key learns them, too). Distances to the bank are kept, so that only those to the marked segments are
    computed; images whose features had no room in the store go through the embedder once more. Marks that were taken
    back are forgotten. ``anomalous`` marks change no score.

    Args:
        samples: the dataset, or a view of it; the whole run changes
        key ("segad"): the run's key
        segments (None): the function of the run's segments, if they came from a function
        progress (None): whether to show a progress bar, or a function that gets it

    Returns:
        what has changed, the defects of the ground truth in ``defect_mask`` that are lost among it

    Raises:
        ValueError: if there is no such run, it compares with no normal images, or was made with a bank
            file
        RunError: if the run's files are gone, or the embedder gives other features than it did
        SegadError: if an image with marks cannot be read
        MissingDependencyError: if the embedder is not installed
    """
    dataset: fo.Dataset = samples._root_dataset
    run = load_run(dataset, key)
    if run.method != "reference":
        raise ValueError(f"Run '{key}' has no bank that could learn: its method is '{run.method}', not 'reference'")
    if "bank" in run.settings:
        raise ValueError(f"Run '{key}' was made with a bank file; rescore the run that the file was saved from")
    marks, digest = marked_images(dataset, key)
    before = set(flagged(dataset, run).values("id"))
    if digest == run.settings.get(MARKS):
        logger.info("Run '%s' knows these marks already", key)
        return ReviewReport(run, _count(marks), [], [], [])
    spec = named_segments(run, dataset, segments)
    scored = run.store.scores.ids() & set(dataset.values("id"))
    images = job_images(dataset.select(list(scored)), spec)
    settings = {**run.settings, MARKS: digest}
    with load_embedder(run) as model:
        store = open_store(dataset, key, settings, resume=True)
        with store.explain_write_errors():
            store.link_from(run.store)
        job_spec = JobSpec(
            images,
            [JobImage(path, path) for path in run.store.bank.paths()],
            run.method,
            spec,
            settings["rotations"],
            settings["bank_size"],
            marks,
            settings["seed"],
            advise_rotations=False,
        )
        context = JobContext(model, store, usable_cores(), on_stage=lambda text: logger.info("%s: %s ...", key, text))
        job = Job(job_spec, context)
        bar = fou.ProgressBar(total=steps(job) + len(images), progress=progress, iters_str="images")
        job = job.with_progress(bar.update)
        rule = parse_threshold(run.thresholds.rule)
        with bar, store.explain_write_errors():
            outcome = run_job(job)
            calibration = calibrated(dataset, store, run.method, rule, scored)
            truths = _truths(dataset, before)
            found = found_regions(run.store, run.thresholds, truths, before)
            run = replace(
                run,
                settings=settings,
                thresholds=calibration.thresholds,
                map_range=calibration.map_range,
                folder=str(store.folder),
                masks=masks_name(),
                scored=len(store.scores.ids() & scored),
                skipped=run.skipped + outcome.skipped,
                warnings=outcome.warnings + calibration.warnings,
                seconds=outcome.seconds,
            )
            put_in_place(dataset, run, calibration, scored, bar.update)
    report = _report(dataset, run, _count(marks), before, truths, found)
    logger.info("%s", report)
    return report


def _count(marks: MarkedImages) -> int:
    return sum(len(boxes) for _, boxes in marks)


def _truths(dataset: fo.Dataset, ids: set[str]) -> dict[str, Truth]:
    return read_truth(dataset.select(list(ids)), GT_FIELD) if ids and GT_FIELD in truth_fields(dataset) else {}


def _report(
    dataset: fo.Dataset, run: Run, marked: int, before: set[str], truths: dict[str, Truth], found: MatchedRegions
) -> ReviewReport:
    """What is other than before, when the samples ``before`` were flagged and ``found`` was found."""
    after = set(flagged(dataset, run).values("id"))
    triage = read_score_table(dataset, run)
    order = {id: i for i, id in enumerate(triage.ids[np.argsort(-triage.scores)].tolist())}

    def place(id: str) -> int:
        return order.get(id, len(order))

    cleared = sorted(before - after, key=place)
    still = {id for id, regions in found.items() if regions} & after
    lost = lost_regions(found, found_regions(run.store, run.thresholds, truths, still))
    # An image may be judged as defective without a mask, or have been flagged for something beside its defect
    defective = set(triage.ids[triage.truth == ANOMALOUS].tolist()) | found.keys()
    lost += [LostDefect(id) for id in (set(cleared) & defective) - {defect.sample_id for defect in lost}]
    lost.sort(key=lambda defect: place(defect.sample_id))
    return ReviewReport(run, marked, cleared, sorted(after - before, key=place), lost)
