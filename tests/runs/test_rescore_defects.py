"""Marked defects raise what looks like them: equal to a full run, whatever the order, and taken back to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from test_rescore import state

import fiftyone_segad as segad
from conftest import ColourEmbedder

NORMALS = 8

OPTIONS: dict[str, dict[str, Any]] = {
    "patches at three scales": {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 96}},
    "a grid": {"embedder": "efficientnet", "segments": "grid:6"},
    "with rotations": {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 96}, "rotations": 2},
}


@pytest.fixture
def dataset(dataset_of: Any, tmp_path: Path) -> Iterator[fo.Dataset]:
    """Make eight normal pictures of smooth noise, four with a red square each at another place, and two good ones."""
    paths = []
    for number in range(NORMALS + 6):
        random = np.random.default_rng(number)
        coarse = Image.fromarray(random.integers(90, 150, (10, 12, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((96, 80), Image.Resampling.BICUBIC)).copy()
        if NORMALS <= number < NORMALS + 4:
            x, y = random.integers(5, 60, 2)
            pixels[y : y + 14, x : x + 14] = (170, 100, 100)
        path = tmp_path / f"{number:02d}.png"
        Image.fromarray(pixels).save(path)
        paths.append(path)
    made = dataset_of(paths, defect=[fo.Classification(label="dent" if 8 <= i < 12 else "good") for i in range(14)])
    yield made
    for key in segad.list_runs(made):
        segad.delete_run(made, key)


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    normals = dataset.limit(NORMALS)
    return segad.compute_segment_anomalies(
        dataset, reference=normals, overwrite=True, threshold="fpr:0.2", groups=None, **options
    )


def defective(dataset: fo.Dataset) -> list[str]:
    ids: list[str] = dataset.skip(NORMALS).limit(4).values("id")
    return ids


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_equal_to_a_full_run_and_taken_back_to_the_bit(dataset: fo.Dataset, options: dict[str, Any]) -> None:
    compute(dataset, **options)
    without, ids = state(dataset), defective(dataset)
    segad.mark_anomalous(dataset.select(ids[:2]), "segad", "dent")
    segad.mark_normal(dataset.limit(14).skip(13), "segad")
    report = segad.rescore(dataset)
    learnt = state(dataset)
    assert report.marked == 3
    assert learnt["scores"] != without["scores"]
    compute(dataset, **options)
    assert state(dataset) == learnt, "a new run of the key learns the same marks"
    segad.unmark(dataset, "segad")
    segad.rescore(dataset)
    assert state(dataset) == without


@pytest.mark.usefixtures("colour_embedder")
def test_the_order_of_marks_changes_nothing_and_undo_takes_the_last_back(dataset: fo.Dataset) -> None:
    compute(dataset)
    states = []
    for order in ((0, 1, 2), (2, 0, 1)):
        for number in order:
            segad.mark_anomalous(dataset.select(defective(dataset)[number]), "segad")
        segad.rescore(dataset)
        states.append(state(dataset))
        for _ in order:
            assert segad.undo_review(dataset, "segad")
        segad.rescore(dataset)
    assert states[0] == states[1]
    assert segad.list_marks(dataset, "segad") == []


@pytest.mark.usefixtures("colour_embedder")
def test_what_looks_like_marked_defects_rises_on_the_scale_of_normals(dataset: fo.Dataset) -> None:
    compute(dataset)
    first, *others = defective(dataset)
    good = dataset.limit(NORMALS).values("id")

    def margin() -> float:
        scores = dict(zip(*dataset.values(["id", "segad_score"]), strict=True))
        return min(scores[id] for id in others) - max(scores[id] for id in good)

    before, usual = margin(), np.median(dataset.limit(NORMALS).values("segad_score"))
    segad.mark_anomalous(dataset.select(first), "segad")
    segad.rescore(dataset)
    assert margin() > before
    assert np.median(dataset.limit(NORMALS).values("segad_score")) == pytest.approx(usual, rel=0.25)


@pytest.mark.usefixtures("colour_embedder")
def test_the_report_names_defects_that_are_found_now(dataset: fo.Dataset) -> None:
    compute(dataset)
    scores = dict(zip(*dataset.values(["id", "segad_score"]), strict=True))
    first, *others = sorted(defective(dataset), key=lambda id: -scores[id])
    segad.set_threshold(dataset, "segad", scores[others[-1]])  # which is not above it
    segad.mark_anomalous(dataset.select([first, *others[:-1]]), "segad")
    report = segad.rescore(dataset)
    assert report.found == [segad.LostDefect(others[-1])], "nothing says where it is"
    assert report.lost == []
    assert f"1 defect that was missed is found now, in {others[-1]}" in str(report)


@pytest.mark.usefixtures("colour_embedder")
def test_a_bank_file_holds_what_was_learnt(dataset: fo.Dataset, dataset_of: Any, tmp_path: Path) -> None:
    compute(dataset)
    ids = defective(dataset)
    segad.mark_anomalous(dataset.select(ids[:2]), "segad")
    segad.rescore(dataset)
    file = segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")
    odd = dataset[ids[3]]
    later = dataset_of([Path(odd.filepath)])
    segad.score_new(later, "line", bank=file)
    assert later.first().line_score == odd.segad_score
    with segad.load_bank(file) as inspector:
        assert inspector(odd.filepath).score == odd.segad_score
    segad.export_run(dataset, "segad", tmp_path / "run.zip")
    segad.import_run(dataset, tmp_path / "run.zip", key="copy")
    assert dataset.values("copy_score") == dataset.values("segad_score")
    segad.unmark(dataset, "copy")
    segad.rescore(dataset, "copy")
    segad.unmark(dataset, "segad")
    segad.rescore(dataset, "segad")
    assert dataset.values("copy_score") == dataset.values("segad_score")
    segad.delete_run(later, "line")


@pytest.mark.usefixtures("colour_embedder")
def test_a_normal_image_with_a_marked_defect_is_left_out_as_in_a_full_run(dataset: fo.Dataset) -> None:
    run = compute(dataset)
    marked, normals = dataset.first(), run.store.normals.ids()
    assert marked.filepath in normals
    segad.mark_anomalous(dataset.select(marked.id), "segad")
    report = segad.rescore(dataset)
    store = report.run.store
    assert store.normals.ids() == normals - {marked.filepath}
    assert store.left_out() == [marked.filepath]
    near = segad.explain_sample(dataset, "segad", dataset.last().id, max_neighbours=NORMALS)[0].neighbours
    assert len(near) == NORMALS - 1 and marked.filepath not in {neighbour.filepath for neighbour in near}
    learnt = state(dataset)
    compute(dataset)
    assert state(dataset) == learnt
    again = dataset.exists("segad_score").limit(1)
    segad.unmark(again, "segad")
    segad.rescore(dataset)
    back = state(dataset)
    compute(dataset)
    assert state(dataset) == back


@pytest.mark.usefixtures("colour_embedder")
def test_what_is_left_out_needs_no_model_for_other_images(
    dataset: fo.Dataset, colour_embedder: type[ColourEmbedder], tmp_path: Path
) -> None:
    compute(dataset)
    segad.mark_anomalous(dataset.limit(1), "segad")
    calls = colour_embedder.calls
    segad.rescore(dataset)
    assert colour_embedder.calls == calls + 2, "the marked image, to learn it and to score it"
    file = segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")
    odd = dataset[defective(dataset)[0]]
    with segad.load_bank(file) as inspector:
        assert inspector(odd.filepath).score == odd.segad_score


@pytest.mark.usefixtures("colour_embedder")
def test_marks_wait_for_enough_normal_images(dataset: fo.Dataset) -> None:
    segad.compute_segment_anomalies(dataset, reference=dataset.limit(2), threshold="quantile:0.5")
    before = state(dataset)
    segad.mark_anomalous(dataset.select(defective(dataset)[0]), "segad")
    report = segad.rescore(dataset)
    assert any("learnt from normal images of 3 parts on" in text for text in report.run.warnings)
    assert state(dataset) == before


@pytest.mark.usefixtures("colour_embedder")
def test_a_marked_image_that_is_gone_is_not_passed_over(dataset: fo.Dataset) -> None:
    run = compute(dataset)
    before, odd = state(dataset), dataset[defective(dataset)[0]]
    segad.mark_anomalous(dataset.select(odd.id), "segad")
    run.store.features.discard({odd.id})
    file = Path(odd.filepath)
    file.rename(file.with_suffix(".away"))
    with pytest.raises(segad.SegadError, match=r"1 of the images with marks cannot be used.*08\.png.*unmark"):
        segad.rescore(dataset)
    assert state(dataset) == before


@pytest.mark.usefixtures("colour_embedder")
def test_an_explanation_shows_the_marked_defect_that_a_segment_is_like(dataset: fo.Dataset) -> None:
    compute(dataset)
    ids = defective(dataset)
    (segment,) = segad.explain_sample(dataset, "segad", ids[3], max_segments=1)
    assert (segment.marked, segment.taught) == (None, 0)
    assert str(segment).startswith(f"Score {segment.score:.2f} for its distance from all")
    for number, kind in enumerate(["chip", "dent"]):
        segad.mark_anomalous(dataset.select(ids[number]), "segad", kind)
    segad.rescore(dataset)
    (segment,) = segad.explain_sample(dataset, "segad", ids[3], max_segments=1)
    assert segment.marked is not None and segment.taught > 0
    kinds = dict(zip(dataset.select(ids[:2], ordered=True).values("filepath"), ["chip", "dent"], strict=True))
    assert segment.kind == kinds[segment.marked.filepath]
    name = Path(segment.marked.filepath).name
    assert f"{segment.taught:.2f} since it is like the marked defect '{segment.kind}' in {name}" in str(segment)
    for of_normal in segad.explain_sample(dataset, "segad", dataset.first().id):
        assert of_normal.marked is None
    (own,) = segad.explain_sample(dataset, "segad", ids[0], max_segments=1)
    assert own.marked is not None and own.marked.filepath != dataset[ids[0]].filepath
