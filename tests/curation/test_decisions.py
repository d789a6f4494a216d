"""Decisions: reviews come before ground truth, this before predictions; what nobody can decide on is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

import fiftyone_segad as segad
from exports import make_source, manifest, write, write_mask


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[fo.Dataset]:
    made = segad.load_mvtec(make_source(tmp_path / "source"))
    yield made
    if fo.dataset_exists(made.name):
        for key in segad.list_runs(made):
            segad.delete_run(made, key)
        made.delete()


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
    verdicts = {
        name: (entry["decision"], entry["decided_by"], entry["label"], entry["split"], entry["mask_from"])
        for name, entry in by_source.items()
    }
    assert verdicts == {
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
    defective = again.match(F("defect.label") == "defect").first()
    np.testing.assert_array_equal(np.asarray(Image.open(defective.defect_mask.mask_path)) > 0, expected)
    again.delete()


def test_what_cannot_be_exported_is_told(dataset: fo.Dataset, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"x")
    (tmp_path / "drawing.svg").write_bytes(b"x")
    write(tmp_path / "other.png", 0)
    write_mask(tmp_path / "odd.png", 0, (7, 30))
    normal = fo.Classification(label="good")
    dataset.add_samples(
        [
            fo.Sample(filepath=str(tmp_path / "broken.png"), defect=normal),
            fo.Sample(filepath=str(tmp_path / "drawing.svg"), defect=normal),
            fo.Sample(filepath=str(tmp_path / "absent.png"), defect=normal),
            fo.Sample(
                filepath=str(tmp_path / "other.png"), defect_mask=fo.Segmentation(mask_path=str(tmp_path / "odd.png"))
            ),
        ]
    )
    done = segad.export_curated(dataset, tmp_path / "out")
    reasons = {Path(entry["filepath"]).name: entry["reason"] for entry in done.skipped}
    assert set(reasons) == {"broken.png", "drawing.svg", "absent.png", "other.png"}
    assert "suffix" in reasons["drawing.svg"] and "aspect ratio" in reasons["other.png"]
    assert "No such image" in reasons["absent.png"]
    assert done.images == len(dataset) - 4
    with pytest.raises(ValueError, match=r"None of the samples can be exported.*broken\.png"):
        segad.export_curated(dataset[-4:], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_review_that_says_something_else(dataset: fo.Dataset, tmp_path: Path) -> None:
    dataset.set_values("review", ["maybe"] + ["good"] * (len(dataset) - 1))
    done = segad.export_curated(dataset, tmp_path / "out", decision_field="review")
    assert done.counts.keys() == {"train/good", "validation/good", "test/good"}
    assert "Its review is 'maybe'" in done.skipped[0]["reason"]


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
    by_sample = [entries[sample.id] for sample in samples]
    assert [(entry["decision"], entry["decided_by"]) for entry in by_sample] == [
        ("anomalous", "review"),
        ("anomalous", "prediction"),
        ("normal", "review"),
        ("normal", "review"),
        ("anomalous", "review"),
        ("anomalous", "prediction"),
    ]
    for entry, blocks in ((by_sample[0], BLOCKS[:1]), (by_sample[1], BLOCKS[1:]), (by_sample[5], BLOCKS)):
        expected = np.zeros((80, 96), bool)
        for block in blocks:
            expected[block] = True
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / entry["mask"])) > 0, expected)
    assert done.without_mask == [samples[4].id], "all that was predicted is said to be normal, and yet it is defective"
    (mark,) = by_sample[0]["marks"]
    assert (mark["label"], mark["kind"], mark["by"], mark["why"]) == ("anomalous", "region", "ada", "a dent")
    assert mark["box"] == pytest.approx([10 / 96, 10 / 80, 20 / 96, 10 / 80])
    assert mark["at"].endswith("+00:00")
    assert [mark["why"] for mark in by_sample[3]["marks"]] == ["", "looked again"]
    assert by_sample[5]["marks"] == []


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
