"""What an audit asks of a report: settings, versions, checksums, who marked what, and what may be missed at most."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..errors import RunError
from ..metrics.bounds import CONFIDENCE
from ..registry.keys import list_runs
from ..registry.run import Run
from ..registry.samples import all_slices
from ..review.mark_field import read_marks
from ..storage.bank_file import BANK_SETTING
from ..storage.bank_images import FileState, file_state
from ..utils.threads import prefetch_map
from .mistakes import present_dataset
from .pictures import short_name

if TYPE_CHECKING:
    from ..evaluation.results import AnomalyResults

Rows = list[tuple[str, ...]]

_PACKAGES = ("fiftyone", "numpy", "scipy", "opencv-python-headless", "pillow", "onnxruntime", "faiss-cpu", "torch")
"""Packages on which figures may depend; those that are not installed are left out."""

_WRONG = {"missed": "defective images are missed", "false alarms": "good images raise an alarm"}

_TIME = "%Y-%m-%d %H:%M UTC"


def audit_record(results: AnomalyResults, by: str | None) -> dict[str, Any]:
    """Gather what an audit asks of an evaluation; what is gone since is left out."""
    images = _image_states(results)
    lines = sorted(f"{image.sha256}  {image.name}" for image in images)
    return {
        "settings": [*_settings(results.run), *_versions()],
        "bounds": bound_rows(results, by),
        "marks": _marks(results),
        "checksums": [
            *_bank_checksums(results.run),
            *([("images, all of them", hashlib.sha256("\n".join(lines).encode()).hexdigest())] if lines else []),
        ],
        "images": sorted((image.name, image.sha256 or "cannot be read") for image in images),
    }


def run_date(results: AnomalyResults) -> str:
    """Return when the run was made; empty if it, or its dataset, is gone."""
    dataset = present_dataset(results)
    if dataset is None or results.key not in list_runs(dataset):
        return ""
    return f"{dataset.get_run_info(results.key).timestamp:{_TIME}}"


def bound_rows(results: AnomalyResults, by: str | None) -> Rows:
    """Return a row for each bound: of what, the sentence, how many images, and how many of them are judged wrongly."""
    dataset = present_dataset(results)
    named = [] if by is None else [by]
    if dataset is not None and dataset.group_field and by != "view":
        named.append("view")
    if dataset is not None and dataset.get_field(f"{results.key}_pred.zone") is not None and by != "zone":
        named.append("zone")
    rows = [(row["group"], row) for row in results.bounds()]
    rows += [(f"{field}: {row['group'] or 'none'}", row) for field in named for row in results.bounds(field)]
    return [
        (
            name,
            f"at most {100 * row['at_most']:.1f} % of such {_WRONG[row['outcome']]}, {100 * CONFIDENCE:.0f} %",
            str(row["images"]),
            f"{row['wrong']} {row['outcome']}",
            f"{100 * row['share']:.1f} %",
        )
        for name, row in rows
    ]


def _settings(run: Run | None) -> Rows:
    if run is None:
        return []
    values = {
        **{name: value for name, value in run.settings.items() if name != BANK_SETTING},
        "rotations": run.settings.get("rotations") or run.rotations,
        "align": run.aligned,
        "threshold rule": run.thresholds.rule,
        "image threshold": run.thresholds.image,
        "pixel threshold": run.thresholds.pixel,
        "good images that are expected to be flagged": str(run.false_alarm_share or "") or None,
        "side of a pixel in mm": run.pixel_size,
        "smallest regions in pixels": run.thresholds.min_area or None,
        "zones": asdict(run.zones) if run.zones is not None else None,
        **{f"zone '{zone.name}'": str(zone).partition(": ")[2] for zone in run.zone_summaries},
    }
    return [
        (name, value if isinstance(value, str) else json.dumps(value))
        for name, value in values.items()
        if value is not None
    ]


def _versions() -> Rows:
    rows: Rows = [("fiftyone_segad", __version__), ("Python", platform.python_version())]
    for package in _PACKAGES:
        try:
            rows.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    return rows


def _bank_checksums(run: Run | None) -> Rows:
    """Return the checksum of the bank file, if there is one, and that of the features that images are compared with."""
    if run is None:
        return []
    rows: Rows = [("bank file", run.settings[BANK_SETTING])] if BANK_SETTING in run.settings else []
    digest, store = hashlib.sha256(), run.store
    try:
        if not store.bank.paths():
            return rows
        for image in (*store.bank, *store.marked):
            for features in image.features:
                digest.update(features.tobytes())
        for name, array in sorted(store.levels().items()):
            digest.update(name.encode() + array.tobytes())
    except RunError:  # damaged
        return rows
    return [*rows, ("features of the normal images", digest.hexdigest())]


def _image_states(results: AnomalyResults) -> Sequence[FileState]:
    """Read name and checksum of the images that were evaluated."""
    dataset = present_dataset(results)
    if dataset is None:
        return []
    paths = all_slices(dataset).select(list(results.images)).values("filepath")
    return [state for _, state in prefetch_map(lambda path: file_state(path, short_name(path)), paths)]


def _marks(results: AnomalyResults) -> Rows:
    """Return when, who, what, where and why of the marks of the images that were evaluated, oldest first."""
    dataset = present_dataset(results)
    if dataset is None:
        return []
    samples = all_slices(dataset).select(list(results.images))
    paths = dict(zip(*samples.values(["id", "filepath"]), strict=True))
    return [
        (
            f"{mark.at:{_TIME}}",
            mark.by,
            f"{mark.label} ({mark.defect})" if mark.defect else mark.label,
            mark.kind,
            short_name(paths[mark.sample_id]),
            mark.why,
        )
        for mark in read_marks(samples, results.key, None)
    ]
