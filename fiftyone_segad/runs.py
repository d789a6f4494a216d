"""The registry of runs: what a dataset knows of them, and how they are removed."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from .errors import RunError
from .store import RunStore
from .thresholds import Thresholds

PLUGIN = "fiftyone_segad"
"""Marks the runs of this package among a dataset's runs."""

FIELD_NAMES = ("score", "pred", "map", "mask", "segments", "regions")

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
        made_colours: whether the dataset had no colour scheme before this package gave it one
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
    made_colours: bool = False

    @property
    def store(self) -> RunStore:
        return RunStore(self.folder)

    def field(self, name: str) -> str:
        """The sample field that holds ``score``, ``pred``, ``map``, ``mask``, ``segments`` or ``regions``."""
        return field_name(self.key, name)

    @property
    def skipped_tag(self) -> str:
        """Tag of the samples that could not be scored."""
        return _skipped_tag(self.key)

    def __str__(self) -> str:
        lines = [
            f"Run '{self.key}': {self.scored} images scored by {self.method} with {self.embedder}"
            + (f", {self.normals} normals" if self.normals else ""),
            f"  anomalous above {self.thresholds.image:.4g} ({self.thresholds.rule})",
        ]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        if self.skipped:
            lines.append(f"  {len(self.skipped)} images skipped, tagged '{self.skipped_tag}' where in the dataset:")
            lines += [f"    {entry['filepath']}: {entry['reason']}" for entry in self.skipped[:5]]
            if len(self.skipped) > 5:
                lines.append("    ... (all in run.skipped)")
        return "\n".join(lines)


def field_name(key: str, name: str, pending: bool = False) -> str:
    """The sample field of a run; ``pending`` names the field that is being written and not yet in force."""
    return f"{key}_{_PENDING}_{name}" if pending else f"{key}_{name}"


def _skipped_tag(key: str) -> str:
    return f"{key}_skipped"


def check_key(dataset: fo.Dataset, key: str, overwrite: bool) -> None:
    """Checks that a run may be stored under a key.

    Raises:
        ValueError: if the key is not an identifier, belongs to a run and ``overwrite`` is False, or one of
            its fields exists and belongs to something else
    """
    if not isinstance(key, str) or not _KEY.match(key):
        raise ValueError(f"key={key!r} must be letters, digits and underscores, beginning with a letter")
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
    """Checks that an evaluation may be stored under a key, which also names its field.

    Raises:
        ValueError: if the key is not an identifier, is taken and ``overwrite`` is False, or belongs to something
            else
    """
    if not isinstance(eval_key, str) or not _KEY.match(eval_key):
        raise ValueError(f"eval_key={eval_key!r} must be letters, digits and underscores, beginning with a letter")
    if dataset.has_run(eval_key) and hasattr(dataset.get_run_info(eval_key).config, "evaluated"):
        if not overwrite:
            raise ValueError(f"Evaluation '{eval_key}' exists; pass overwrite=True to replace it")
    elif dataset.has_run(eval_key) or dataset.has_evaluation(eval_key) or dataset.has_sample_field(eval_key):
        raise ValueError(f"'{eval_key}' is the name of another run or field of the dataset; use another eval_key=...")


def list_runs(dataset: Samples) -> list[str]:
    """Returns the keys of this package's runs on a dataset."""
    root = dataset._root_dataset
    return [key for key in root.list_runs() if _is_anomaly_run(root.get_run_info(key).config)]


def load_run(dataset: Samples, key: str) -> Run:
    """Loads a run.

    Raises:
        ValueError: if there is no such run
        RunError: if its folder is gone
    """
    root = dataset._root_dataset
    runs = list_runs(root)
    if key not in runs:
        raise ValueError(
            f"Dataset '{root.name}' has no run '{key}'"
            + (f"; its runs are {runs}" if runs else "; make one with compute_segment_anomalies()")
        )
    saved = _saved(root, key)
    saved["thresholds"] = Thresholds(**saved["thresholds"])
    saved["map_range"] = tuple(saved["map_range"])
    run = Run(**saved)
    if not run.store.exists():
        raise RunError(
            f"The folder of run '{key}' is gone ('{run.folder}'); remove the run with delete_run() and compute it again"
        )
    return run


