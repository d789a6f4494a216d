"""``find_families``: group the regions of a run by what they look like, and assign later ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..errors import RunError, SegadError
from ..registry.exclusive import holds_run_lock
from ..registry.folders import current_folders
from ..registry.run import Run, load_run
from ..review.families import Families, families_of, new_kinds, next_label, write_attributes
from ..scoring.families import MOST_FAMILIES, SINGLE, group_regions, make_prototypes
from ..segments.boxes import RelativeBox
from ..storage.families import NEW, SavedFamilies, place_of, read_families, save_families
from .region_vectors import RunRegion, read_regions, region_vectors

SAME_REGION = 0.5
"""Intersection over union from which on a region of an image takes the place of one that was there before."""

logger = logging.getLogger(__name__)


@holds_run_lock
def find_families(
    samples: Samples, key: str = "segad", progress: bool | Callable[[Any], None] | None = None
) -> Families:
    """Group the regions of a run into families of those that are alike: kinds of defects, or of false alarms.

    Regions are compared by the features of their segments, by how these differ from the nearest normal ones, and by
    size and shape. The families, 2 to 15 as a rule, are found, not asked for; what fits nowhere is ``single``. The
    attribute ``family`` of the regions says which is whose, and ``family_fit`` how well it fits. Families that people
    have named, merged or split stay with their regions, and get those that fit; only the others are grouped anew. No
    model is needed but for images whose features had no room in the run's files.

    Later regions, of ``score_new``, ``rescore`` and ``set_threshold``, are assigned to the families, or are ``new``.

    Args:
        samples: the dataset, or a view of it; the families are those of the whole run
        key ("segad"): the run's key
        progress (None): whether to show a progress bar where images go through the embedder once more, or a function
            that gets it

    Returns:
        the families, largest first, each with its regions, the most typical one, and its spread

    Raises:
        ValueError: if there is no such run, or no region above its threshold
        RunError: if the run's files are gone, or the embedder gives other features than it did
        MissingDependencyError: if the embedder is needed and not installed

    Examples:
        >>> families = segad.find_families(dataset)  # doctest: +SKIP
        >>> [(family.label, family.size) for family in families.families]  # doctest: +SKIP
        [('family 1', 19), ('family 2', 12)]
    """
    run = load_run(samples, key)
    dataset = samples._root_dataset
    regions = read_regions(dataset, run)
    if not regions:
        raise ValueError(
            f"Run '{key}' has no region above its threshold; lower it with set_threshold(), e.g. to 'fpr:0.05'"
        )
    before = read_families(Path(run.folder)) or SavedFamilies()
    regions, vectors = _describe(run, regions, before, progress)
    found = _find(_assign(regions, vectors, _only_kept(before)), before)
    save_families(Path(run.folder), found)
    write_attributes(dataset, run, found)
    families = families_of(dataset, run, found)
    logger.info("%s", families)
    return families


def assign_families(dataset: fo.Dataset, run: Run) -> None:
    """Assign the regions of a run that were written since to the families that it has; nothing if it has none."""
    try:
        before = read_families(Path(run.folder))
        if before is None:
            return
        regions, vectors = _describe(run, read_regions(dataset, run), before, None)
    except SegadError as error:  # what was written before is no less right
        logger.warning("The regions of run '%s' are in no families now; call find_families(): %s", run.key, error)
        return
    assigned = _assign(regions, vectors, before)
    save_families(Path(run.folder), assigned)
    write_attributes(dataset, run, assigned)
    if sentence := new_kinds(run):
        logger.warning(sentence)


def kept_families(dataset: fo.Dataset, key: str) -> SavedFamilies | None:
    """Return the families that people have named, merged or split in the run of a key; None if there are none."""
    folders = current_folders(dataset, key)
    try:
        saved = read_families(Path(folders[-1])) if folders else None
    except RunError:  # they go with the run
        return None
    return _only_kept(saved) if saved is not None and any(saved.kept) else None


def take_over_families(dataset: fo.Dataset, run: Run, kept: SavedFamilies | None) -> None:
    """Give a run the families that people have made in the one that it replaces: its regions in their places have them.

    Its features may be others, so that only these regions say what further ones are compared with.
    """
    if kept is None:
        return
    try:
        regions, vectors = region_vectors(run, read_regions(dataset, run))
    except SegadError as error:  # the run is no less right
        logger.warning("The families of run '%s' could not be taken over: %s", run.key, error)
        return
    families, _ = _by_place(regions, kept)
    waiting = np.flatnonzero(families == NEW)
    numbers, _ = make_prototypes(vectors, families).assign(vectors[waiting])
    families[waiting] = np.where(numbers == SINGLE, NEW, numbers)
    boxes = np.array([region.box for region in regions]).reshape(-1, 4)
    ids, samples = [region.id for region in regions], [region.sample for region in regions]
    taken_over = SavedFamilies(kept.names, kept.kept, ids, samples, boxes, vectors, families)
    save_families(Path(run.folder), taken_over)
    write_attributes(dataset, run, taken_over)


def _describe(
    run: Run,
    regions: Sequence[RunRegion],
    before: SavedFamilies,
    progress: bool | Callable[[Any], None] | None,
) -> tuple[list[RunRegion], NDArray[np.float32]]:
    """Describe regions, those that were there before by what is known of them."""
    known = dict(zip(before.places, before.vectors, strict=True))
    described, fresh = region_vectors(
        run, [region for region in regions if place_of(region.sample, region.box) not in known], progress
    )
    by_id = dict(zip([region.id for region in described], fresh, strict=True))
    pairs = [(region, by_id.get(region.id, known.get(place_of(region.sample, region.box)))) for region in regions]
    usable = [(region, vector) for region, vector in pairs if vector is not None]
    width = usable[0][1].shape[0] if usable else before.vectors.shape[1]
    return [region for region, _ in usable], np.array([vector for _, vector in usable], np.float32).reshape(-1, width)


def _only_kept(before: SavedFamilies) -> SavedFamilies:
    """Return the families that stay, with their regions."""
    rest = [number for number, kept in enumerate(before.kept) if kept]
    own = before.only(np.isin(before.families, rest))
    families = np.array([rest.index(number) for number in own.families.tolist()], np.int64)
    return replace(own, names=[before.names[i] for i in rest], kept=[True] * len(rest), families=families)


def _assign(regions: list[RunRegion], vectors: NDArray[np.float32], before: SavedFamilies) -> SavedFamilies:
    """Assign regions to families: to that of the region which was in their place before, or else by their fit.

    Regions of families that are no more stay as what later ones are compared with.
    """
    families, replaced = _by_place(regions, before)
    if len(before.names) and (families == NEW).any():
        waiting = np.flatnonzero(families == NEW)
        numbers, _ = make_prototypes(before.vectors, before.families).assign(vectors[waiting])
        families[waiting] = np.where(numbers == SINGLE, NEW, numbers)
    gone = before.only(~replaced & (before.families != NEW))
    return SavedFamilies(
        before.names,
        before.kept,
        [region.id for region in regions] + [""] * len(gone.ids),
        [region.sample for region in regions] + gone.samples,
        np.concatenate([np.array([region.box for region in regions]).reshape(-1, 4), gone.boxes]),
        np.concatenate([vectors, gone.vectors.reshape(len(gone.ids), vectors.shape[1])]),
        np.concatenate([families, gone.families]),
    )


def _by_place(regions: Sequence[RunRegion], before: SavedFamilies) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find the family of the region that was in the place of each, ``NEW`` if none was, and which were so replaced."""
    families = np.full(len(regions), NEW)
    replaced = np.zeros(len(before.ids), bool)
    by_sample: dict[str, list[int]] = {}
    for i, sample in enumerate(before.samples):
        by_sample.setdefault(sample, []).append(i)
    for i, region in enumerate(regions):
        candidates = by_sample.get(region.sample, [])
        overlaps = [_overlap(region.box, before.boxes[j].tolist()) for j in candidates]
        if overlaps and max(overlaps) >= SAME_REGION:
            place = candidates[int(np.argmax(overlaps))]
            families[i], replaced[place] = before.families[place], True
    return families, replaced


