"""Name, merge and split the families of a run by hand, and decide on all regions of one at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from fiftyone.core.collections import SampleCollection as Samples

from ..registry.exclusive import holds_run_lock
from ..registry.keys import ANOMALOUS, NORMAL
from ..registry.run import Run, load_run
from ..scoring.families import SINGLE, split_regions
from ..storage.families import NEW, NEW_LABEL, SINGLE_LABEL, SavedFamilies, save_families
from ..utils.text import pluralize
from .families import (
    Families,
    families_of,
    list_families,
    load_families,
    next_label,
    write_attributes,
)
from .mark_field import Mark
from .marks import mark_anomalous, mark_normal


@holds_run_lock
def name_family(samples: Samples, key: str, family: str, name: str) -> Families:
    """Name a family. It then stays when families are found again, and later regions are assigned to it.

    Args:
        samples: the dataset, or a view of it
        key: the run's key
        family: its label
        name: its new label, e.g. ``"scratch"``

    Returns:
        the families as they are now

    Raises:
        ValueError: if there is no such run or family, or another one has this name

    Examples:
        >>> segad.name_family(dataset, "segad", "family 1", "scratch")  # doctest: +SKIP
    """
    run, saved, number = _open(samples, key, family)
    names = [*saved.names]
    names[number] = _checked_name(saved, name, {number})
    return _write(samples, run, replace(saved, names=names, kept=_with(saved.kept, number, True)))


@holds_run_lock
def merge_families(samples: Samples, key: str, families: Sequence[str], name: str | None = None) -> Families:
    """Put families together into one, which then stays when families are found again.

    Args:
        samples: the dataset, or a view of it
        key: the run's key
        families: the labels of two or more
        name (None): label of the new one; by default that of the first

    Returns:
        the families as they are now

    Raises:
        ValueError: if there is no such run or family, or another one has this name

    Examples:
        >>> segad.merge_families(dataset, "segad", ["family 1", "family 4"], "scratch")  # doctest: +SKIP
    """
    if isinstance(families, str) or not isinstance(families, Sequence) or len(set(families)) < 2:
        raise ValueError(f"families={families!r} must be the labels of two families or more")
    run, saved, first = _open(samples, key, families[0])
    numbers = {_number(saved, key, label) for label in families}
    names = [*saved.names]
    names[first] = names[first] if name is None else _checked_name(saved, name, numbers)
    merged = np.where(np.isin(saved.families, list(numbers)), first, saved.families)
    changed = replace(saved, names=names, kept=_with(saved.kept, first, True), families=merged)
    return _write(samples, run, _without(changed, numbers - {first}))


@holds_run_lock
def split_family(
    samples: Samples,
    key: str,
    family: str,
    region_ids: Collection[str] | None = None,
    name: str | None = None,
) -> Families:
    """Split a family in two, which then stay when families are found again.

    Args:
        samples: the dataset, or a view of it
        key: the run's key
        family: its label
        region_ids (None): those of its regions that become a family of their own; by default the two parts that are
            least like each other are taken apart
        name (None): label of the part that leaves; by default ``family`` and the next free number

    Returns:
        the families as they are now

    Raises:
        ValueError: if there is no such run or family, its regions cannot be split so, or another family has the name

    Examples:
        >>> segad.split_family(dataset, "segad", "scratch", name="deep scratch")  # doctest: +SKIP
    """
    run, saved, number = _open(samples, key, family)
    members = np.flatnonzero(saved.families == number)
    if region_ids is None:
        leaving = members[split_regions(saved.vectors[members])]
    else:
        own = {saved.ids[i] for i in members}
        if isinstance(region_ids, str) or not isinstance(region_ids, Collection) or not set(region_ids) <= own:
            raise ValueError(f"region_ids={region_ids!r} must be ids of regions of family '{family}'")
        leaving = np.array([i for i in members if saved.ids[i] in set(region_ids)], int)
    if not 0 < len(leaving) < len(members):
        raise ValueError(
            f"Family '{family}' of {pluralize(len(members), 'region')} cannot be split so: a part is empty"
        )
    label = next_label(saved.names) if name is None else _checked_name(saved, name, set())
    families = saved.families.copy()
    families[leaving] = len(saved.names)
    kept = [*_with(saved.kept, number, True), True]
    return _write(samples, run, replace(saved, names=[*saved.names, label], kept=kept, families=families))


def mark_family(
    samples: Samples,
    key: str,
    family: str,
    label: str,
    leave_out: Collection[str] = (),
    why: str = "",
    by: str | None = None,
) -> list[Mark]:
    """Mark all regions of a family as normal or as anomalous in one step, which ``undo_review`` takes back.

    Look at the ``exceptions`` of the family before. Regions of a named family that are marked as anomalous are marked
    as defects of its name.

    Args:
        samples: the dataset, or a view of it
        key: the run's key
        family: label of the family, or ``new`` or ``single``
        label: ``normal`` or ``anomalous``
        leave_out (()): ids of regions that are not marked
        why (""): the reason; by default the name of the family
        by (None): who says so; by default the user of the machine

    Returns:
        the new marks

    Raises:
        ValueError: if there is no such run or family, or nothing of it is left to mark

    Examples:
        >>> dust = segad.list_families(dataset)["dust"]  # doctest: +SKIP
        >>> segad.mark_family(dataset, "segad", "dust", "normal", leave_out=dust.exceptions)  # doctest: +SKIP
        >>> segad.rescore(dataset, "segad")  # doctest: +SKIP
    """
    if label not in (NORMAL, ANOMALOUS):
        raise ValueError(f"label={label!r} must be '{NORMAL}' or '{ANOMALOUS}'")
    chosen = list_families(samples, key)[family]
    ids = [id for id in chosen.region_ids if id not in set(leave_out)]
    if not ids:
        raise ValueError(f"Family '{family}' has no region that is not left out")
    dataset, reason = samples._root_dataset, why or f"family {family}".replace("family family", "family")
    if label == NORMAL:
        return mark_normal(dataset, key, why=reason, by=by, label_ids=ids)
    defect = family if chosen.named else None
    return mark_anomalous(dataset, key, defect, why=reason, by=by, label_ids=ids)


def _open(samples: Samples, key: str, label: str) -> tuple[Run, SavedFamilies, int]:
    run = load_run(samples, key)
    saved = load_families(run)
    return run, saved, _number(saved, key, label)


def _number(saved: SavedFamilies, key: str, label: str) -> int:
    if label not in saved.names:
        raise ValueError(f"Run '{key}' has no family '{label}'; its families are {saved.names}")
    return saved.names.index(label)


def _checked_name(saved: SavedFamilies, name: str, own: set[int]) -> str:
    """Check a name that a person gives to a family.

    Raises:
        ValueError: if it is none, or taken by another family than its ``own`` ones
    """
    if not isinstance(name, str) or not name.strip() or name.strip() in (NEW_LABEL, SINGLE_LABEL):
        raise ValueError(f"name={name!r} must be a text, and neither '{NEW_LABEL}' nor '{SINGLE_LABEL}'")
    if name.strip() in [label for number, label in enumerate(saved.names) if number not in own]:
        raise ValueError(f"There is a family '{name.strip()}' already; put both together with merge_families()")
    return name.strip()


def _with(values: list[bool], place: int, value: bool) -> list[bool]:
    return [value if i == place else one for i, one in enumerate(values)]


def _without(saved: SavedFamilies, numbers: set[int]) -> SavedFamilies:
    """Take away families that have no regions any more."""
    rest = [number for number in range(len(saved.names)) if number not in numbers]
    new_numbers = {number: place for place, number in enumerate(rest)} | {NEW: NEW, SINGLE: SINGLE}
    return replace(
        saved,
        names=[saved.names[number] for number in rest],
        kept=[saved.kept[number] for number in rest],
        families=np.array([new_numbers[number] for number in saved.families.tolist()], np.int64),
    )


def _write(samples: Samples, run: Run, saved: SavedFamilies) -> Families:
    dataset = samples._root_dataset
    save_families(Path(run.folder), saved)
    write_attributes(dataset, run, saved)
    return families_of(dataset, run, saved)
