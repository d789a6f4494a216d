"""Find which normal images of a job show the same part, so that none of them is scored against another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..scoring.levels import LevelScorer
from ..scoring.neighbors import NeighborIndex
from ..scoring.siblings import groups_of, sibling_groups, sibling_votes
from .job import Job
from .passes import upright_rows

AUTO = "auto"
"""Groups that are found from the features of the bank."""

FEWEST_PARTS = 3
"""Parts that a bank must have for the second-nearest one to count: a normal image is compared with those of others."""


def find_groups(job: Job, levels: LevelScorer, indexes: Callable[[], list[NeighborIndex]]) -> list[list[str]]:
    """Return the paths of the images of each group of the bank that has several, as the job asks for it.

    Images are compared at the level of the largest weight only, and only those with all of their features in the bank.

    Args:
        job: the job, its bank complete
        levels: its levels
        indexes: gives one index per level
    """
    paths = job.store.bank.paths()
    if job.spec.groups is None or len(paths) < 2:
        return []
    if job.spec.groups == AUTO:
        job.stage("looking for pictures of the same part")
        level = levels.heaviest
        groups = sibling_groups(_votes(job, indexes()[level], level), len(paths))
    else:
        by_path = {image.path: image.group for image in job.spec.normals}
        groups = groups_of([by_path[path] for path in paths])
    if groups and len(groups[0]) == len(paths):
        job.report.warnings.append(
            "All normal images seem to show one part: they are compared with each other, so that thresholds are too "
            "low for other parts. Add normal images of other parts"
        )
        return []
    return [[paths[image] for image in group] for group in groups]


def part_numbers(paths: Sequence[str], groups: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Give each part that images show a number, the same one for the images of a group.

    >>> part_numbers(["a.png", "b.png", "c.png"], [["c.png", "a.png"]]).tolist()
    [0, 1, 0]
    """
    numbers = {path: number for number, path in enumerate(paths)}
    for group in groups:
        members = [path for path in group if path in numbers]
        numbers |= dict.fromkeys(members, min((numbers[path] for path in members), default=0))
    return np.array([numbers[path] for path in paths], np.int64)


def _votes(job: Job, index: NeighborIndex, level: int) -> Iterator[tuple[int, NDArray[np.float64]]]:
    numbers = {path: number for number, path in enumerate(job.store.bank.paths())}
    for image in job.store.bank:
        if image.complete:
            with job.timer("search"):
                shares = sibling_votes(index, upright_rows(image)[level], numbers[image.path])
            yield numbers[image.path], shares