def _overlap(first: RelativeBox, second: Sequence[float]) -> float:
    """Return the intersection over union of two boxes."""
    sides = [min(first[i] + first[i + 2], second[i] + second[i + 2]) - max(first[i], second[i]) for i in range(2)]
    shared = max(sides[0], 0) * max(sides[1], 0)
    return shared / max(first[2] * first[3] + second[2] * second[3] - shared, 1e-12)


def _find(assigned: SavedFamilies, before: SavedFamilies) -> SavedFamilies:
    """Group the regions that are in no family that stays; names of families that were there before go on."""
    waiting = np.flatnonzero(assigned.families < 0)
    groups = group_regions(assigned.vectors[waiting], max(MOST_FAMILIES - len(assigned.names), 2))
    count = int(groups.max(initial=SINGLE)) + 1
    families = assigned.families.copy()
    families[waiting] = np.where(groups == SINGLE, SINGLE, groups + len(assigned.names))
    names = [*assigned.names]
    for old in _same_families(assigned.vectors[waiting], groups, before):
        taken = [*before.names, *names]  # the number of a family that is gone does not come back for another one
        names.append(next_label(taken) if old is None else before.names[old])
    return replace(assigned, names=names, kept=assigned.kept + [False] * count, families=families)


def _same_families(vectors: NDArray[np.float32], groups: NDArray[np.int64], before: SavedFamilies) -> list[int | None]:
    """Find for each group the earlier family that it is most like, where that is most like the group in turn."""
    count = int(groups.max(initial=SINGLE)) + 1
    old = [number for number, kept in enumerate(before.kept) if not kept and (before.families == number).any()]
    if not old or not count:
        return [None] * count
    earlier = make_prototypes(before.vectors, before.families)
    similarities = make_prototypes(vectors, groups).means @ earlier.means[old].T  # [groups, old]
    best, best_back = similarities.argmax(axis=1), similarities.argmax(axis=0)
    return [
        old[best[group]]
        if best_back[best[group]] == group and similarities[group].max() >= earlier.limits[old[best[group]]]
        else None
        for group in range(count)
    ]