def save_run(dataset: fo.Dataset, run: Run) -> None:
    """Registers a run, or updates the one that is registered under its key."""
    config = dataset.init_run(plugin=PLUGIN, run=asdict(run))
    if run.key in list_runs(dataset):
        dataset.update_run_config(run.key, config)
    else:
        dataset.register_run(run.key, config)


def delete_run(dataset: Samples, key: str) -> None:
    """Removes a run: its fields, tags, colours, files, evaluations and registration. Images and ground truth stay.

    Raises:
        ValueError: if there is no such run
    """
    root = dataset._root_dataset
    if key not in list_runs(root):
        raise ValueError(f"Dataset '{root.name}' has no run '{key}'; its runs are {list_runs(root)}")
    saved = _saved(root, key)
    for eval_key in root.list_runs():
        if getattr(root.get_run_info(eval_key).config, "evaluated", None) == key:
            delete_evaluation(root, eval_key)
    delete_fields(root, key)
    _delete_colours(root, key, saved["made_colours"])
    root.match_tags(_skipped_tag(key)).untag_samples(_skipped_tag(key))
    root.delete_run(key)
    delete_folder(root, key, saved["folder"])


def delete_fields(dataset: fo.Dataset, key: str, pending_only: bool = False) -> None:
    """Removes the fields of a run with their mask targets; absent ones are passed over."""
    names = [field_name(key, name, pending=True) for name in FIELD_NAMES]
    if not pending_only:
        names += [field_name(key, name) for name in FIELD_NAMES]
    dataset.delete_sample_fields([name for name in names if dataset.has_sample_field(name)])
    if pending_only:
        return
    targets = dict(dataset.mask_targets)
    if targets.pop(field_name(key, "mask"), None) is not None:
        dataset.mask_targets = targets


def made_colours(dataset: fo.Dataset) -> bool:
    """Whether the dataset's colour scheme is, or is about to be, this package's alone."""
    runs = list_runs(dataset)
    return dataset.app_config.color_scheme is None or any(_saved(dataset, key)["made_colours"] for key in runs)


def _delete_colours(dataset: fo.Dataset, key: str, made: bool) -> None:
    scheme = dataset.app_config.color_scheme
    if scheme is None:
        return
    ours = {field_name(key, name) for name in FIELD_NAMES}
    scheme.fields = [entry for entry in scheme.fields or [] if entry.get("path") not in ours]
    if made and not scheme.fields:
        dataset.app_config.color_scheme = None
    dataset.save()


def delete_evaluation(dataset: fo.Dataset, eval_key: str) -> None:
    """Removes an evaluation: its field and registration."""
    if dataset.has_sample_field(eval_key):
        dataset.delete_sample_field(eval_key)
    dataset.delete_run(eval_key)


def dataset_folder(dataset: fo.Dataset) -> Path:
    """The folder of this package's files for a dataset.

    It is below the variable ``FIFTYONE_SEGAD_DIR`` if that is set, else below ``segad`` in FiftyOne's default
    dataset folder, and named by the dataset's id, which renaming does not change.
    """
    root = os.environ.get("FIFTYONE_SEGAD_DIR") or Path(fo.config.default_dataset_dir) / "segad"
    return Path(root).expanduser().absolute() / str(dataset._doc.id)


def runs_folder(dataset: fo.Dataset, key: str) -> Path:
    """The folder that holds the folders of the runs of a key; there are two while one replaces another."""
    return dataset_folder(dataset) / key


def current_folder(dataset: fo.Dataset, key: str) -> str | None:
    """The folder of the run that is registered under a key, if there is one."""
    return _saved(dataset, key)["folder"] if key in list_runs(dataset) else None


def delete_folder(dataset: fo.Dataset, key: str, folder: str) -> None:
    """Removes a run's folder, if it is one that this dataset made (a clone shares that of its source)."""
    path = Path(folder)
    if path.parts[-3:-1] == (str(dataset._doc.id), key) and (path / "settings.json").is_file():
        RunStore(path).delete()


def _saved(dataset: fo.Dataset, key: str) -> dict[str, Any]:
    """What is stored of a run, as plain values instead of the database's wrappers."""
    saved: dict[str, Any] = json.loads(json.dumps(dataset.get_run_info(key).config.run))
    return saved


def _is_anomaly_run(config: Any) -> bool:
    return getattr(config, "plugin", None) == PLUGIN and hasattr(config, "run")
