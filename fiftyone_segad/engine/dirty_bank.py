"""Warn of a bank of normal images that seems to hold defective ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..scoring.excuses import Matches, suspicious_parts
from ..scoring.levels import LevelScorer
from ..scoring.neighbors import NeighborIndex
from ..storage.records import ImageFeatures
from ..utils.arrays import spread_indices
from ..utils.text import name_some, pluralize
from .job import Job
from .passes import upright_rows
from .siblings import FEWEST_PARTS, part_numbers

SAMPLE = 200
"""Scored images, and normal ones, that are looked at, at most."""

DIRTY_BANK = "Some normal images seem to be defective"
"""Words by which the warning begins."""

_NAMED = 5
"""Images that the warning names, at most."""


def warn_if_dirty(job: Job, levels: LevelScorer, indexes: Callable[[], list[NeighborIndex]]) -> None:
    """Warn where single parts of the bank excuse odd places of scored images, as defective ones do.

    Only images whose features are in the store are looked at, at the level of the largest weight.

    Args:
        job: the job, its images scored
        levels: its levels
        indexes: gives one index per level
    """
    paths = job.store.bank.paths()
    parts = part_numbers(paths, job.store.groups() or [])
    with_features, calibrating = job.store.features.paths(), job.store.normals.ids()
    if job.spec.clean or len(np.unique(parts)) <= FEWEST_PARTS or not with_features:
        return
    job.stage("looking for defective images among the normal ones")
    level = levels.heaviest
    index, numbers = indexes()[level], {path: number for number, path in enumerate(paths)}

    def match(image: ImageFeatures) -> Matches:
        own = np.flatnonzero(parts == parts[numbers[image.path]]).tolist() if image.path in numbers else []
        with job.timer("search"):
            return Matches(*index.nearest_parts(upright_rows(image)[level], parts, own))

    by_id = {image.id: image for image in job.spec.images}
    known_ids = [id for id in with_features if id in by_id]
    scored_ids = _sample([id for id in known_ids if job.spec.bank_path(by_id[id]) not in numbers])
    normal_paths = _sample([path for path in paths if path in calibrating])
    normal = [match(image) for image in job.store.bank if image.path in normal_paths and image.complete]
    scored = [match(image) for image in job.store.features if image.path in scored_ids]
    suspects = suspicious_parts(normal, scored)
    if suspects:
        names = [path for part in suspects for path in np.array(paths)[parts == part]]
        hide = pluralize(len(suspects), "part of the bank hides", "parts of the bank hide")
        job.report.warnings.append(
            f"{DIRTY_BANK}: {hide} odd places of scored images, which are like no other part. Look at "
            f"{name_some(names, _NAMED)}, and leave out of the reference what is defective; or compute with "
            "clean=True"
        )


def _sample(names: Sequence[str]) -> set[str]:
    """Return some of the names, spread evenly; all if there are no more than ``SAMPLE``."""
    return {names[position] for position in spread_indices(len(names), SAMPLE)}
