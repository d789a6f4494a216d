"""The registry of runs: what a dataset knows of them, and how one takes the place of another."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from bson import ObjectId
from fiftyone.core.collections import SampleCollection as Samples
from fiftyone.core.odm.database import get_db_conn

from ..errors import RunBusyError, RunError
from ..scoring.thresholds import Thresholds, threshold_text
from ..storage.store import RunStore, delete_files
from ..utils.text import pluralize
from .folders import check_links, runs_folder
from .locks import run_lock
from .retry import retry_on_reconnect
from .run_record import check_record

PLUGIN = "fiftyone_segad"
"""Marks the runs of this package among a dataset's runs."""

FIELD_NAMES = ("score", "pred", "map", "mask", "segments", "regions")

EVALUATION_FIELDS = ("truth", "regions", "errors", "iou", "f1", "aupimo")

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_PENDING = "pending"


@dataclass
class Run:
    """A finished run.

    Attributes:
        key: its key; the fields are ``<key>_score`` and so on
        method: how segments were compared
        embedder: the embedder that was used (``auto`` resolved)
        settings: all that defines the scores, as JSON values
        thresholds: the thresholds in force
        map_range: scores that the heatmaps show as 0 and 255
        folder: the run's folder
        masks: subfolder of the predicted masks
        scored: number of images scored
        normals: number of normal images used
        skipped: ``{"id", "filepath", "reason"}`` of images that could not be used
        warnings: what the user should know
        seconds: time spent, by stage
        owns_color_scheme: whether the dataset had no colour scheme before this package gave it one
        pending: names of the fields that are written but not yet in force
        obsolete: folders that go once they are in force
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
    pending: list[str] = field(default_factory=list)
    obsolete: list[str] = field(default_factory=list)

    @property
    def store(self) -> RunStore:
        return RunStore(self.folder)

    def field(self, name: str) -> str:
        """The sample field that holds ``score``, ``pred``, ``map``, ``mask``, ``segments`` or ``regions``."""
        return field_name(self.key, name)

    @property
    def skipped_tag(self) -> str:
        """Tag of the samples that could not be scored."""
        return skipped_tag_of(self.key)

    def __str__(self) -> str:
        lines = [
            f"Run '{self.key}': {pluralize(self.scored, 'image')} scored by {self.method} with {self.embedder}"
            + (f", {pluralize(self.normals, 'normal')}" if self.normals else ""),
            f"  anomalous above {threshold_text(self.thresholds.image, self.thresholds.rule)}",
        ]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        if self.skipped:
            lines.append(
                f"  {pluralize(len(self.skipped), 'image')} skipped, tagged '{self.skipped_tag}' where in the dataset:"
            )
            lines += [f"    {entry['filepath']}: {entry['reason']}" for entry in self.skipped[:5]]
            if len(self.skipped) > 5:
                lines.append("    ... (all in run.skipped)")
        return "\n".join(lines)


def field_name(key: str, name: str, pending: bool = False) -> str:
    """The sample field of a run; ``pending`` names the field that is being written and not yet in force."""
    return f"{key}_{_PENDING}_{name}" if pending else f"{key}_{name}"


def skipped_tag_of(key: str) -> str:
    """Tag of the samples that a run could not score."""
    return f"{key}_skipped"


def plot_key(key: str) -> str:
    """The key of the plot of a run's segments among the dataset's brain runs."""
    return f"{key}_plot"


def review_field(key: str) -> str:
    """The sample field of what people decided about a run."""
    return f"{key}_review"


def review_log(dataset: fo.Dataset) -> foo.ExecutionStore:
    """Where actions of reviews are kept, by key of the run, so that they can be undone; it goes with the dataset."""
    return foo.ExecutionStore.create("fiftyone_segad_review", ObjectId(dataset._doc.id))


def delete_plot(dataset: fo.Dataset, key: str) -> None:
    """Remove the plot of a run's segments; one that is absent is passed over."""
    if dataset.has_brain_run(plot_key(key)):
        dataset.delete_brain_run(plot_key(key))


def check_name(parameter: str, name: Any) -> None:
    """Check that fields can begin with a name.

    Raises:
        ValueError: if it is not an identifier; the message names the parameter
    """
    if not isinstance(name, str) or not _KEY.match(name):
        raise ValueError(f"{parameter}={name!r} must be letters, digits and underscores, beginning with a letter")


