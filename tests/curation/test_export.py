"""Curated exports: they load back as they were, and nothing is lost or written over."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone import ViewField as F
from fiftyone.operators.executor import ExecutionContext, ExecutionError
from PIL import Image

import fiftyone_segad as segad
from conftest import needs_fastdup, shared
from fiftyone_segad.utils.file_names import UniqueNames, safe_name

OPERATOR = "@segad/anomaly/export_curated"


def write(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0]), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_mask(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.random.default_rng(seed).random((size[1], size[0])) < 0.1
    Image.fromarray((mask * 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two categories in MVTec layout, with files of one name in several folders."""
    root = tmp_path / "source"
    for number, category in enumerate(("bolt", "nut & washer")):
        for index in range(3):
            write(root / category / f"train/good/{index:03d}.png", 100 * number + index)
        write(root / category / "validation/good/000.png", 100 * number + 10)
        write(root / category / "test/good/000.jpg", 100 * number + 20)
        for defect in ("dent", "hole (big)"):
            for index in range(2):
                seed = 100 * number + 30 + index + 10 * (defect == "dent")
                write(root / category / f"test/{defect}/{index:03d}.png", seed, (50 + index, 33))
                mask = root / category / f"ground_truth/{defect}/{index:03d}_mask.png"
                write_mask(mask, seed, (50 + index, 33))
    return root


@pytest.fixture
def dataset(source: Path) -> Iterator[fo.Dataset]:
    made = segad.load_mvtec(source)
    yield made
    if fo.dataset_exists(made.name):
        for key in segad.list_runs(made):
            segad.delete_run(made, key)
        made.delete()


def content(dataset: fo.Dataset) -> list[tuple[Any, ...]]:
    """What is known of each image, by the image's own bytes; masks pixel by pixel."""
    found = []
    for sample in dataset:
        mask = None
        if sample.defect_mask is not None:
            pixels = np.asarray(Image.open(sample.defect_mask.mask_path)) > 0
            mask = (pixels.shape, pixels.tobytes())
        pixels = np.asarray(Image.open(sample.filepath)).tobytes()
        found.append((pixels, sample.split, sample.category.label, sample.defect.label, mask))
    return sorted(found, key=repr)


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


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
    found = {}
    for sample in again:
        mask = sample.defect_mask and np.asarray(Image.open(sample.defect_mask.mask_path)).tobytes()
        found[np.asarray(Image.open(sample.filepath)).tobytes()] = (mask, sample.defect.label)
    labels = [found[np.asarray(Image.open(path)).tobytes()][1] for path in paths]
    assert len(set(labels[:3])) == len(set(labels[3:])) == 1 and labels[0] != labels[3], "two labels, two folders"
    for path, mask in zip(paths[:3] + paths[4:5], masks[:3] + masks[4:5], strict=True):
        assert found[np.asarray(Image.open(path)).tobytes()][0] == np.asarray(Image.open(mask)).tobytes()
    for path in paths[5:]:
        assert found[np.asarray(Image.open(path)).tobytes()][0] is None, "no mask of another one"
    again.delete()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("scratch", "scratch"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "_"),
        ("", "_"),
        ("a/b\\c:d", "a_b_c_d"),
        ("Kratzer größer", "Kratzer größer"),
        ("x" * 500, "x" * 120),
        (" dot. ", "dot"),
        ("line\nbreak\0", "line_break_"),
    ],
)
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_names_are_unlike_each_other_in_any_case() -> None:
    names = UniqueNames(["good"])
    assert [names.take(name) for name in ("a", "A", "a", "a_2", "Good")] == ["a", "A_2", "a_3", "a_2_2", "Good_2"]


