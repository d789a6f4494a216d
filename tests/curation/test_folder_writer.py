"""Names in an exported folder: no image and no mask takes the place of another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
from PIL import Image

import fiftyone_segad as segad
from exports import manifest, write, write_mask


def test_files_of_one_name_stay_apart(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"{i}" / name, i) for i, name in enumerate(("a.png", "a.png", "A.png", "a.jpg", "a_2.png"))
    ]
    paths += [write(tmp_path / "5" / "a_mask.png", 5), write(tmp_path / "6" / "..b?.png", 6)]
    masks = [write_mask(tmp_path / f"{i}" / "truth.png", i) for i in range(5)]
    dataset = dataset_of(
        paths,
        defect=[fo.Classification(label="../x" if i < 3 else "__x") for i in range(7)],
        defect_mask=[fo.Segmentation(mask_path=str(mask)) for mask in masks] + [None, None],
    )
    done = segad.export_curated(dataset, tmp_path / "out")
    assert all(
        (tmp_path / "out") in (tmp_path / "out" / e["file"]).resolve().parents for e in manifest(done.folder)["images"]
    )
    assert sorted(done.without_mask) == sorted(dataset[5:].values("id"))
    again = segad.load_mvtec(tmp_path / "out")
    assert len(again) == 7
    truths = {}
    for sample in again:
        mask = sample.defect_mask and sample.defect_mask.get_mask().tobytes()
        truths[np.asarray(Image.open(sample.filepath)).tobytes()] = (mask, sample.defect.label)
    labels = [truths[np.asarray(Image.open(path)).tobytes()][1] for path in paths]
    assert len(set(labels[:3])) == len(set(labels[3:])) == 1 and labels[0] != labels[3], "two labels, two folders"
    for path, mask in zip(paths[:3] + paths[4:5], masks[:3] + masks[4:5], strict=True):
        assert truths[np.asarray(Image.open(path)).tobytes()][0] == np.asarray(Image.open(mask)).tobytes()
    for path in paths[5:]:
        assert truths[np.asarray(Image.open(path)).tobytes()][0] is None, "no mask of another one"
    again.delete()
