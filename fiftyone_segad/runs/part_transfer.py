"""Carry what was decided on parts, and of which slice a run is, with an exported run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import fiftyone as fo

from ..errors import RunError
from ..registry.keys import check_key, list_runs, owners_of
from ..registry.parts import PartDecision, PartDecisions, PartsRecord, read_parts, read_parts_record, write_parts
from ..registry.samples import all_slices
from ..registry.views import ViewsRecord, read_views, save_views, view_keys
from ..storage.run_archive import CarriedSlice
from ..utils.text import pluralize
from ..utils.values import make_dataclass
from .parts import decide_again


def carried_parts(dataset: fo.Dataset, key: str) -> dict[str, Any] | None:
    """Return what was decided on the parts of a run as JSON values; None if nothing was."""
    decisions = read_parts(dataset, key)
    if decisions is None:
        return None
    record = decisions.record
    reference = "" if record.reference == dataset.name else record.reference
    return asdict(replace(decisions, record=replace(record, reference=reference)))


def parse_parts(carried: Mapping[str, Any] | None) -> PartDecisions | None:
    """Read what was carried of the decisions on parts.

    Raises:
        RunError: if it is damaged
    """
    if carried is None:
        return None
    try:
        record = make_dataclass(PartsRecord, carried["record"])
        return PartDecisions(record, [make_dataclass(PartDecision, part) for part in carried["parts"]])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"The parts of the exported run are damaged: {error}. Export it again") from error


def take_over_parts(dataset: fo.Dataset, key: str, carried: PartDecisions | None, ids: Mapping[str, str]) -> list[str]:
    """Write carried decisions on parts to the samples that are here; returns what the user should know.

    Args:
        dataset: the dataset
        key: key of the imported run, whose fields are written
        carried: the decisions; None if nothing was decided
        ids: ids of the samples that are here, by those that they had
    """
    if carried is None:
        decide_again(dataset, key)
        return []
    parts = [
        replace(part, sample_id=ids[part.sample_id], sample_ids=[ids[id] for id in part.sample_ids if id in ids])
        for part in carried.parts
        if part.sample_id in ids
    ]
    if carried.record.by is None:  # the groups of the dataset, which have other ids here
        if dataset.group_field is None:
            return [
                f"What was decided on parts is of groups, of which dataset '{dataset.name}' has none: call "
                f"decide_parts(dataset, '{key}', by=...) with the field of its parts"
            ]
        of_parts = all_slices(dataset).select([part.sample_id for part in parts])
        groups = dict(zip(*of_parts.values(["id", f"{dataset.group_field}.id"]), strict=True))
        parts = [replace(part, part=groups[part.sample_id]) for part in parts]
    record = replace(
        carried.record,
        key=key,
        reference=carried.record.reference or dataset.name,
        decided=len(parts),
        flagged=sum(part.anomalous for part in parts),
    )
    write_parts(dataset, PartDecisions(record, parts))
    if len(parts) == len(carried.parts):
        return []
    absent = pluralize(len(carried.parts) - len(parts), "part")
    return [f"Nothing is decided here on {absent} whose deciding picture is not in the dataset"]


def carried_slice(dataset: fo.Dataset, key: str) -> CarriedSlice | None:
    """Return of which slice a run is, with the share of the decisions on parts; None if it is of none."""
    owner = next(iter(owners_of(dataset, key)), None)
    views = None if owner is None else read_views(dataset, owner)
    if owner is None or views is None:
        return None
    name = next(name for name, run in views.keys.items() if run == key)
    record = read_parts_record(dataset, owner)
    return CarriedSlice(owner, name, list(views.keys), None if record is None else record.share)


def take_over_slice(dataset: fo.Dataset, key: str, carried: CarriedSlice | None) -> list[str]:
    """Add an imported run to those of all slices that it was one of; returns what the user should know.

    Nothing is done where it has another key than theirs, or the dataset has no such slice.
    """
    if carried is None or key != view_keys(carried.key, [carried.slice])[carried.slice]:
        return []
    if carried.slice not in (dataset.group_slices or []):
        return []
    before = read_views(dataset, carried.key)
    if before is None:
        try:
            check_key(dataset, carried.key, overwrite=False)
        except ValueError as error:
            return [f"Run '{key}' stands alone here, not among those of slices '{carried.key}': {error}"]
        before = ViewsRecord(carried.key, {}, reference=None, digest="")
    save_views(dataset, replace(before, keys={**before.keys, carried.slice: key}))
    decide_again(dataset, key)
    keys = view_keys(carried.key, carried.slices)
    absent = [keys[name] for name in carried.slices if keys[name] not in list_runs(dataset)]
    texts = [f"Run '{key}' is of slice '{carried.slice}' of '{carried.key}'; import {absent} as well"] if absent else []
    if carried.share is not None and read_parts_record(dataset, carried.key) is None:
        call = f"decide_parts(dataset, '{carried.key}', share={carried.share:g})"
        texts.append(f"Decisions on parts of all slices are not in an exported run; {call} takes them again")
    return texts