def test_reviews_come_first_then_truth_then_predictions(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path
) -> None:
    dataset = dataset_of(pictures)
    segad.compute_segment_anomalies(
        dataset, reference=dataset.limit(4), segments="grid:4", embedder="efficientnet", threshold=1e-6
    )
    assert dataset.count_values("segad_pred.label") == {"anomalous": 6}
    mask = np.zeros((80, 96), np.uint8)
    mask[5:9, 5:9] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    dataset.set_values("segad_review", ["normal", None, "anomalous", None, None, None])
    dataset.set_values(
        "defect", [None, fo.Classification(label="good"), None, fo.Classification(label="dent"), None, None]
    )
    truth = fo.Segmentation(mask_path=str(tmp_path / "mask.png"))
    dataset.set_values("defect_mask", [truth.copy(), None, None, truth.copy(), None, None])
    dataset.set_values("split", ["train", "test", "train", None, "train", None])
    dataset.tag_samples("seen")
    done = segad.export_curated(dataset, tmp_path / "out", key="segad", decision_field="segad_review")
    by_source = {entry["source"]: entry for entry in manifest(tmp_path / "out")["images"]}
    found = {
        name: (entry["decision"], entry["decided_by"], entry["label"], entry["split"], entry["mask_from"])
        for name, entry in by_source.items()
    }
    assert found == {
        "0.png": ("normal", "review", "good", "train", None),
        "1.png": ("normal", "ground truth", "good", "test", None),
        "2.png": ("anomalous", "review", "defect", "test", "segad_mask"),
        "3.png": ("anomalous", "ground truth", "dent", "test", "defect_mask"),
        "4.png": ("anomalous", "prediction", "defect", "test", "segad_mask"),
        "5.png": ("anomalous", "prediction", "defect", "test", "segad_mask"),
    }
    assert by_source["5.png"]["score"] == dataset.last().segad_score
    assert by_source["2.png"]["split_before"] == "train" and by_source["2.png"]["tags"] == ["seen"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / by_source["3.png"]["mask"])), mask)
    predicted = np.asarray(Image.open(dataset.last().segad_mask.mask_path))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / by_source["5.png"]["mask"])), predicted)
    assert "test/defect: 3" in str(done)
    # Without a run and reviews the others are not known
    bare = segad.export_curated(dataset, tmp_path / "bare")
    assert bare.images == 3 and len(bare.skipped) == 3
    assert all("Nothing says whether it is normal" in entry["reason"] for entry in bare.skipped)
    assert bare.counts == {"test/defect": 1, "test/good": 1, "test/dent": 1}
    assert manifest(tmp_path / "bare")["skipped"] == bare.skipped
    segad.delete_run(dataset, "segad")


@pytest.mark.parametrize("kind", ["detections", "instances", "polylines"])
def test_what_came_back_from_annotation(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path, kind: str
) -> None:
    box = [0.25, 0.25, 0.5, 0.5]  # of 96 x 80 px: 24 to 72, 20 to 60
    corrected: Any = fo.Detections(detections=[fo.Detection(label="dent", bounding_box=box)])
    expected = np.zeros((80, 96), bool)
    expected[20:60, 24:72] = True
    if kind == "instances":
        part = np.zeros((40, 48), bool)
        part[:7, :9] = True
        corrected.detections[0].mask = part
        expected[:] = False
        expected[20:27, 24:33] = True
    if kind == "polylines":
        points = [[(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)]]
        corrected = fo.Polylines(polylines=[fo.Polyline(label="dent", points=points, filled=True, closed=True)])
    empty = type(corrected)()
    dataset = dataset_of(pictures[:2], corrected=[corrected, empty])
    done = segad.export_curated(dataset, tmp_path / "out", gt_field="corrected", normals="test")
    assert done.counts == {"test/defect": 1, "test/good": 1}
    again = segad.load_mvtec(tmp_path / "out")
    found = again.match(F("defect.label") == "defect").first()
    np.testing.assert_array_equal(np.asarray(Image.open(found.defect_mask.mask_path)) > 0, expected)
    again.delete()


