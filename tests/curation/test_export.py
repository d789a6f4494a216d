"""Curated exports: they load back as they were, and nothing is lost or written over."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

import fiftyone_segad as segad
from conftest import needs_fastdup, shared
from exports import content, files, make_source, manifest
from plugin_calls import REFUSED, form, run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_source(tmp_path / "source")


@pytest.fixture
def dataset(source: Path) -> Iterator[fo.Dataset]:
    made = segad.load_mvtec(source)
    yield made
    if fo.dataset_exists(made.name):
        for key in segad.list_runs(made):
            segad.delete_run(made, key)
        made.delete()


def test_it_loads_back_identically(dataset: fo.Dataset, source: Path, tmp_path: Path) -> None:
    before = files(source)
    done = segad.export_curated(dataset, tmp_path / "out")
    assert done.images == len(dataset) and done.skipped == [] and done.without_mask == []
    assert done.counts["test/hole (big)"] == 4 and done.counts["train/good"] == 6
    again = segad.load_mvtec(tmp_path / "out")
    labels = {"nut & washer": "nut _ washer"}  # what a folder's name cannot hold
    expected = [(*row[:2], labels.get(row[2], row[2]), *row[3:]) for row in content(dataset)]
    assert content(again) == sorted(expected, key=repr)
    assert again.info["problems"] == []
    again.delete()
    assert files(source) == before, "the originals stay as they are"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"], "nothing is left over"
    listed = manifest(tmp_path / "out")["images"]
    assert {entry["category"] for entry in listed} == {"bolt", "nut & washer"}, "the manifest has the label itself"
    for entry in listed:
        sample = dataset[entry["id"]]
        assert (tmp_path / "out" / entry["file"]).read_bytes() == Path(sample.filepath).read_bytes()
        assert entry["source"] == Path(sample.filepath).name
        assert entry["decided_by"] == "ground truth"
        assert (entry["mask"] is None) == (entry["decision"] == "normal")


def test_folders_that_exist(dataset: fo.Dataset, source: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"is not empty|is not an export"):
            segad.export_curated(dataset, tmp_path / "full", overwrite=overwrite)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="is a file"):
        segad.export_curated(dataset, tmp_path / "full" / "thesis.txt")
    (tmp_path / "empty").mkdir()
    assert segad.export_curated(dataset, tmp_path / "empty").images == len(dataset)
    with pytest.raises(ValueError, match=r"is not empty.*overwrite=True"):
        segad.export_curated(dataset, tmp_path / "empty")
    first = files(tmp_path / "empty")
    segad.export_curated(dataset.limit(2), tmp_path / "empty", overwrite=True)
    assert len(files(tmp_path / "empty")) == 3 < len(first)
    # The samples' own folder is never replaced, not even through a link
    (source / "manifest.json").write_text((tmp_path / "empty" / "manifest.json").read_text())
    (tmp_path / "link").symlink_to(source)
    before = files(source)
    for folder in (source, tmp_path / "link"):
        with pytest.raises(ValueError, match="holds files of the samples"):
            segad.export_curated(dataset, folder, overwrite=True)
    assert files(source) == before


def test_a_failure_leaves_the_earlier_export(
    dataset: fo.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segad.export_curated(dataset, tmp_path / "out")
    before = files(tmp_path / "out")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(OSError, match="No space left"):
            segad.export_curated(dataset.limit(3), tmp_path / "out", overwrite=True)
    assert files(tmp_path / "out") == before
    replace = os.replace

    def refuse(old: Any, new: Any) -> None:
        if Path(new).name == "out" and not Path(old).name.endswith("-old"):
            raise OSError(1, "not permitted")
        replace(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(OSError, match="not permitted"):
            segad.export_curated(dataset.limit(3), tmp_path / "out", overwrite=True)
    assert files(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_links_instead_of_copies(dataset: fo.Dataset, tmp_path: Path) -> None:
    done = segad.export_curated(dataset, tmp_path / "out", symlink=True)
    for entry in manifest(done.folder)["images"]:
        file = done.folder / entry["file"]
        assert file.is_symlink() and str(file.resolve()) == os.path.realpath(dataset[entry["id"]].filepath)
    again = segad.load_mvtec(tmp_path / "out")
    assert len(again) == len(dataset) and again.info["problems"] == []
    again.delete()
    segad.export_curated(dataset.limit(1), tmp_path / "out", overwrite=True)
    assert all(Path(path).is_file() for path in dataset.values("filepath")), "replacing links spares what they show"


@pytest.mark.parametrize(
    ("kind", "symlink"),
    [
        ("COCODetectionDataset", False),
        ("ImageSegmentationDirectory", False),
        ("ImageClassificationDirectoryTree", True),
    ],
)
def test_other_formats(dataset: fo.Dataset, source: Path, tmp_path: Path, kind: str, symlink: bool) -> None:
    before, datasets = files(source), set(fo.list_datasets())
    bolts = dataset.match(F("category.label") == "bolt")
    done = segad.export_curated(bolts, tmp_path / "out", dataset_type=getattr(fo.types, kind), symlink=symlink)
    assert done.images == 9 and set(fo.list_datasets()) == datasets
    assert manifest(tmp_path / "out")["dataset_type"] == kind
    assert len(manifest(tmp_path / "out")["images"]) == 9
    assert files(source) == before
    if kind == "COCODetectionDataset":  # reading it takes another package; this is its specification
        labels = json.loads((tmp_path / "out" / "labels.json").read_text())
        names = {category["id"]: category["name"] for category in labels["categories"]}
        assert len(labels["images"]) == 9
        defective = {annotation["image_id"] for annotation in labels["annotations"]}
        assert len(defective) == 4
        assert {names[annotation["category_id"]] for annotation in labels["annotations"]} == {"dent", "hole (big)"}
        return
    again = fo.Dataset.from_dir(dataset_dir=str(tmp_path / "out"), dataset_type=getattr(fo.types, kind))
    assert len(again) == 9
    if kind == "ImageClassificationDirectoryTree":
        assert again.count_values("ground_truth.label") == {"good": 5, "dent": 2, "hole (big)": 2}
        assert all(Path(path).is_symlink() and Path(path).exists() for path in again.values("filepath"))
    else:
        masks = {np.asarray(Image.open(sample.filepath)).tobytes(): sample.ground_truth.get_mask() for sample in again}
        for sample in bolts:
            pixels = np.asarray(Image.open(sample.filepath)).tobytes()
            expected = sample.defect_mask.get_mask() > 0
            np.testing.assert_array_equal(masks[pixels] > 0, expected)
    again.delete()


@pytest.mark.parametrize("symlink", [False, True])
def test_a_complete_dataset_of_fiftyone(dataset: fo.Dataset, tmp_path: Path, symlink: bool) -> None:
    dataset.limit(3).tag_samples("seen")
    segad.export_curated(dataset, tmp_path / "out", dataset_type=fo.types.FiftyOneDataset, symlink=symlink)
    again = fo.Dataset.from_dir(dataset_dir=str(tmp_path / "out"), dataset_type=fo.types.FiftyOneDataset)
    expected = [(*row[:2], row[2].replace("&", "_"), *row[3:]) for row in content(dataset)]
    assert content(again) == sorted(expected, key=repr)
    assert len(again.match_tags("seen")) == 3
    assert again.count("defect_regions.detections") > 8
    again.delete()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "absent"}, "no run 'absent'"),
        ({"gt_field": "split"}, "gt_field='split' is not a Segmentation field"),
        ({"decision_field": "absent"}, "decision_field='absent' is not a text"),
        ({"normals": "elsewhere"}, r"normals='elsewhere' must be one of"),
        ({"label_field": "defect"}, r"\['label_field'\] are arguments for a dataset_type"),
    ],
)
def test_wrong_parameters(dataset: fo.Dataset, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segad.export_curated(dataset, tmp_path / "out", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.slow
def test_screws_load_back_identically(tmp_path: Path) -> None:
    dataset = segad.load_mvtec(shared("screw"))
    try:
        view = dataset.match(F("split") == "test").take(20, seed=1)
        segad.export_curated(view, tmp_path / "out", symlink=True)
        again = segad.load_mvtec(tmp_path / "out" / "screw")
        few = dataset.select(view.values("id"))
        assert content(again) == content(few)
        again.delete()
    finally:
        dataset.delete()


@needs_fastdup
def test_the_operator(dataset: fo.Dataset, tmp_path: Path) -> None:
    assert form("export_curated", dataset)["gt_field"]["default"] == "defect_mask"
    done = run("export_curated", dataset, folder=str(tmp_path / "out"))
    assert (done["images"], done["skipped"]) == (len(dataset), 0)
    assert (tmp_path / "out" / "bolt" / "train" / "good").is_dir()
    assert (
        "tick the box to replace an export"
        in form("export_curated", dataset, folder=str(tmp_path / "out"))["folder"]["error_message"]
    )
    assert not form("export_curated", dataset, folder=str(tmp_path / "out"), overwrite=True)["folder"]["invalid"]
    with pytest.raises(REFUSED, match="not empty"):
        run("export_curated", dataset, folder=str(tmp_path / "source"))
    assert run("export_curated", dataset, folder=str(tmp_path / "coco"), format="COCODetectionDataset")[
        "images"
    ] == len(dataset)
