"""The same parts on another machine, and what is decided on them there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fiftyone as fo

from seen_parts import CAMERAS


def elsewhere(dataset: fo.Dataset, folder: Path) -> fo.Dataset:
    """Copy a dataset without its runs to another machine: other paths and ids, in another order."""
    folder.mkdir()
    copy = fo.Dataset()
    samples = []
    groups: dict[str, fo.Group] = {}
    slices = [None] if dataset.group_field is None else CAMERAS
    if dataset.group_field is not None:
        copy.add_group_field("group", default=CAMERAS[0])
    for name in slices:
        for sample in list(dataset if name is None else dataset.select_group_slices(name))[::-1]:
            path = shutil.copyfile(sample.filepath, folder / Path(sample.filepath).name)
            fields: dict[str, Any] = {
                field: sample[field] for field in ("part_id", "camera") if sample.has_field(field)
            }
            if name is not None:
                fields["group"] = groups.setdefault(sample.group.id, fo.Group()).element(name)
            samples.append(fo.Sample(filepath=str(path), tags=sample.tags, **fields))
    copy.add_samples(samples)
    return copy


def by_file(dataset: Any) -> dict[str, Any]:
    """The decision on the part that each image shows, by the image's name; who decided is an image, too."""
    names = dict(zip(*dataset.values(["id", "filepath"]), strict=True))
    decided = {}
    for path, label in zip(*dataset.exists("segad_part").values(["filepath", "segad_part"]), strict=True):
        decider = Path(names[label.decided_by]).name
        decided[Path(path).name] = (label.label, label.p_value, label.view, label.pictures, label.method, decider)
    return decided
