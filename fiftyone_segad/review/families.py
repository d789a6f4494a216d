"""Families of regions that are alike, as a run has them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..errors import RunError
from ..registry.run import Run, load_run
from ..registry.samples import all_slices
from ..scoring.families import SINGLE, make_prototypes, member_fits
from ..storage.families import NEW, SavedFamilies, read_families
from ..utils.text import pluralize

FAMILY, FIT = "family", "family_fit"
"""Attributes of the regions."""

_EXCEPTION = 1.5
"""Ranges between quartiles by which a region fits its family less than the lower quartile of its members, if it is an
exception (Tukey, "Exploratory data analysis", 1977)."""


@dataclass(frozen=True)
class Family:
    """Regions of a run that are alike.

    Attributes:
        label: its name, ``family 1`` and so on until a person gives it another
        region_ids: ids of its regions, the one that fits best first
        fits: how well each fits, its mean similarity to the others in [-1, 1]
        scores: anomaly score of each
        sample_ids: id of the sample of each
        named: whether a person has named, merged or split it, so that it stays when families are found again
    """

    label: str
    region_ids: list[str]
    fits: list[float]
    scores: list[float]
    sample_ids: list[str]
    named: bool = False

    @property
    def size(self) -> int:
        return len(self.region_ids)

    @property
    def typical_id(self) -> str | None:
        """Id of the region that is most like all others; None for a named family that has no region now."""
        return self.region_ids[0] if self.region_ids else None

    @property
    def spread(self) -> float:
        """How unlike its regions are: 1 minus the median fit; 0 if all look the same."""
        return 1 - median(self.fits) if self.fits else 0.0

    @property
    def mean_score(self) -> float:
        """Mean anomaly score of its regions."""
        return fmean(self.scores) if self.scores else 0.0

    @property
    def exceptions(self) -> list[str]:
        """Ids of the regions that fit clearly less than the others, least first: look at these before you decide."""
        if self.size < 4:
            return []
        lower, upper = np.quantile(self.fits, [0.25, 0.75])
        limit = lower - _EXCEPTION * (upper - lower)
        return [id for id, fit in zip(reversed(self.region_ids), reversed(self.fits), strict=True) if fit < limit]


@dataclass(frozen=True)
class Families:
    """The families of a run's regions.

    Attributes:
        key: key of the run
        families: the families, largest first
        new: later regions that fit no family: alarms of a kind not seen before
        single: regions that fitted nowhere when families were found
    """

    key: str
    families: list[Family]
    new: Family
    single: Family

    def __getitem__(self, label: str) -> Family:
        """Return the family of a label, ``new`` and ``single`` included.

        Raises:
            ValueError: if there is none
        """
        for family in (*self.families, self.new, self.single):
            if family.label == label:
                return family
        raise ValueError(
            f"Run '{self.key}' has no family '{label}'; its families are {[family.label for family in self.families]}"
        )

    def __str__(self) -> str:
        regions = sum(family.size for family in (*self.families, self.new, self.single))
        lines = [f"Run '{self.key}': {pluralize(regions, 'region')} in {_count(len(self.families))}"]
        if self.new.size:
            lines.append(f"  {pluralize(self.new.size, 'region')} of a kind never seen before")
        lines += [
            f"  {family.label}: {pluralize(family.size, 'region')}, mean score {family.mean_score:.2f}, "
            f"spread {family.spread:.2f}"
            for family in self.families
        ]
        if self.single.size:
            lines.append(f"  {pluralize(self.single.size, 'region')} that {_fits(self.single.size)} nowhere")
        return "\n".join(lines)


def list_families(samples: Samples, key: str = "segad") -> Families:
    """List the families that ``find_families`` found in a run, as they are now.

    Args:
        samples: the dataset, or a view of it
        key ("segad"): the run's key

    Raises:
        ValueError: if there is no such run, or its families were not found yet
        RunError: if the run's files are gone

    Examples:
        >>> print(segad.list_families(dataset))  # doctest: +SKIP
        Run 'segad': 60 regions in 9 families
        ...
    """
    run = load_run(samples, key)
    return families_of(samples._root_dataset, run, load_families(run))


def load_families(run: Run) -> SavedFamilies:
    """Read the families of a run.

    Raises:
        ValueError: if they were not found yet
        RunError: if they are damaged
    """
    saved = read_families(Path(run.folder))
    if saved is None:
        raise ValueError(f"The families of run '{run.key}' were not found yet: call find_families() first")
    return saved


def new_kinds(run: Run) -> str:
    """Say how many regions of a run are of a kind never seen before; empty if none, or its families are not known."""
    try:
        saved = read_families(Path(run.folder))
    except RunError:
        return ""
    count = 0 if saved is None else int(((saved.families == NEW) & saved.is_current).sum())
    return f"Run '{run.key}' has {pluralize(count, 'region')} of a kind never seen before" if count else ""


def next_label(names: Collection[str]) -> str:
    """Return the first of ``family 1``, ``family 2`` and so on that is free."""
    return next(label for number in range(1, len(names) + 2) if (label := f"family {number}") not in names)


def fits_of(saved: SavedFamilies) -> NDArray[np.float32]:
    """Return how well each region fits its family ``[n]``: its mean similarity to the others, or to the nearest one."""
    fits = make_prototypes(saved.vectors, saved.families).assign(saved.vectors)[1]
    for number in range(len(saved.names)):
        members = saved.families == number
        fits[members] = member_fits(saved.vectors[members])
    return fits


def write_attributes(dataset: fo.Dataset, run: Run, saved: SavedFamilies) -> None:
    """Write family and fit of each region of a run to its attributes."""
    field, samples = f"{run.field('regions')}.detections", all_slices(dataset)
    current, fits = np.flatnonzero(saved.is_current), fits_of(saved)
    if not len(current):
        return
    labels = {saved.ids[i]: saved.label(int(saved.families[i])) for i in current}
    samples.set_label_values(f"{field}.{FAMILY}", labels, dynamic=True)
    samples.set_label_values(f"{field}.{FIT}", {saved.ids[i]: float(fits[i]) for i in current}, dynamic=True)


def families_of(dataset: fo.Dataset, run: Run, saved: SavedFamilies) -> Families:
    """Return the families of a run with what the dataset knows of their regions."""
    field = f"{run.field('regions')}.detections"
    samples = all_slices(dataset)
    paths = (f"{field}.id", f"{field}.anomaly_score")
    scores = dict(zip(*(samples.values(path, unwind=True) for path in paths), strict=True))
    fits, current = fits_of(saved), saved.is_current

    def family(number: int, named: bool = False) -> Family:
        members = [i for i in np.flatnonzero((saved.families == number) & current) if saved.ids[i] in scores]
        members.sort(key=lambda i: (-fits[i], saved.places[i]))
        return Family(
            saved.label(number),
            [saved.ids[i] for i in members],
            [float(fits[i]) for i in members],
            [float(scores[saved.ids[i]]) for i in members],
            [saved.samples[i] for i in members],
            named,
        )

    families = [family(number, named) for number, named in enumerate(saved.kept)]
    families = [one for one in families if one.size or one.named]
    families.sort(key=lambda one: -one.size)
    return Families(run.key, families, family(NEW), family(SINGLE))


def _count(families: int) -> str:
    return f"{families} famil{'y' if families == 1 else 'ies'}"


def _fits(regions: int) -> str:
    return "fits" if regions == 1 else "fit"
