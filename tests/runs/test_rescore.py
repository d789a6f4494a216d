"""Rescoring: equal to a full run with the same marks, and as expensive as the change."""

from __future__ import annotations

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
from conftest import ColourEmbedder
from fiftyone_segad.engine import bank
from fiftyone_segad.scoring import neighbors
from fiftyone_segad.scoring.neighbors import NeighborIndex


@pytest.fixture
def dataset(dataset_of: Any, pictures: list[Path]) -> Iterator[fo.Dataset]:
    made = dataset_of(pictures, defect=[fo.Classification(label=d) for d in [*["good"] * 5, "dent"]])
    yield made
    for key in segad.list_runs(made):
        segad.delete_run(made, key)


OPTIONS: dict[str, dict[str, Any]] = {
    "patches at three scales": {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}},
    "a grid": {"embedder": "efficientnet", "segments": "grid:4"},
    "with rotations": {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 96}, "rotations": 2},
}


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    return segad.compute_segment_anomalies(dataset, reference=dataset.limit(4), overwrite=True, **options)


def state(dataset: fo.Dataset) -> dict[str, Any]:
    """All that a run shows, without the names of its files and the ids of its labels."""
    run = segad.load_run(dataset, "segad")
    samples = dataset.exists("segad_score").sort_by("filepath")
    records = {record.id: record for record in run.store.scores}
    regions = [
        [(d.bounding_box, d.anomaly_score, d.area, d.mask.tolist()) for d in s.segad_regions.detections]
        for s in samples
    ]
    return {
        "thresholds": run.thresholds,
        "range": run.map_range,
        "scores": samples.values("segad_score"),
        "predictions": samples.values("segad_pred.label"),
        "p": samples.values("segad_pred.p_value"),
        "segments": [records[id].scores.tolist() for id in samples.values("id")],
        "maps": [np.asarray(Image.open(path)).tolist() for path in samples.values("segad_map.map_path")],
        "masks": [np.asarray(Image.open(path)).tolist() for path in samples.values("segad_mask.mask_path")],
        "regions": regions,
    }


def mark_the_dent(dataset: fo.Dataset) -> None:
    odd = dataset.sort_by("filepath").last()
    worst = dataset.select(odd.id).to_patches("segad_regions")
    segad.mark_normal(worst if len(worst) else dataset.select(odd.id), "segad")


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_equal_to_a_full_run(dataset: fo.Dataset, options: dict[str, Any]) -> None:
    compute(dataset, **options)
    without = state(dataset)
    mark_the_dent(dataset)
    report = segad.rescore(dataset)
    learnt = state(dataset)
    assert learnt["scores"] != without["scores"]
    assert report.marked >= 1
    compute(dataset, **options)
    assert state(dataset) == learnt, "a new run of the key learns the same marks"
    segad.unmark(dataset, "segad")
    segad.rescore(dataset)
    assert state(dataset) == without, "marks that were taken back are forgotten"


@pytest.mark.parametrize("bank_size", [None, 100])
def test_equal_with_many_marks(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch, bank_size: int | None) -> None:
    """Whole images that are marked are searched as a large bank is, and are not more than a bank may be."""
    built: list[NeighborIndex] = []

    class Noted(NeighborIndex):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            built.append(self)

    monkeypatch.setattr(bank, "NeighborIndex", Noted)
    monkeypatch.setattr(neighbors, "EXACT_ROWS", 64)
    options = {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}, "bank_size": bank_size}
    compute(dataset, **options)
    segad.mark_normal(dataset.skip(4), "segad")
    built.clear()
    segad.rescore(dataset)
    fine, middle, coarse = (2 * side**2 for side in (16, 8, 4))  # segments of two images at strides 8, 16 and 32
    limit = bank_size or fine
    assert [index.size for index in built] == [min(fine, limit), min(middle, limit), min(coarse, limit)]
    learnt = state(dataset)
    built.clear()
    compute(dataset, **options)
    assert len(built) == 6, "banks of the normal images, too"
    assert state(dataset) == learnt


def test_equal_without_kept_features(dataset: fo.Dataset) -> None:
    run = compute(dataset, embedder="efficientnet", embedder_kwargs={"input_size": 128})
    mark_the_dent(dataset)
    assert run.store.features.paths(), "they are kept by default"
    segad.rescore(dataset)
    expected = state(dataset)
    segad.unmark(dataset, "segad")
    segad.rescore(dataset)
    shutil.rmtree(Path(segad.load_run(dataset, "segad").folder) / "features")
    mark_the_dent(dataset)
    segad.rescore(dataset)
    assert state(dataset) == expected


def test_only_marked_images_go_through_the_model(dataset: fo.Dataset, colour_embedder: type[ColourEmbedder]) -> None:
    compute(dataset)
    segad.mark_normal(dataset.to_patches("segad_segments").limit(1), "segad")
    calls = colour_embedder.calls
    segad.rescore(dataset)
    assert colour_embedder.calls == calls + 1
    segad.rescore(dataset)
    assert colour_embedder.calls == calls + 1, "there was nothing new to learn"


@pytest.mark.usefixtures("colour_embedder")
def test_the_report_names_alarms_and_defects_that_are_gone(dataset: fo.Dataset) -> None:
    compute(dataset, threshold="quantile:0.8")
    odd = dataset.sort_by("filepath").last()
    assert odd.segad_pred.label == "anomalous"
    segad.mark_normal(dataset.select(odd.id), "segad", why="to see it go")
    report = segad.rescore(dataset)
    odd.reload()
    assert odd.segad_pred.label == "normal"
    assert odd.segad_score == 0, "each of its segments has itself in the bank"
    assert odd.id in report.cleared
    assert report.lost == [segad.LostDefect(odd.id)], "it is a dent, and nothing says where"
    assert odd.id in str(report) and "undo_review" in str(report)


