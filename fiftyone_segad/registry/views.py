"""Runs of the slices of a grouped dataset that were made by one call, under the key that stands for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from ..errors import RunError
from ..utils.text import pluralize
from ..utils.values import make_dataclass
from .keys import PLUGIN, list_runs, list_views
from .retry import retry_on_reconnect
from .run import Run, load_run


@dataclass(frozen=True)
class ViewsRecord:
    """What a dataset holds of the runs of its slices.

    Attributes:
        key: the key that stands for them
        keys: key of the run of each slice
        reference: name of the dataset of the normal images; None if there are none
        digest: digest of what was asked, by which an interrupted call is told
        pending: slices whose runs are not done
        notes: slices that were left out, and why
    """

    key: str
    keys: dict[str, str]
    reference: str | None
    digest: str
    pending: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


_OF_A_RUN = {*Run.__dataclass_fields__, *(name for name in vars(Run) if not name.startswith("_"))}
"""Names of all that only the run of one slice has."""


@dataclass(frozen=True)
class ViewRuns(Mapping[str, Run]):
    """The runs of the slices of a grouped dataset, a mapping from the name of a slice to its ``Run``.

    What only a run has, such as a threshold, is asked of that of a slice; an ``AttributeError`` says how.

    Attributes:
        key: the key that stands for them
        runs: the run of each slice
        notes: slices that were left out, and why

    Examples:
        >>> views = segad.compute_segment_anomalies(grouped, key="segad", reference=normals)  # doctest: +SKIP
        >>> {name: run.thresholds.image for name, run in views.items()}  # doctest: +SKIP
        {'left': 1.31, 'right': 1.74}
        >>> views["left"].scored, views.scored  # doctest: +SKIP
        (40, 80)
    """

    key: str
    runs: dict[str, Run]
    notes: list[str] = field(default_factory=list)

    @property
    def scored(self) -> int:
        """Number of images scored in all slices."""
        return sum(run.scored for run in self.runs.values())

    @property
    def normals(self) -> int:
        """Number of normal images used in all slices."""
        return sum(run.normals for run in self.runs.values())

    @property
    def skipped(self) -> list[dict[str, str]]:
        """Images of any slice that could not be used."""
        return [entry for run in self.runs.values() for entry in run.skipped]

    @property
    def warnings(self) -> list[str]:
        """What the user should know of each slice."""
        return self.notes + [f"{name}: {warning}" for name, run in self.runs.items() for warning in run.warnings]

    def __getitem__(self, name: str) -> Run:
        """Return the run of a slice.

        Raises:
            KeyError: if it has none
        """
        if name not in self.runs:
            raise KeyError(f"'{self.key}' has no run of slice {name!r}; its slices are {list(self.runs)}")
        return self.runs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def __getattr__(self, name: str) -> NoReturn:
        if name in _OF_A_RUN:
            first = next(iter(self.runs), "...")
            raise AttributeError(
                f"'{self.key}' stands for the runs of the slices {list(self.runs)}, each with '{name}' of its own: use "
                f"views[{first!r}].{name}"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def save_table(self, path: str | Path, regions: str | Path | None = None, samples: Samples | None = None) -> Path:
        """Save a table with a row per image of each slice, as ``Run.save_table`` does.

        Examples:
            >>> views.save_table("scores.csv")  # doctest: +SKIP
        """
        from .table import save_table

        return save_table(list(self.runs.values()), path, regions, samples)

    def __str__(self) -> str:
        head = f"'{self.key}': {pluralize(self.scored, 'image')} of {pluralize(len(self.runs), 'slice')}"
        notes = [f"  warning: {note}" for note in self.notes]
        return "\n".join([head, *notes, *(str(run) for run in self.runs.values())])


def view_keys(key: str, slices: Sequence[str]) -> dict[str, str]:
    """Name the run of each slice: the key, and the slice with what a key cannot hold replaced.

    Raises:
        ValueError: if two slices would have one name

    Examples:
        >>> view_keys("segad", ["left", "top-2"])
        {'left': 'segad_left', 'top-2': 'segad_top_2'}
    """
    keys = {name: f"{key}_{re.sub('[^A-Za-z0-9_]', '_', name)}" for name in slices}
    if len(set(keys.values())) < len(keys):
        raise ValueError(
            f"The slices {list(keys)} differ only in characters that a key cannot hold; rename one of them"
        )
    return keys


def read_views(dataset: fo.Dataset, key: str) -> ViewsRecord | None:
    """Read what a dataset holds of the runs of its slices; None if the key does not stand for any.

    Raises:
        RunError: if it is damaged
    """
    if key not in list_views(dataset):
        return None
    saved: Any = dataset.get_run_info(key).config.views
    try:
        lists = {name: list(saved[name]) for name in ("pending", "notes")}
        return make_dataclass(ViewsRecord, {**saved, "keys": dict(saved["keys"]), **lists})
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"What dataset '{dataset.name}' holds of the runs of slices '{key}' is damaged: {error}. Remove them with "
            f"segad.delete_run(dataset, '{key}')"
        ) from error


@retry_on_reconnect
def save_views(dataset: fo.Dataset, record: ViewsRecord) -> None:
    """Register the runs of slices, or update those that are registered under their key."""
    config = dataset.init_run(plugin=PLUGIN, views=asdict(record))
    if record.key in list_views(dataset):
        dataset.update_run_config(record.key, config)
    else:
        dataset.register_run(record.key, config)


def load_views(dataset: fo.Dataset, key: str) -> ViewRuns:
    """Load the runs of the slices of a grouped dataset.

    Raises:
        ValueError: if the key does not stand for any, or some are not done
        RunError: if what is stored of them is damaged, or the folder of one is gone
    """
    record = read_views(dataset, key)
    if record is None:
        raise ValueError(f"Dataset '{dataset.name}' has no runs of slices '{key}'; there are {list_views(dataset)}")
    runs = list_runs(dataset)
    absent = [name for name, run_key in record.keys.items() if name in record.pending or run_key not in runs]
    if absent:
        raise ValueError(
            f"The runs of slices '{key}' are not complete: {absent} are absent. Call compute_segment_anomalies() again "
            "with the same arguments, which goes on where it stopped; or import them again"
        )
    runs_of = {name: load_run(dataset, run_key) for name, run_key in record.keys.items()}
    return ViewRuns(key, runs_of, record.notes)