def test_what_cannot_be_exported_is_told(dataset: fo.Dataset, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"x")
    (tmp_path / "film.gif").write_bytes(b"x")
    write(tmp_path / "other.png", 0)
    write_mask(tmp_path / "odd.png", 0, (7, 30))
    normal = fo.Classification(label="good")
    dataset.add_samples(
        [
            fo.Sample(filepath=str(tmp_path / "broken.png"), defect=normal),
            fo.Sample(filepath=str(tmp_path / "film.gif"), defect=normal),
            fo.Sample(filepath=str(tmp_path / "absent.png"), defect=normal),
            fo.Sample(
                filepath=str(tmp_path / "other.png"), defect_mask=fo.Segmentation(mask_path=str(tmp_path / "odd.png"))
            ),
        ]
    )
    done = segad.export_curated(dataset, tmp_path / "out")
    reasons = {Path(entry["filepath"]).name: entry["reason"] for entry in done.skipped}
    assert set(reasons) == {"broken.png", "film.gif", "absent.png", "other.png"}
    assert "suffix" in reasons["film.gif"] and "aspect ratio" in reasons["other.png"]
    assert "No such image" in reasons["absent.png"]
    assert done.images == len(dataset) - 4
    with pytest.raises(ValueError, match=r"None of the samples can be exported.*broken\.png"):
        segad.export_curated(dataset[-4:], tmp_path / "none")
    assert not (tmp_path / "none").exists()


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
        names = {each["id"]: each["name"] for each in labels["categories"]}
        assert len(labels["images"]) == 9
        defective = {each["image_id"] for each in labels["annotations"]}
        assert len(defective) == 4
        assert {names[each["category_id"]] for each in labels["annotations"]} == {"dent", "hole (big)"}
        return
    again = fo.Dataset.from_dir(dataset_dir=str(tmp_path / "out"), dataset_type=getattr(fo.types, kind))
    assert len(again) == 9
    if kind == "ImageClassificationDirectoryTree":
        assert again.count_values("ground_truth.label") == {"good": 5, "dent": 2, "hole (big)": 2}
        assert all(Path(path).is_symlink() and Path(path).exists() for path in again.values("filepath"))
    else:
        found = {np.asarray(Image.open(each.filepath)).tobytes(): each.ground_truth.get_mask() for each in again}
        for sample in bolts:
            pixels = np.asarray(Image.open(sample.filepath)).tobytes()
            expected = np.asarray(Image.open(sample.defect_mask.mask_path)) > 0
            np.testing.assert_array_equal(found[pixels] > 0, expected)
    again.delete()


def test_a_whole_dataset_of_fiftyone(dataset: fo.Dataset, tmp_path: Path) -> None:
    dataset.limit(3).tag_samples("seen")
    segad.export_curated(dataset, tmp_path / "out", dataset_type=fo.types.FiftyOneDataset)
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


def test_a_review_that_says_something_else(dataset: fo.Dataset, tmp_path: Path) -> None:
    dataset.set_values("review", ["maybe"] + ["good"] * (len(dataset) - 1))
    done = segad.export_curated(dataset, tmp_path / "out", decision_field="review")
    assert done.counts.keys() == {"train/good", "validation/good", "test/good"}
    assert "Its review is 'maybe'" in done.skipped[0]["reason"]


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
    def form(**params: Any) -> dict[str, Any]:
        request = {"dataset_name": dataset.name, "params": params, "view": []}
        context = ExecutionContext(request, operator_uri=OPERATOR)
        return foo.get_operator(OPERATOR).resolve_input(context).to_json()["type"]["properties"]

    def run(**params: Any) -> Any:
        return foo.execute_operator(OPERATOR, {"dataset": dataset, "params": params})

    assert form()["gt_field"]["default"] == "defect_mask"
    done = run(folder=str(tmp_path / "out")).result
    assert (done["images"], done["skipped"]) == (len(dataset), 0)
    assert (tmp_path / "out" / "bolt" / "train" / "good").is_dir()
    assert "pass overwrite=True" in form(folder=str(tmp_path / "out"))["folder"]["error_message"]
    assert not form(folder=str(tmp_path / "out"), overwrite=True)["folder"]["invalid"]
    for params, reason in (
        ({"folder": "relative"}, "full path"),
        ({}, "folder"),
        ({"folder": str(tmp_path / "x"), "format": "Magic"}, "format"),
        ({"folder": str(tmp_path / "source")}, "not empty"),
    ):
        with pytest.raises((ExecutionError, ValueError), match=reason):
            run(**params).raise_exceptions()
    assert run(folder=str(tmp_path / "coco"), format="COCODetectionDataset").result["images"] == len(dataset)


BLOCKS = ((slice(10, 20), slice(10, 30)), (slice(50, 60), slice(40, 60)))
"""Rows and columns of what the run of the fixture below predicted in images of 96 x 80 px."""


