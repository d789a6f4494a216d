"""Keep the pictures of a part in one split: else what is trained on is tested on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import fiftyone.core.fields as fof
from fiftyone.core.collections import SampleCollection as Samples

from ..registry.parts import decisions_of_run
from .decisions import Decision, Decisions
from .folder_writer import Places

_ORDER = ("train", "validation", "test")
"""Splits, the one first from which a picture may be moved to any later one."""


def read_part_names(samples: Samples, by: str | None, keys: Sequence[str]) -> dict[str, str]:
    """Return the part that each of some samples shows, by id; those of which nothing tells it are left out.

    Args:
        samples: the samples, flat
        by: field that tells parts; by default that of the decisions on parts of a run, else the groups of a dataset
        keys: keys of the runs

    Raises:
        ValueError: if there is no such field
    """
    dataset = samples._root_dataset
    if by is None:
        records = [record for key in keys if (record := decisions_of_run(dataset, key)) is not None]
        by = next((record.by for record in records if record.by is not None), None)
    elif not isinstance(dataset.get_field(by), (fof.StringField, fof.IntField, fof.ObjectIdField)):
        raise ValueError(
            f"part_field={by!r} is no field of texts or numbers of dataset '{dataset.name}'; name one that is the same "
            "for pictures of one part"
        )
    path = by if by is not None else f"{dataset.group_field}.id" if dataset.group_field is not None else None
    if path is None or dataset.get_field(path.split(".")[0]) is None:
        return {}
    ids, names = samples.values(["id", path])
    return {id: str(name) for id, name in zip(ids, names, strict=True) if name is not None}


def joint_splits(decisions: Decisions, ids: Iterable[str], parts: Mapping[str, str], places: Places) -> dict[str, str]:
    """Find the splits of the pictures that must go where another picture of their part goes.

    That is the latest of the splits that the pictures of a part would have: ``test`` where any of them is anomalous.

    Returns:
        the split by id, of those that would have another one
    """
    splits: dict[str, dict[str, str]] = {}
    members: dict[str, list[str]] = {}
    for id in ids:
        if id in parts:
            members.setdefault(parts[id], []).append(id)
    for part, part_ids in members.items():
        for id in part_ids if len(part_ids) > 1 else ():
            decision = decisions.decide(id)
            if isinstance(decision, Decision):
                splits.setdefault(part, {})[id] = places.split(decision)
    moved: dict[str, str] = {}
    for of_part in splits.values():
        latest = max(of_part.values(), key=_ORDER.index)
        moved |= {id: latest for id, split in of_part.items() if split != latest}
    return moved
