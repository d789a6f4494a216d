"""``decide_parts``: one decision per part, from the scores of all of its views."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from ..errors import RunBusyError
from ..registry.exclusive import holds_run_lock
from ..registry.keys import ANOMALOUS, NORMAL, list_views, owners_of
from ..registry.locks import run_lock
from ..registry.parts import PartDecision, PartDecisions, PartsRecord, delete_parts, read_parts_record, write_parts
from ..registry.run import Run, load_run
from ..registry.samples import all_slices, root_dataset
from ..registry.views import load_views, read_views
from ..scoring.parts import BONFERRONI, NormalParts
from ..scoring.thresholds import DEFAULT_FPR, parse_threshold
from ..utils.text import name_some, pluralize
from .part_pictures import NO_VIEW, PartFields, Picture, normal_pictures, scored_pictures

logger = logging.getLogger(__name__)

_ROUNDING = 1e-9
"""Keeps a p-value of ``k / (n + 1)`` from being above the same share."""

_MOST_NAMES = 5

_WAITING: ContextVar[str | None] = ContextVar("_WAITING", default=None)
"""Key of the runs of slices that one call changes one after the other."""


@holds_run_lock
def decide_parts(
    samples: Samples,
    key: str = "segad",
    by: str | None = None,
    views: str | None = None,
    share: float | None = None,
    reference: Samples | None = None,
) -> PartDecisions:
    """Decide on parts instead of pictures: one p-value, one decision, and the view that decided, per part.

    Of a part with several pictures the most unusual one counts, and what is usual of that is found from the normal
    parts, whose views depend on each other as those of new ones do: of new good *parts* at most the stated share is
    flagged, however many pictures each has. The method, and what it is when normal parts are few or lack views, is told
    in ``docs/parts.md``. All scored samples of a part get the decision in the field ``<key>_part`` (Classification),
    with ``p_value``, ``part``, ``view`` and ``decided_by``, the id of the sample that decided. It follows when the run
    is rescored or scores new images.

    Args:
        samples: the dataset, or a view of it; all parts of the run are decided
        key ("segad"): key of the run, or of the runs that ``compute_segment_anomalies`` made of a grouped dataset
        by (None): field whose values are the same for pictures of one part, such as ``"part_id"``. By default the
            groups of a grouped dataset, else the field that the run was told as ``groups=``
        views (None): field that tells views, such as ``"camera"``, on a dataset that is not grouped. Without it the
            pictures of a part are alike, and compared with parts of as many pictures
        share (None): share of new good parts that may be flagged, in (0, 1); by default that of the threshold of the
            run, or of all slices, which it follows, else 0.05
        reference (None): the samples that tell parts and views of the run's normal images, if these are of another
            dataset

    Returns:
        the decisions, lowest p-value first

    Raises:
        ValueError: if there is no such run or field, the run knows no normal images, or no sample tells its part

    Examples:
        >>> print(segad.decide_parts(dataset, "segad", by="part_id"))  # doctest: +SKIP
        Parts of 'segad': 1 of 20 anomalous; a share of 0.05 of new good parts would be (from 60 normal parts)
          0412: p = 0.0164, view 'left'
    """
    dataset = root_dataset(samples, "samples")
    return _decide_parts(dataset, key, by, views, _checked_share(share), share is None, reference)


def decide_again(dataset: fo.Dataset, key: str) -> None:
    """Bring the decisions on the parts of a run up to date after its scores have changed; nothing if there are none.

    The caller holds the lock of the key. Where runs of slices are not all done, they are decided on once they are.
    """
    if read_parts_record(dataset, key) is not None:
        _follow(dataset, key)
    for owner in owners_of(dataset, key):
        views = read_views(dataset, owner)
        if owner == _WAITING.get() or views is None or views.pending or read_parts_record(dataset, owner) is None:
            continue
        try:
            with run_lock(dataset, owner):
                _follow(dataset, owner)
        except RunBusyError as error:  # the run is no less right
            logger.warning("The parts of '%s' are as they were before; call decide_parts(): %s", owner, error)


@contextmanager
def decisions_wait(key: str) -> Iterator[None]:
    """Let the decisions on the parts of all slices wait while the run of one after the other changes.

    The caller holds the lock of the key that stands for them, and decides again in the end.
    """
    token = _WAITING.set(key)
    try:
        yield
    finally:
        _WAITING.reset(token)


def _follow(dataset: fo.Dataset, key: str) -> None:
    record = read_parts_record(dataset, key)
    assert record is not None
    reference = fo.load_dataset(record.reference) if fo.dataset_exists(record.reference) else None
    try:
        _decide_parts(dataset, key, record.by, record.views, record.share, record.follows_threshold, reference)
    except ValueError as error:  # the run is no less right, but these are decisions on scores that are gone
        delete_parts(dataset, key)
        logger.warning("What was decided on the parts of '%s' is removed: %s", key, error)


def _decide_parts(
    dataset: fo.Dataset,
    key: str,
    by: str | None,
    views: str | None,
    share: float,
    follows_threshold: bool,
    reference: Samples | None,
) -> PartDecisions:
    runs = _load_runs(dataset, key)
    record = PartsRecord(
        key,
        by if by is not None or dataset.group_field is not None else _field_of_groups(dataset, runs),
        views,
        _share_of_threshold(runs, share) if follows_threshold else share,
        (_reference_of(dataset, key) if reference is None else root_dataset(reference, "reference")).name,
        normals=0,
        follows_threshold=follows_threshold,
    )
    fields = PartFields(record.by, views)
    scored = [picture for view, run in runs.items() for picture in scored_pictures(dataset, run, view or None, fields)]
    with_part = [picture for picture in scored if picture.part is not None]
    if not with_part:
        raise ValueError(f"by={record.by!r} is empty for all scored samples; fill it in with what tells their parts")
    normals: list[Picture] = []
    warnings: list[str] = []
    for view, run in runs.items():
        pictures, notes = normal_pictures(run, view or None, fields, fo.load_dataset(record.reference))
        normals, warnings = normals + pictures, warnings + notes
    if not normals:
        raise ValueError(
            f"No normal image of '{key}' has a known part and view in dataset '{record.reference}'; name the "
            "samples that tell them by reference=..."
        )
    parts_of = {picture.view: {other.part for other in normals if other.view == picture.view} for picture in normals}
    record = replace(record, normals=max(map(len, parts_of.values())))
    if len(with_part) < len(scored):
        without = pluralize(len(scored) - len(with_part), "scored picture has", "scored pictures have")
        warnings.append(f"{without} no '{record.by}' and belong to no part")
    parts, notes = _decide(record, with_part, normals)
    flagged = sum(part.anomalous for part in parts)
    record = replace(record, decided=len(parts), flagged=flagged, warnings=warnings + notes)
    decisions = PartDecisions(record, _with_zones(dataset, runs, parts))
    write_parts(dataset, decisions)
    logger.info("%s", decisions)
    return decisions


def _load_runs(dataset: fo.Dataset, key: str) -> dict[str, Run]:
    """Load the run of each slice by its name, or the run of a key, whose name is empty.

    Raises:
        ValueError: if there is no such run, or none of them compares with normal images
    """
    runs = load_views(dataset, key).runs if key in list_views(dataset) else {NO_VIEW: load_run(dataset, key)}
    for run in runs.values():
        if not run.store.normals.ids():
            raise ValueError(
                f"Run '{run.key}' knows no scores of normal images ({run.method}), so that no share of good parts "
                "can be stated; compute one with method='reference', or pass normal images to the method by "
                "reference=..."
            )
    return runs


def _field_of_groups(dataset: fo.Dataset, runs: Mapping[str, Run]) -> str | None:
    """Return the field that a run was told as ``groups=``, if the dataset has it."""
    groups = next(iter(runs.values())).settings.get("groups")
    return groups if isinstance(groups, str) and dataset.get_field(groups) is not None else None


def _reference_of(dataset: fo.Dataset, key: str) -> fo.Dataset:
    """Return the dataset of the normal images, as far as it is known; else that of the run."""
    record = read_views(dataset, key)
    name = record.reference if record is not None else None
    return fo.load_dataset(name) if name is not None and fo.dataset_exists(name) else dataset


def _share_of_threshold(runs: Mapping[str, Run], otherwise: float) -> float:
    """Return the share of the threshold that all slices have in common, if that is stated."""
    rules = {parse_threshold(run.thresholds.rule) for run in runs.values()}
    common = rules.pop()
    return common.value if not rules and common.kind == "fpr" else otherwise


def _checked_share(share: float | None) -> float:
    if share is None:
        return DEFAULT_FPR
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ValueError(f"share={share!r} must be a number in (0, 1), e.g. 0.05")
    return float(share)


def _decide(
    record: PartsRecord, scored: Sequence[Picture], normals: Sequence[Picture]
) -> tuple[list[PartDecision], list[str]]:
    """Decide on each part, and say what a user should know."""
    normal_parts = NormalParts(
        [picture.score for picture in normals],
        [picture.part for picture in normals],
        [picture.view for picture in normals],
    )
    by_part: dict[str, list[Picture]] = {}
    for picture in scored:
        by_part.setdefault(str(picture.part), []).append(picture)
    decisions, unsupported, smallest = [], 0, 0.0
    for part, pictures in by_part.items():
        scores, views = [picture.score for picture in pictures], [picture.view for picture in pictures]
        value = normal_parts.part_value(scores, views, record.share, part)
        if value is None:
            continue
        if value.smallest > record.share + _ROUNDING:
            unsupported, smallest = unsupported + 1, max(smallest, value.smallest)
        deciding = pictures[value.picture]
        label = ANOMALOUS if value.p_value <= record.share + _ROUNDING else NORMAL
        ids = [picture.id for picture in pictures]
        view = deciding.view or None
        decision = (part, label, value.p_value, deciding.id, view, None, value.judged, value.method)
        decisions.append(PartDecision(*decision, ids))
    notes = _coverage_notes(by_part, set(normal_parts.views), decisions)
    if unsupported:
        notes.append(
            f"{pluralize(unsupported, 'part')} cannot be flagged at a share of {record.share:g}: normal parts support "
            f"p-values of {smallest:.3g} and more. Add normal parts with all views, or ask for a larger share"
        )
    return sorted(decisions, key=lambda decision: decision.p_value), notes


def _coverage_notes(
    by_part: Mapping[str, Sequence[Picture]], known: set[Any], decisions: Sequence[PartDecision]
) -> list[str]:
    """Say which views and parts could not be judged as the others are."""
    notes = []
    unknown = sorted({picture.view for pictures in by_part.values() for picture in pictures} - known)
    if unknown:
        notes.append(
            f"Of view {name_some([repr(view) for view in unknown], _MOST_NAMES)} no normal picture is known: "
            "pictures of it count for nothing"
        )
    if undecided := len(by_part) - len(decisions):
        notes.append(f"Nothing is decided on {pluralize(undecided, 'part')}: no normal picture shows a view of theirs")
    multiplied = [decision for decision in decisions if decision.method == BONFERRONI and decision.pictures > 1]
    if multiplied:
        notes.append(
            f"Of {pluralize(len(multiplied), 'part')} the smallest p-value of the pictures was multiplied by "
            "their number (Bonferroni), which finds less: too few normal parts have all of their views"
        )
    views = {part: {picture.view for picture in pictures} for part, pictures in by_part.items()}
    every = set().union(*views.values())
    lacking = sum(of_part < every for of_part in views.values())
    if lacking:
        notes.append(
            f"{pluralize(lacking, 'part lacks', 'parts lack')} a view that others have: what it would have shown "
            "is not judged"
        )
    return notes


def _with_zones(dataset: fo.Dataset, runs: Mapping[str, Run], parts: list[PartDecision]) -> list[PartDecision]:
    """Add the zone that decided on the sample that decided, if the run has zones with names."""
    zones: dict[str, str | None] = {}
    for run in runs.values():
        path = f"{run.field('pred')}.zone"
        if dataset.get_field(path) is not None:
            samples = all_slices(dataset).select([part.sample_id for part in parts]).exists(run.field("score"))
            zones |= dict(zip(*samples.values(["id", path]), strict=True))
    return [replace(part, zone=zones.get(part.sample_id)) for part in parts]
