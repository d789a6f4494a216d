"""Images that come after a run: they get what the run would have given them, and nothing else changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from conftest import ColourEmbedder
from fiftyone_segad.registry.keys import FIELD_NAMES
from small_runs import save_stripes


@pytest.fixture
def many(tmp_path: Path) -> list[Path]:
    return save_stripes(tmp_path)


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], many: list[Path]) -> Iterator[fo.Dataset]:
    made = dataset_of(many)
    made.limit(6).tag_samples("good")
    yield made


def compute(samples: Any, key: str, **options: Any) -> segad.Run:
    dataset = samples._root_dataset
    if options.get("method", "reference") == "reference":
        options = {"reference": dataset.match_tags("good"), **options}
    return segad.compute_segment_anomalies(samples, key=key, **options)


def scores(run: segad.Run) -> dict[str, tuple[float, np.ndarray]]:
    return {record.id: (record.image_score, record.scores) for record in run.store.scores}


def fields(dataset: fo.Dataset, key: str) -> dict[str, dict[str, Any]]:
    """The fields of a run by sample, without what differs from one writing to another."""
    by_sample: dict[str, dict[str, Any]] = {}
    for sample in dataset:
        values: dict[str, Any] = {}
        for name in FIELD_NAMES:
            value = sample[f"{key}_{name}"]
            if name in ("map", "mask") and value is not None:
                value = Image.open(getattr(value, f"{name}_path")).convert("L").tobytes()
            elif isinstance(value, fo.Detections):
                value = [
                    (d.label, d.bounding_box, d.anomaly_score, None if d.mask is None else d.mask.tobytes())
                    for d in value.detections
                ]
            elif isinstance(value, fo.Classification):
                value = (value.label, value.confidence, value.p_value)
            values[name] = value
        by_sample[sample.id] = values
    return by_sample


OPTIONS: list[dict[str, Any]] = [
    {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}},
    {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}, "bank_size": 50, "rotations": 2},
    {"embedder": "efficientnet", "segments": "grid:3"},
    {"method": "within_image", "embedder": "efficientnet"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=["levels", "coreset", "grid", "within_image"])
def test_new_images_get_what_the_run_would_have_given_them(dataset: fo.Dataset, options: dict[str, Any]) -> None:
    """Run on A + B, and on A with B later: identical scores of every segment."""
    early, threshold = dataset[:9], 0.5
    whole = compute(dataset, "whole", threshold=threshold, **options)
    part = compute(early, "part", threshold=threshold, **options)
    assert part.scored == 9
    before = fields(dataset, "part")
    later = segad.score_new(dataset, "part")
    assert (later.scored, later.thresholds, later.map_range) == (12, part.thresholds, part.map_range)
    assert segad.load_run(dataset, "part") == later
    expected, scored = scores(whole), scores(later)
    assert set(scored) == set(expected) == set(dataset.values("id"))
    for id, (image_score, values) in expected.items():
        assert scored[id][0] == image_score
        np.testing.assert_array_equal(scored[id][1], values)
    after = fields(dataset, "part")
    early_ids = set(early.values("id"))
    assert {id: after[id] for id in early_ids} == {id: before[id] for id in early_ids}, "what was there stays"
    new_ids = set(after) - early_ids
    assert all(before[id]["score"] is None for id in new_ids)
    for id in new_ids:
        assert all(value is not None for value in after[id].values())
        assert after[id]["score"] == expected[id][0]


def test_all_fields_are_as_those_of_a_run_with_these_thresholds(dataset: fo.Dataset) -> None:
    """With the same map range every field is equal, to the pixel."""
    options: dict[str, Any] = {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}, "threshold": 1.5}
    compute(dataset[:11], "part", **options)
    compute(dataset, "whole", **options)
    segad.score_new(dataset, "part")
    part, whole = segad.load_run(dataset, "part"), segad.load_run(dataset, "whole")
    assert part.thresholds == whole.thresholds
    last = dataset.last().id
    actual, expected = fields(dataset, "part")[last], fields(dataset, "whole")[last]
    assert actual["pred"][0] == "anomalous"
    for name in ("score", "pred", "mask", "segments", "regions"):
        assert actual[name] == expected[name], name


def test_unlabeled_against_the_images_of_the_run(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new ones are compared with the pool as images beyond it are; they do not join it."""
    from fiftyone_segad.engine import unlabeled

    options: dict[str, Any] = {"method": "unlabeled", "embedder": "efficientnet"}
    options["embedder_kwargs"] = {"input_size": 128}
    run = compute(dataset[:8], "blind", **options)
    first = scores(run)
    bank = run.store.bank.paths()
    later = segad.score_new(dataset, "blind")
    assert later.scored == 12 and later.store.bank.paths() == bank
    scored = scores(later)
    assert all(scored[id][0] == first[id][0] for id in first)
    new = dataset[8:].values("blind_score")
    assert min(new[2:]) > max(new[:2] + dataset[:8].values("blind_score")), "the two with a square"
    # The same as a run whose pool leaves them out
    monkeypatch.setattr(unlabeled, "POOL", 8)
    monkeypatch.setattr(unlabeled, "choose", lambda images, count, seed: images[:count])
    whole = scores(compute(dataset, "whole", **options))
    assert {id: scored[id][0] for id in whole} == {id: whole[id][0] for id in whole}


def test_nothing_new_changes_nothing(dataset: fo.Dataset, colour_embedder: type[ColourEmbedder]) -> None:
    run = compute(dataset, "segad", segments="tiles:0.4:0.2")
    calls = colour_embedder.calls
    assert segad.score_new(dataset, "segad") == segad.load_run(dataset, "segad")
    assert colour_embedder.calls == calls and segad.load_run(dataset, "segad").scored == run.scored