@pytest.fixture
def reviewed(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path) -> Iterator[fo.Dataset]:
    """Six images without truth; a run calls all but the first anomalous and predicted both blocks in each."""
    made = dataset_of(pictures)
    run = segad.compute_segment_anomalies(made, reference=made.limit(4), segments="grid:2")
    predicted, nothing = np.zeros((80, 96), np.uint8), np.zeros((80, 96), np.uint8)
    for block in BLOCKS:
        predicted[block] = 255
    Image.fromarray(predicted).save(tmp_path / "blocks.png")
    Image.fromarray(nothing).save(tmp_path / "nothing.png")
    labels, masks = ["normal"] + ["anomalous"] * 5, ["nothing.png"] + ["blocks.png"] * 5
    made.set_values(run.field("pred"), [fo.Classification(label=label) for label in labels])
    made.set_values(run.field("mask"), [fo.Segmentation(mask_path=str(tmp_path / name)) for name in masks])
    boxes = [fo.Detection(label="x", bounding_box=[c.start / 96, r.start / 80, (c.stop - c.start) / 96, 10 / 80])
             for r, c in BLOCKS]  # fmt: skip
    made.set_values("boxes", [fo.Detections(detections=[box.copy() for box in boxes]) for _ in pictures])
    yield made
    segad.delete_run(made, "segad")


@pytest.mark.usefixtures("colour_embedder")
def test_marks_are_reviews(reviewed: fo.Dataset, tmp_path: Path) -> None:
    """By image: a part of a normal one is defective; a part of the prediction is not; nothing of it is; the whole
    image is not; it is after all; and nobody looked."""
    samples = list(reviewed)
    first, second = ([s.boxes.detections[i].id for s in samples] for i in (0, 1))
    patches = reviewed.to_patches("boxes")
    segad.mark_anomalous(patches.select([first[0]]), "segad", why="a dent", by="ada")
    segad.mark_normal(patches.select([first[1]]), "segad")
    segad.mark_normal(patches.select([first[2], second[2]]), "segad", why="glue")
    segad.mark_anomalous(patches.select([first[3]]), "segad")
    segad.mark_normal(reviewed.select(samples[3].id), "segad", why="looked again")
    segad.mark_normal(patches.select([first[4], second[4]]), "segad")
    segad.mark_anomalous(reviewed.select(samples[4].id), "segad")
    done = segad.export_curated(reviewed, tmp_path / "out", key="segad")
    entries = {entry["id"]: entry for entry in manifest(tmp_path / "out")["images"]}
    found = [entries[sample.id] for sample in samples]
    assert [(entry["decision"], entry["decided_by"]) for entry in found] == [
        ("anomalous", "review"),
        ("anomalous", "prediction"),
        ("normal", "review"),
        ("normal", "review"),
        ("anomalous", "review"),
        ("anomalous", "prediction"),
    ]
    for entry, blocks in ((found[0], BLOCKS[:1]), (found[1], BLOCKS[1:]), (found[5], BLOCKS)):
        expected = np.zeros((80, 96), bool)
        for block in blocks:
            expected[block] = True
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / entry["mask"])) > 0, expected)
    assert done.without_mask == [samples[4].id], "all that was predicted is said to be normal, and yet it is defective"
    (mark,) = found[0]["marks"]
    assert (mark["label"], mark["kind"], mark["by"], mark["why"]) == ("anomalous", "region", "ada", "a dent")
    assert mark["box"] == pytest.approx([10 / 96, 10 / 80, 20 / 96, 10 / 80])
    assert mark["at"].endswith("+00:00")
    assert [each["why"] for each in found[3]["marks"]] == ["", "looked again"]
    assert found[5]["marks"] == []


@pytest.mark.usefixtures("colour_embedder")
def test_marks_that_are_not_used_are_told(
    reviewed: fo.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reviewed.set_values("defect", [fo.Classification(label="good")] * 6)
    segad.mark_anomalous(reviewed.limit(1), "segad")
    with caplog.at_level("WARNING"):
        done = segad.export_curated(reviewed, tmp_path / "out")
    assert done.counts == {"train/good": 6}
    assert "pass key='segad'" in caplog.text
    assert segad.export_curated(reviewed, tmp_path / "more", key="segad").counts == {"train/good": 5, "test/defect": 1}
