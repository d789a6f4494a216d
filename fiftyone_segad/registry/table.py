"""``Run.save_table``: what a run says of each image, and of each region, as tables for a spreadsheet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from ..utils.files import atomic_write
from ..utils.tables import ENCODING, TableWriter
from .folders import dataset_of
from .keys import part_field, review_field
from .parts import PartsRecord, decisions_of_run
from .samples import all_slices, check_collection

if TYPE_CHECKING:
    from .run import Run

_BOX = ("x0", "y0", "x1", "y1")

IMAGE_COLUMNS = (
    *("path", "view", "split", "tags", "part", "score", "p_value", "decision", "zone", "area", "regions"),
    *(*_BOX, "family", "marks", "reason"),
)

_MILLIMETRES = ("area_mm2", "length_mm", "width_mm")

REGION_COLUMNS = ("path", "view", "part", "region", "zone", "score", "area", *_MILLIMETRES, *_BOX, "family")

PART_COLUMNS = ("part_decision", "part_p_value", "decides")
"""Columns of images where something was decided on parts; the last one says whether it was this image that decided."""

_AUTO = "auto"


def save_table(runs: Sequence[Run], path: str | Path, regions: str | Path | None, samples: Samples | None) -> Path:
    """See ``Run.save_table``; of several runs, those of slices, the rows follow each other."""
    files = [_checked("path", path)] + ([] if regions is None else [_checked("regions", regions)])
    if files[0] in files[1:]:
        raise ValueError(f"path and regions are the same file, '{files[0]}'; name another one for the regions")
    tables = [
        _Table(run, of_run, decisions_of_run(of_run, run.key)) for run in runs for of_run in [_samples_of(run, samples)]
    ]
    parts = PART_COLUMNS if any(table.decided for table in tables) else ()
    with ExitStack() as stack:
        writers = []
        for file, columns in zip(files, ((*IMAGE_COLUMNS, *parts), REGION_COLUMNS), strict=False):
            partial = stack.enter_context(atomic_write(file))
            target = stack.enter_context(partial.open("w", encoding=ENCODING, newline=""))
            writers.append(TableWriter(target, columns))
        for image, image_regions in chain.from_iterable(table.rows() for table in tables):
            writers[0].write(image)
            for row in image_regions if regions is not None else ():
                writers[1].write(row)
    return files[0]


def _checked(parameter: str, path: str | Path) -> Path:
    file = Path(path).expanduser().absolute()
    if file.is_dir():
        raise ValueError(f"{parameter}='{file}' is a folder; name a file in it, e.g. '{file / 'scores.csv'}'")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"The folder '{file.parent}' of {parameter}='{file}' does not exist; make it first")
    return file


def _samples_of(run: Run, samples: Samples | None) -> Samples:
    """Return the samples of a table.

    Raises:
        ValueError: if the run's dataset is not found, or has no scores of the run any more
    """
    if samples is None:
        samples = dataset_of(run.key, run.folder)
        if samples is None:
            raise ValueError(f"No dataset has run '{run.key}' any more; load it with load_run(), or pass samples=...")
    samples = all_slices(samples) if isinstance(samples, Samples) else samples
    dataset = check_collection(samples, "samples")
    if not dataset.has_sample_field(run.field("score")):
        raise ValueError(f"The field '{run.field('score')}' is gone; compute run '{run.key}' again")
    return samples


@dataclass(frozen=True)
class _Table:
    """The rows of a run's samples.

    Attributes:
        run: the run
        samples: the samples
        decided: what decisions on their parts rest on; None if there are none
    """

    run: Run
    samples: Samples
    decided: PartsRecord | None

    def rows(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Yield the row of each image that was scored or skipped, with those of its regions."""
        dataset = self.samples._root_dataset
        reasons = {entry["id"]: entry["reason"] for entry in self.run.skipped}
        part_of = self._parts()
        score = self.run.field("score")
        names = [score, self.run.field("pred"), self.run.field("regions"), review_field(self.run.key), "split"]
        names += filter(None, (dataset.group_field, self.run.settings.get("groups")))
        names += [] if self.decided is None else filter(None, (part_field(self.decided.key), self.decided.views))
        fields = [name for name in names if dataset.has_sample_field(name)]
        for sample in self.samples.select_fields(fields).iter_samples():
            if sample[score] is not None or sample.id in reasons:
                common = {"path": sample.filepath, "view": self._view(sample), "part": part_of(sample)}
                image = {**common, **self._image(sample, fields), "reason": reasons.get(sample.id)}
                image |= self._part_decision(sample)
                yield image, [{**common, **row} for row in self._regions(sample, fields)]

    def _parts(self) -> Callable[[fo.Sample], Any]:
        """Return what tells the part that a sample shows: the field that names it, its group, or what was found."""
        dataset, field = self.samples._root_dataset, self.run.settings.get("groups")
        if self.decided is not None:
            decided = part_field(self.decided.key)
            return lambda sample: sample[decided]["part"] if sample[decided] is not None else None
        if field not in (None, _AUTO) and dataset.has_sample_field(field):
            return lambda sample: sample[field]
        if dataset.group_field:
            return lambda sample: sample[dataset.group_field].id
        groups = self.run.groups if self.run.store.exists() else []
        numbers = {path: number for number, group in enumerate(groups, 1) for path in group}
        return lambda sample: numbers.get(sample.filepath)

    def _part_decision(self, sample: fo.Sample) -> dict[str, Any]:
        label = None if self.decided is None else sample[part_field(self.decided.key)]
        if label is None:
            return {}
        values = (label.label, label["p_value"], label["decided_by"] == sample.id)
        return dict(zip(PART_COLUMNS, values, strict=True))

    def _view(self, sample: fo.Sample) -> str | None:
        if self.decided is not None and self.decided.views is not None:
            return str(sample[self.decided.views])
        field = self.samples._root_dataset.group_field
        return sample[field].name if field else None

    def _image(self, sample: fo.Sample, fields: Sequence[str]) -> dict[str, Any]:
        prediction = _read(sample, self.run.field("pred"), fields)
        regions = self._regions(sample, fields)
        marks = _read(sample, review_field(self.run.key), fields)
        highest = regions[0] if regions else {}
        return {
            "split": _read(sample, "split", fields),
            "tags": " ".join(tag for tag in sample.tags if tag != self.run.skipped_tag),
            "score": sample[self.run.field("score")],
            "p_value": None if prediction is None else prediction["p_value"],
            "decision": None if prediction is None else prediction.label,
            "zone": _attribute(prediction, "zone"),
            "area": sum(row["area"] for row in regions),
            "regions": len(regions),
            **{name: highest.get(name) for name in (*_BOX, "family")},
            "marks": "; ".join(map(_mark_text, sorted(marks.detections, key=lambda mark: mark["at"]))) if marks else "",
        }

    def _regions(self, sample: fo.Sample, fields: Sequence[str]) -> list[dict[str, Any]]:
        """Return the rows of a sample's regions, highest peak first."""
        detections = _read(sample, self.run.field("regions"), fields)
        return [
            {
                "region": number,
                "score": region["anomaly_score"],
                "area": region["area"],
                **dict(zip(_BOX, _pixels(region), strict=True)),
                **{name: _attribute(region, name) for name in ("zone", *_MILLIMETRES, "family")},
            }
            for number, region in enumerate(detections.detections if detections else (), 1)
        ]