def check_key(dataset: fo.Dataset, key: str, overwrite: bool) -> None:
    """Check that a run may be stored under a key.

    Raises:
        ValueError: if the key is not an identifier, belongs to a run and ``overwrite`` is False, or one of
            its fields exists and belongs to something else
    """
    check_name("key", key)
    if key in list_runs(dataset):
        if not overwrite:
            raise ValueError(
                f"Run '{key}' exists on dataset '{dataset.name}'; pass overwrite=True to replace it, another key=..., "
                f"or remove it with delete_run(dataset, '{key}')"
            )
        return
    if dataset.has_run(key) or dataset.has_brain_run(key) or dataset.has_evaluation(key):
        raise ValueError(f"'{key}' is the key of another kind of run on dataset '{dataset.name}'; use another key=...")
    taken = [name for name in map(lambda n: field_name(key, n), FIELD_NAMES) if dataset.has_sample_field(name)]
    if taken:
        raise ValueError(f"Fields {taken} exist and belong to no run; use another key=... so that they stay")


def check_eval_key(dataset: fo.Dataset, eval_key: str, overwrite: bool) -> None:
    """Check that an evaluation may be stored under a key, which also names its field.

    Raises:
        ValueError: if the key is not an identifier, is taken and ``overwrite`` is False, or belongs to something
            else
    """
    check_name("eval_key", eval_key)
    if eval_key in list_evaluations(dataset):
        if not overwrite:
            raise ValueError(f"Evaluation '{eval_key}' exists; pass overwrite=True to replace it")
        return
    names = [eval_key, *(evaluation_field(eval_key, name) for name in EVALUATION_FIELDS)]
    taken = [name for name in names if dataset.has_sample_field(name)]
    if dataset.has_run(eval_key) or dataset.has_evaluation(eval_key) or taken:
        raise ValueError(f"'{eval_key}' is the name of another run or field of the dataset; use another eval_key=...")


def list_runs(dataset: Samples) -> list[str]:
    """Return the keys of this package's runs on a dataset."""
    root = dataset._root_dataset
    return [key for key in root.list_runs() if _is_anomaly_run(root.get_run_info(key).config)]


def list_evaluations(dataset: Samples) -> list[str]:
    """Return the keys of this package's evaluations on a dataset."""
    root = dataset._root_dataset
    return [key for key in root.list_runs() if _is_evaluation(root.get_run_info(key).config)]


def written_fields(dataset: Samples) -> dict[str, str]:
    """Names of the fields that runs and evaluations of this package write, each with what wrote it."""
    found = {field_name(key, name): f"run '{key}'" for key in list_runs(dataset) for name in FIELD_NAMES}
    found |= {review_field(key): f"the review of run '{key}'" for key in list_runs(dataset)}
    for key in list_evaluations(dataset):
        found |= {evaluation_field(key, name): f"evaluation '{key}'" for name in EVALUATION_FIELDS}
    return found


def load_run(dataset: Samples, key: str) -> Run:
    """Load a run; first finishes what a process that ended early left half in force.

    Raises:
        ValueError: if there is no such run
        RunError: if its folder is gone or leads elsewhere, or what is stored of it is damaged
    """
    root = dataset._root_dataset
    runs = list_runs(root)
    if key not in runs:
        raise ValueError(
            f"Dataset '{root.name}' has no run '{key}'"
            + (f"; its runs are {runs}" if runs else "; make one with compute_segment_anomalies()")
        )
    saved = _checked_values(root, key)
    if saved.get("pending"):
        with suppress(RunBusyError), run_lock(root, key):  # else whoever holds it is about to do it
            recover(root, key)
        saved = _checked_values(root, key)
    saved["thresholds"] = Thresholds(**saved["thresholds"])
    saved["map_range"] = tuple(saved["map_range"])
    run = Run(**saved)
    if not run.store.exists():
        raise RunError(
            f"The folder of run '{key}' is gone ('{run.folder}'); remove the run with delete_run() and compute it again"
        )
    check_links(Path(run.folder))
    return run


def _checked_values(dataset: fo.Dataset, key: str) -> dict[str, Any]:
    saved = saved_values(dataset, key)
    try:
        check_record(saved, key)
    except ValueError as error:
        raise RunError(
            f"What dataset '{dataset.name}' holds of run '{key}' is damaged: {error}. Remove the run with "
            f"dataset.delete_run('{key}') and compute it again"
        ) from error
    return saved


def save_run(dataset: fo.Dataset, run: Run) -> None:
    """Register a run, or updates the one that is registered under its key."""
    config = dataset.init_run(plugin=PLUGIN, run=asdict(run))
    if run.key in list_runs(dataset):
        dataset.update_run_config(run.key, config)
    else:
        dataset.register_run(run.key, config)


@retry_on_reconnect
def exists(dataset: fo.Dataset) -> bool:
    """Whether a dataset is still in the database: another process may have deleted it."""
    return get_db_conn()["datasets"].find_one({"_id": dataset._doc.id}, {"_id": True}) is not None