def test_a_normal_image_is_not_compared_with_itself(dataset: fo.Dataset, colour_embedder: type[ColourEmbedder]) -> None:
    compute(dataset[6:], "part", segments="tiles:0.4:0.2")
    segad.score_new(dataset, "part")
    assert min(dataset.values("part_score")) > 0
    compute(dataset, "whole", segments="tiles:0.4:0.2")
    assert dataset.values("part_score") == dataset.values("whole_score")


def test_what_cannot_be_read_is_told_and_tried_again(
    dataset: fo.Dataset, colour_embedder: type[ColourEmbedder], tmp_path: Path, many: list[Path]
) -> None:
    compute(dataset, "segad", segments="tiles:0.4:0.2")
    (tmp_path / "broken.png").write_bytes(b"x")
    shutil.copy(many[11], tmp_path / "new.png")
    dataset.add_samples([fo.Sample(filepath=str(tmp_path / name)) for name in ("broken.png", "new.png")])
    run = segad.score_new(dataset, "segad")
    assert (run.scored, [Path(entry["filepath"]).name for entry in run.skipped]) == (13, ["broken.png"])
    assert dataset.match_tags("segad_skipped").values("filepath") == [str(tmp_path / "broken.png")]
    assert dataset.last().segad_score == dataset[str(dataset.values("id")[11])].segad_score
    only = segad.score_new(dataset.match_tags("segad_skipped"), "segad")
    assert len(only.skipped) == 1 and only.scored == 13, "a batch of unreadable images is no error"
    shutil.copy(many[0], tmp_path / "broken.png")
    run = segad.score_new(dataset, "segad")
    assert (run.scored, run.skipped, len(dataset.match_tags("segad_skipped"))) == (14, [], 0)
    assert segad.load_run(dataset, "segad").skipped == []


@pytest.mark.parametrize("stop_at", [2, 4, 6], ids=["embedding", "all embedded", "writing"])
def test_an_interruption_loses_nothing(
    dataset: fo.Dataset,
    colour_embedder: type[ColourEmbedder],
    monkeypatch: pytest.MonkeyPatch,
    stop_at: int,
) -> None:
    from fiftyone_segad.registry import fields as fields_module

    monkeypatch.setattr(fields_module, "_BATCH", 2)
    compute(dataset, "whole", segments="tiles:0.4:0.2")
    compute(dataset[:8], "part", segments="tiles:0.4:0.2")

    def stop(bar: Any) -> None:
        if bar.iteration >= stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segad.score_new(dataset, "part", progress=stop)
    assert segad.load_run(dataset, "part").scored == 8
    calls = colour_embedder.calls
    assert segad.score_new(dataset, "part").scored == 12
    assert colour_embedder.calls - calls == 4 - min(stop_at, 4), "what was embedded is not embedded again"
    assert dataset.values("part_score") == dataset.values("whole_score")
    assert all(sample["part_regions"] is not None for sample in dataset)


def test_segments_from_a_field_and_a_function(dataset: fo.Dataset, colour_embedder: type[ColourEmbedder]) -> None:
    boxes = [fo.Detection(label="part", bounding_box=[x, 0, 0.5, 1]) for x in (0, 0.5)]
    dataset.set_values("parts", [fo.Detections(detections=[box.copy() for box in boxes]) for _ in range(12)])
    compute(dataset[:10], "field", segments="parts")
    assert segad.score_new(dataset, "field").scored == 12

    compute(dataset[:10], "function", segments=halves)
    with pytest.raises(ValueError, match=r"come from the function .*halves; pass it as segments="):
        segad.score_new(dataset, "function")
    with pytest.raises(ValueError, match="is not what run 'function' was made with"):
        segad.score_new(dataset, "function", segments=lambda size: halves(size))
    assert segad.score_new(dataset, "function", segments=halves).scored == 12


def halves(size: tuple[int, int]) -> list[list[int]]:
    return [[0, 0, size[0] // 2, size[1]], [size[0] // 2, 0, size[0], size[1]]]


def test_reasons(dataset: fo.Dataset, colour_embedder: type[ColourEmbedder], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="has no run 'segad'"):
        segad.score_new(dataset)
    run = compute(dataset[:8], "segad", segments="tiles:0.4:0.2")
    with pytest.raises(ValueError, match="num_workers"):
        segad.score_new(dataset, num_workers=0)
    with pytest.raises(ValueError, match="empty view"):
        segad.score_new(dataset.match_tags("absent"))
    with pytest.raises(ValueError, match="those of a bank"):
        segad.score_new(dataset, embedder="fastdup")
    with monkeypatch.context() as patch:
        patch.setattr(colour_embedder, "identity", "colour-2")
        with pytest.raises(segad.RunError, match=r"'colour-1', which is now 'colour-2'; compute it again"):
            segad.score_new(dataset)
    dataset.delete_sample_field("segad_score")
    with pytest.raises(ValueError, match="field 'segad_score' is gone"):
        segad.score_new(dataset)
    shutil.rmtree(run.folder)
    with pytest.raises(segad.RunError, match="is gone"):
        segad.score_new(dataset)


def test_the_threshold_can_be_set_afterwards(dataset: fo.Dataset, colour_embedder: type[ColourEmbedder]) -> None:
    compute(dataset[:8], "segad", segments="tiles:0.4:0.2")
    segad.score_new(dataset)
    segad.set_threshold(dataset, "segad", 1e-6)
    assert dataset.count_values("segad_pred.label") == {"anomalous": 12}