@pytest.mark.usefixtures("colour_embedder")
@pytest.mark.parametrize("defective", [True, False])
def test_masks_alone_tell_of_lost_defects(dataset: fo.Dataset, defective: bool) -> None:
    dataset.delete_sample_field("defect")
    masks = [np.zeros((80, 96), np.uint8) for _ in range(6)]
    masks[5][30:46, 40:56] = 255 * defective
    dataset.set_values("defect_mask", [fo.Segmentation(mask=mask) for mask in masks])
    compute(dataset, threshold="quantile:0.8")
    odd = dataset.sort_by("filepath").last()
    segad.mark_normal(dataset.select(odd.id), "segad")
    report = segad.rescore(dataset)
    assert odd.id in report.cleared
    place = (40 / 96, 30 / 80, 16 / 96, 16 / 80)
    assert report.lost == [segad.LostDefect(odd.id, place)] * defective


@pytest.mark.usefixtures("colour_embedder")
@pytest.mark.parametrize("taught", ["red", "blue", "neither"])
def test_a_defect_is_lost_in_an_image_that_stays_flagged(dataset: fo.Dataset, taught: str) -> None:
    """A red and a blue square, far apart; a third defect that cannot be seen was never found, and is not lost."""
    squares = {"red": (8, 8), "blue": (72, 56)}  # left, top
    odd = dataset.sort_by("filepath").last()
    pixels = np.asarray(Image.open(odd.filepath)).copy()
    pixels[30:46, 40:56] = 120
    mask = np.zeros((80, 96), np.uint8)
    for (x, y), colour in zip(squares.values(), [(250, 20, 20), (20, 20, 250)], strict=True):
        pixels[y : y + 16, x : x + 16] = colour
        mask[y : y + 16, x : x + 16] = 255
    mask[70:76, 4:10] = 255
    Image.fromarray(pixels).save(odd.filepath)
    odd["defect_mask"] = fo.Segmentation(mask=mask)
    odd.save()
    compute(dataset, threshold="quantile:0.8")
    regions = dataset.select(odd.id).to_patches("segad_regions")
    assert len(regions) == 2
    lower = regions.match(F("segad_regions.bounding_box")[1] > 0.4).first()
    marked = {"red": regions.exclude(lower.id), "blue": regions.select(lower.id), "neither": dataset.limit(1)}[taught]
    segad.mark_normal(marked, "segad")
    report = segad.rescore(dataset)
    assert dataset.select(odd.id).values("segad_pred.label") == ["anomalous"]
    assert report.cleared == []
    if taught == "neither":
        assert report.lost == []
        return
    x, y = squares[taught]
    assert report.lost == [segad.LostDefect(odd.id, (x / 96, y / 80, 16 / 96, 16 / 80))]
    assert f"1 defect that was found is lost, in {odd.id}." in str(report)


@pytest.mark.usefixtures("colour_embedder")
def test_marks_explain_what_is_near(dataset: fo.Dataset) -> None:
    compute(dataset)
    odd, other = dataset.sort_by("filepath").last(), dataset.sort_by("filepath").skip(4).first()
    segad.mark_normal(dataset.select(odd.id), "segad")
    segad.rescore(dataset)
    near = segad.explain_sample(dataset, "segad", other.id, max_neighbours=9)
    assert odd.filepath in {neighbour.filepath for segment in near for neighbour in segment.neighbours}


@pytest.mark.usefixtures("colour_embedder")
def test_a_marked_image_that_is_gone_is_not_passed_over(dataset: fo.Dataset) -> None:
    compute(dataset)
    before = state(dataset)
    odd = dataset.sort_by("filepath").last()
    segad.mark_normal(dataset.select(odd.id), "segad")
    file = Path(odd.filepath)
    file.rename(file.with_suffix(".away"))
    with pytest.raises(segad.SegadError, match=r"1 of the images with marks cannot be used.*5\.png.*unmark"):
        segad.rescore(dataset)
    assert segad.load_run(dataset, "segad").skipped == []
    file.with_suffix(".away").rename(file)
    assert state(dataset) == before
    assert segad.rescore(dataset).marked == 1
    assert dataset[odd.id].segad_score == 0


@pytest.mark.usefixtures("colour_embedder")
def test_what_cannot_learn_is_refused(dataset: fo.Dataset) -> None:
    segad.compute_segment_anomalies(dataset, method="unlabeled")
    segad.mark_normal(dataset.limit(1), "segad")
    with pytest.raises(ValueError, match="no bank that could learn: its method is 'unlabeled'"):
        segad.rescore(dataset)


@pytest.mark.usefixtures("colour_embedder")
def test_an_interrupted_rescore_leaves_the_run_and_goes_on(dataset: fo.Dataset) -> None:
    compute(dataset)
    before = state(dataset)
    segad.mark_normal(dataset.limit(1), "segad")

    def stop(bar: Any) -> None:
        if bar.iteration > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segad.rescore(dataset, progress=stop)
    assert state(dataset) == before
    segad.rescore(dataset)
    learnt = state(dataset)
    compute(dataset)
    assert state(dataset) == learnt