def check_exists(dataset: fo.Dataset) -> None:
    """Raise RunError if a dataset is not in the database any more."""
    if not exists(dataset):
        raise RunError(f"Dataset '{dataset.name}' was deleted")


@retry_on_reconnect
def commit_run(dataset: fo.Dataset, run: Run, names: Sequence[str], obsolete: Sequence[str] = ()) -> None:
    """Put pending fields of a run in force, in place of those of the run that it replaces.

    One write to the database decides: before it all is as it was; after it what is missing is done by whoever loads the
    run next, should this process end.

    Args:
        dataset: the dataset
        run: the run
        names: which of the fields
        obsolete: folders in the key's folder that go then
    """
    save_run(dataset, replace(run, pending=list(names), obsolete=list(obsolete)))
    recover(dataset, run.key)


def recover(dataset: fo.Dataset, key: str) -> None:
    """Finishes, or takes back, what a process that ended early left of a run; the caller holds the lock of the key.

    Each step may have been done already, or in part.
    """
    dataset.reload()
    saved = saved_values(dataset, key) if key in list_runs(dataset) else None
    if saved is not None and saved.get("pending"):
        pending = {name: field_name(key, name, pending=True) for name in saved["pending"]}
        left = {path: field_name(key, name) for name, path in pending.items() if dataset.has_sample_field(path)}
        delete_plot(dataset, key)  # of the segments that go
        dataset.delete_sample_fields([name for name in left.values() if dataset.has_sample_field(name)])
        if left:
            dataset.rename_sample_fields(left)
        if "score" in pending:
            _tag_skipped(dataset, key, saved["skipped"])
        for folder in map(Path, saved["obsolete"]):
            # A clone's run may lie in the folder of its source
            if runs_folder(dataset, key).resolve() in folder.resolve().parents:
                delete_files(folder)
        dataset.update_run_config(key, dataset.init_run(plugin=PLUGIN, run={**saved, "pending": [], "obsolete": []}))
    delete_fields(dataset, key, pending_only=True)


def _tag_skipped(dataset: fo.Dataset, key: str, skipped: list[dict[str, str]]) -> None:
    tag = skipped_tag_of(key)
    dataset.match_tags(tag).untag_samples(tag)
    dataset.select([entry["id"] for entry in skipped if ObjectId.is_valid(entry["id"])]).tag_samples(tag)


def delete_fields(dataset: fo.Dataset, key: str, pending_only: bool = False) -> None:
    """Remove the fields of a run with their mask targets; absent ones are passed over."""
    names = [field_name(key, name, pending=True) for name in FIELD_NAMES]
    if not pending_only:
        names += [field_name(key, name) for name in FIELD_NAMES]
    dataset.delete_sample_fields([name for name in names if dataset.has_sample_field(name)])
    if pending_only:
        return
    delete_targets(dataset, field_name(key, "mask"))


def delete_targets(dataset: fo.Dataset, path: str) -> None:
    """Remove the mask targets of a field; absent ones are passed over."""
    targets = dict(dataset.mask_targets)
    if targets.pop(path, None) is not None:
        dataset.mask_targets = targets


def owns_color_scheme(dataset: fo.Dataset) -> bool:
    """Whether the dataset's colour scheme is, or is about to be, this package's alone."""
    runs = list_runs(dataset)
    return dataset.app_config.color_scheme is None or any(
        saved_values(dataset, key)["owns_color_scheme"] for key in runs
    )


def delete_colours(dataset: fo.Dataset, paths: set[str]) -> None:
    """Remove the colours of some fields from the dataset's colour scheme."""
    scheme = dataset.app_config.color_scheme
    if scheme is not None:
        scheme.fields = [entry for entry in scheme.fields or [] if entry.get("path") not in paths]
        dataset.save()


def evaluation_field(eval_key: str, name: str, pending: bool = False) -> str:
    """The sample field of an evaluation; ``pending`` names the one that is being written and not yet in force."""
    return field_name(eval_key, name, pending)


def current_folder(dataset: fo.Dataset, key: str) -> str | None:
    """The folder of the run that is registered under a key, if there is one."""
    return saved_values(dataset, key)["folder"] if key in list_runs(dataset) else None


def saved_values(dataset: fo.Dataset, key: str) -> dict[str, Any]:
    """What is stored of a run, as plain values instead of the database's wrappers."""
    saved: dict[str, Any] = json.loads(json.dumps(dataset.get_run_info(key).config.run))
    return saved


def _is_evaluation(config: Any) -> bool:
    return getattr(config, "plugin", None) == PLUGIN and hasattr(config, "evaluated")


def _is_anomaly_run(config: Any) -> bool:
    return getattr(config, "plugin", None) == PLUGIN and hasattr(config, "run")