def _read(sample: fo.Sample, name: str, fields: Sequence[str]) -> Any:
    return sample[name] if name in fields else None


def _attribute(label: fo.Label | None, name: str) -> Any:
    return label[name] if label is not None and label.has_field(name) else None


def _pixels(region: fo.Detection) -> tuple[int, int, int, int]:
    """Return ``x0, y0, x1, y1`` in pixels; the region's mask, of the box's size, tells that of a pixel."""
    x, y, width, height = region.bounding_box
    rows, columns = region.mask.shape
    x0, y0 = round(x / width * columns), round(y / height * rows)
    return x0, y0, x0 + columns, y0 + rows


def _mark_text(mark: fo.Detection) -> str:
    """Write who said what, and when, of an image or a place in it.

    Examples:
        >>> from datetime import datetime
        >>> at = datetime(2026, 11, 26, 17, 5)
        >>> _mark_text(fo.Detection(label="normal", kind="region", by="ada", at=at, why="dust", defect=None))
        'normal (region) by ada at 2026-11-26T17:05Z: dust'
    """
    defect = mark["defect"] if mark.has_field("defect") and mark["defect"] else ""
    why = f": {mark['why']}" if mark["why"] else ""
    kind = f"{mark['kind']}, {defect}" if defect else mark["kind"]
    return f"{mark.label} ({kind}) by {mark['by']} at {mark['at']:%Y-%m-%dT%H:%MZ}{why}"
