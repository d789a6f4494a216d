"""Save, load and commit runs: what a dataset knows of a run, and how one takes the place of another."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import Any

import fiftyone as fo
from bson import ObjectId
from fiftyone.core.collections import SampleCollection as Samples

from ..engine.zones import ZoneSummary, summarise_zones, zoned
from ..errors import RunBusyError, RunError
from ..scoring import IMPORTED
from ..scoring.conformal import FalseAlarmShare
from ..scoring.drift import Drift
from ..scoring.thresholds import Thresholds, threshold_text
from ..storage.store import RunStore
from ..storage.zones import ZoneField
from ..utils.grey_scale import FULL_RANGE, GreyScale
from ..utils.text import pluralize
from ..utils.values import all_finite, make_dataclass
from .clearing import delete_contours, delete_fields, delete_plot, swap_fields
from .evaluations import stale_evaluations
from .folders import MASKS_NAME, check_links, delete_unused
from .keys import KEY, PLUGIN, field_name, list_runs, list_views, saved_values, skipped_tag_of, stands_for_slices
from .locks import run_lock
from .new_folders import must_stay, note_of
from .retry import retry_on_reconnect
from .samples import all_slices
from .sidebar import arranged_run
from .uncommitted import remove_uncommitted

logger = logging.getLogger(__name__)

RECORD_FORMAT = 2
"""Version of what is stored of a run; that of fiftyone_segad 0.1 was 1, which is not read."""

GREY_SCALE = "grey_scale"
"""Setting of a run: the lowest and the highest grey value of its scale; None for the full range."""

_SETTINGS = ("method", "embedder", "segments", "defects", "embedder_kwargs", "bank_size", "seed")


@dataclass
class Run:
    """A finished run.

    Attributes:
        key: its key; the fields are ``<key>_score`` and so on
        method: how segments were compared
        embedder: the embedder that was used (``auto`` resolved)
        settings: all that defines the scores, as JSON values
        thresholds: the thresholds
        map_range: scores that the heatmaps show as 0 and 255
        folder: the run's folder
        masks: subfolder of the predicted masks
        scored: number of images scored
        normals: number of normal images used
        skipped: ``{"id", "filepath", "reason"}`` of images that could not be used
        warnings: what the user should know
        seconds: time spent, by stage
        owns_color_scheme: whether the dataset had no colour scheme before this package gave it one
        gt_field: ground truth that the threshold ``f1`` has seen; empty for other rules and for the default field
        parts: number of parts that the normal images show, if some show the same one; else 0
        false_alarm_share: share of new good images that the threshold flags; None if no normals are known
        drift: how unlike the normal images those are that were scored last; None if nothing tells
        zones: where its zones are drawn; None if it has none
        pixel_size: side of a pixel in mm; None if it is not known
        pending: names of the fields that are written but not yet committed
        obsolete: folders that go once they are committed
    """

    key: str
    method: str
    embedder: str
    settings: dict[str, Any]
    thresholds: Thresholds
    map_range: tuple[float, float]
    folder: str
    masks: str
    scored: int
    normals: int
    skipped: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    owns_color_scheme: bool = False
    gt_field: str = ""
    parts: int = 0
    false_alarm_share: FalseAlarmShare | None = None
    drift: Drift | None = None
    zones: ZoneField | None = None
    pixel_size: float | None = None
    pending: list[str] = field(default_factory=list)
    obsolete: list[str] = field(default_factory=list)

    @property
    def grey_scale(self) -> GreyScale:
        """The scale of grey values by which every image of the run is read."""
        saved = self.settings.get(GREY_SCALE)
        return FULL_RANGE if saved is None else GreyScale(*saved)

    @property
    def store(self) -> RunStore:
        """What the run keeps on disk, its scores adjusted to its zones."""
        return zoned(RunStore(self.folder))

    @property
    def groups(self) -> list[list[str]]:
        """Paths of the normal images of each group that shows the same part, largest group first."""
        return sorted(self.store.groups() or [], key=len, reverse=True)

    @property
    def aligned(self) -> bool:
        """Whether the part on each image was laid straight before it was compared."""
        return self.store.aligned

    @property
    def rotations(self) -> int:
        """Angles at which its bank shows each normal image."""
        return next((image.rotations for image in self.store.bank if image.complete), 1)

    @property
    def zone_summaries(self) -> list[ZoneSummary]:
        """What decides in each zone that has a name: threshold, share of false alarms and smallest area."""
        return summarise_zones(RunStore(self.folder), self.thresholds)

    def field(self, name: str) -> str:
        """Return the sample field that holds ``score``, ``pred``, ``map``, ``mask``, ``segments`` or ``regions``."""
        return field_name(self.key, name)

    @property
    def skipped_tag(self) -> str:
        """Tag of the samples that could not be scored."""
        return skipped_tag_of(self.key)

    def save_table(self, path: str | Path, regions: str | Path | None = None, samples: Samples | None = None) -> Path:
        """Save a table with a row per image, for a spreadsheet: path, part, score, p-value, decision, region, marks.

        Args:
            path: the file, e.g. ``"scores.csv"``; one that exists is replaced
            regions (None): a file for a second table, with a row per predicted region
            samples (None): a view, for a table of a part of the samples; or the dataset, for a run of a clone

        Returns:
            the path

        Raises:
            ValueError: if the dataset of the run is not found, ``path`` is a folder, or the run's fields are gone
            FileNotFoundError: if the folder of a file does not exist

        Examples:
            >>> run.save_table("scores.csv", regions="regions.csv")  # doctest: +SKIP
        """
        from .table import save_table

        return save_table([self], path, regions, samples)

    def __str__(self) -> str:
        how = "predicted by" if self.method == IMPORTED else f"scored by {self.method} with"
        lines = [
            f"Run '{self.key}': {pluralize(self.scored, 'image')} {how} {self.embedder}"
            + (f", {pluralize(self.normals, 'normal')}" if self.normals else "")
            + (f" in {self.parts} parts" if self.parts else "")
            + (", each laid straight" if self.aligned else ""),
            f"  anomalous above {threshold_text(self.thresholds.image, self.thresholds.rule)}"
            + (f": {self.false_alarm_share}" if self.false_alarm_share else ""),
        ]
        lines += [f"  {summary}" for summary in self.zone_summaries]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        if self.skipped:
            lines.append(
                f"  {pluralize(len(self.skipped), 'image')} skipped, tagged '{self.skipped_tag}' where in the dataset:"
            )
            lines += [f"    {entry['filepath']}: {entry['reason']}" for entry in self.skipped[:5]]
            lines += ["    ... (all in run.skipped)"] if len(self.skipped) > 5 else []
        return "\n".join(lines)


def load_run(dataset: Samples, key: str) -> Run:
    """Load a run; first finishes what a process that ended early has committed in part.

    Raises:
        ValueError: if there is no such run
        RunError: if its folder is gone or leads elsewhere, it was renamed, or what is stored of it is damaged or of
            another version

    Examples:
        >>> print(load_run(dataset, "segad"))  # doctest: +SKIP
        Run 'segad': 83 images scored by reference with efficientnet, 60 normals
          anomalous above 2.41 (fpr:0.01)
    """
    run = load_record(dataset, key)
    if not run.store.exists():
        raise RunError(
            f"The folder of run '{key}' is gone ('{run.folder}'). Bring it back from where it is by export_run() and "
            "import_run(), or remove the run with delete_run() and compute it again"
        )
    check_links(Path(run.folder))
    return run


def load_record(dataset: Samples, key: str) -> Run:
    """Load what a dataset itself holds of a run, as ``load_run`` does; the run's folder may be gone.

    What is in fields can be looked at, marked and evaluated without it.
    """
    root = dataset._root_dataset
    runs = list_runs(root)
    if key not in runs:
        if key in list_views(root):
            raise ValueError(stands_for_slices(root, key))
        names = [name for name in runs if saved_values(root, name).get("key") == key]
        if names:
            raise ValueError(f"Run '{key}' was renamed: {_renamed(names[0], key)}")
        raise ValueError(
            f"Dataset '{root.name}' has no run '{key}'"
            + (f"; its runs are {runs}" if runs else "; make one with compute_segment_anomalies()")
        )
    run = _read_run(root, key)
    if run.pending:
        with suppress(RunBusyError), run_lock(root, key):  # else whoever holds it is about to do it
            recover(root, key)
        run = _read_run(root, key)
    return run


def _read_run(dataset: fo.Dataset, key: str) -> Run:
    record_format = getattr(dataset.get_run_info(key).config, "format", 1)
    if record_format != RECORD_FORMAT:
        raise RunError(
            f"Run '{key}' of dataset '{dataset.name}' was made by another version of fiftyone_segad, whose files this "
            "one does not read; compute it again with overwrite=True, or remove it with delete_run()"
        )
    saved = saved_values(dataset, key)
    owner = saved.get("key")
    if isinstance(owner, str) and owner != key and KEY.match(owner):
        raise RunError(f"Run '{owner}' was renamed: {_renamed(key, owner)}")
    try:
        return parse_run(saved, key)
    except ValueError as error:
        raise RunError(
            f"What dataset '{dataset.name}' holds of run '{key}' is damaged: {error}. Remove the run with "
            f"segad.delete_run(dataset, '{key}') and compute it again"
        ) from error


def _renamed(key: str, owner: str) -> str:
    return (
        f"its record is '{key}' now, but its fields still begin with '{owner}'. Give it its name back with "
        f"dataset.rename_run('{key}', '{owner}'), or remove it with segad.delete_run(dataset, '{key}')"
    )


def parse_run(saved: Any, key: str) -> Run:
    """Make a run of stored values, which name folders that are written and removed.

    Args:
        saved: JSON values
        key: the key that they are stored under

    Raises:
        ValueError: if they are not what a run stores; the message names the value
    """
    run = make_dataclass(Run, saved)
    numbers = [run.thresholds.image, run.thresholds.pixel, *run.map_range]
    if not all_finite(numbers):
        raise ValueError(f"its thresholds and its range of heatmaps, {numbers}, are not finite")
    absent = [name for name in _SETTINGS if name not in run.settings]
    if absent:
        raise ValueError(f"its settings lack {absent}")
    try:
        _ = run.grey_scale
    except (TypeError, ValueError) as error:
        raise ValueError(f"its scale of grey values is {run.settings[GREY_SCALE]!r}: {error}") from error
    for entry in run.skipped:
        if not {"id", "filepath", "reason"} <= entry.keys():
            raise ValueError(f"what it skipped is {entry!r}")
    folder = PureWindowsPath(run.folder)  # which may be of another machine, and names parts of other paths as well
    is_absolute = Path(run.folder).is_absolute() or folder.is_absolute()
    if run.key != key or not is_absolute or ".." in folder.parts or folder.parent.name != key:
        raise ValueError(f"its key is {run.key!r} and its folder {run.folder!r}")
    if not MASKS_NAME.match(run.masks):
        raise ValueError(f"its folder of masks is {run.masks!r}")
    return run


def save_run(dataset: fo.Dataset, run: Run) -> None:
    """Register a run, or update the one that is registered under its key."""
    _save_values(dataset, run.key, asdict(run))


def _save_values(dataset: fo.Dataset, key: str, values: dict[str, Any]) -> None:
    config = dataset.init_run(plugin=PLUGIN, format=RECORD_FORMAT, run=values)
    write = dataset.update_run_config if key in list_runs(dataset) else dataset.register_run
    write(key, config)


@retry_on_reconnect
def commit_run(dataset: fo.Dataset, run: Run, names: Sequence[str], obsolete: Sequence[str] = ()) -> None:
    """Commit a run: swap its pending fields in, replacing those of the previous run of this key.

    One write to the database decides: before it all is as it was; after it what is missing is done by whoever loads the
    run next, should this process end.

    Args:
        dataset: the dataset
        run: the run
        names: which of the fields
        obsolete: folders in the key's folder that go then
    """
    save_run(dataset, replace(run, pending=list(names), obsolete=list(obsolete)))
    _finish_commit(dataset, run.key)
    for sentence in stale_evaluations(dataset, run):
        logger.warning(sentence)


def recover(dataset: fo.Dataset, key: str) -> None:
    """Finish, or take back, what a process that ended early left of a run, if anything; the caller holds its lock."""
    _finish_commit(dataset, key)
    remove_uncommitted(note_of(dataset, key), lambda folder: must_stay(dataset, key, folder))


def _finish_commit(dataset: fo.Dataset, key: str) -> None:
    dataset.reload()
    saved = saved_values(dataset, key) if key in list_runs(dataset) else None
    if saved is not None and saved.get("pending"):
        delete_plot(dataset, key)  # of the segments that go
        delete_contours(dataset, key)  # of the maps, or from the threshold, that go
        with arranged_run(dataset, key, saved["method"]):
            swap_fields(dataset, key, saved["pending"])
        if "score" in saved["pending"]:
            _tag_skipped(dataset, key, saved["skipped"])
        for folder in map(Path, saved["obsolete"]):
            delete_unused(dataset, folder)
        _save_values(dataset, key, {**saved, "pending": [], "obsolete": []})
    delete_fields(dataset, key, pending_only=True)


def _tag_skipped(dataset: fo.Dataset, key: str, skipped: list[dict[str, str]]) -> None:
    tag = skipped_tag_of(key)
    samples = all_slices(dataset)
    samples.match_tags(tag).untag_samples(tag)
    samples.select([entry["id"] for entry in skipped if ObjectId.is_valid(entry["id"])]).tag_samples(tag)
