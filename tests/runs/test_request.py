"""Arguments that are wrong are told before any work, and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F

import fiftyone_segad as segad
from conftest import ColourEmbedder
from small_runs import compute, make_dataset, snapshot

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    return make_dataset(dataset_of, pictures)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": None}, "needs normal images: pass reference="),
        ({"method": "magic"}, "method='magic' is not known"),
        ({"embedder": "magic"}, "embedder='magic' is not known"),
        ({"segments": "hexagons"}, "segments='hexagons' is not known"),
        ({"segments": "tiles:0.1:0.5"}, "stride must be in"),
        ({"segments": "grid:0"}, "whole number from 1"),
        ({"segments": "filepath"}, "not of Detections"),
        ({"key": "two words"}, "letters, digits and underscores"),
        ({"key": "1st"}, "beginning with a letter"),
        ({"key": "../up"}, "letters, digits and underscores"),
        ({"threshold": float("nan")}, "not a threshold"),
        ({"threshold": "fpr:2"}, r"share must be in \(0, 1\)"),
        ({"threshold": "f1"}, "not a Segmentation field"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 on, got 0"),
        ({"batch_size": "4"}, "batch_size must be a whole number from 1 on, got '4'"),
        ({"seed": "x"}, "seed must be a whole number from 0 on, got 'x'"),
        ({"rotations": True}, "rotations must be a whole number"),
        ({"key": "k" * 300}, "key has 300 characters; use at most 100"),
        ({"segments": 7}, "segments=7 is not known"),
        ({"embedder": None}, "embedder=None is not known"),
        ({"embedder_kwargs": "input_size=64"}, "embedder_kwargs must be"),
        ({"num_workers": 0}, "num_workers must be a whole number from 1"),
        ({"rotations": 0}, "rotations must be a whole number from 1"),
        ({"rotations": 360}, "rotations=360 is too many"),
        ({"bank_size": 1.5}, "bank_size must be a whole number from 1"),
        ({"defects": "huge"}, r"defects='huge' is not known; use one of \['any', 'small', 'large'\]"),
        ({"embedder": "fastdup+magic"}, "embedder='fastdup\\+magic' is not known"),
        ({"embedder": "efficentnet"}, "did you mean 'efficientnet'"),
        ({"embedder_kwargs": {"colour": "red"}}, "embedder_kwargs of 'efficientnet'.*colour"),
        ({"method": "unlabeled"}, "takes no reference"),
        ({"reference": "good"}, "reference must be a FiftyOne dataset or view"),
    ],
)
def test_wrong_parameters_are_told_before_work(
    dataset: fo.Dataset, colour_embedder: type[ColourEmbedder], options: dict[str, Any], message: str
) -> None:
    before = snapshot(dataset)
    calls = colour_embedder.calls
    with pytest.raises(ValueError, match=message):
        compute(dataset, **options)
    assert colour_embedder.calls == calls
    assert snapshot(dataset) == before


def test_f1_without_a_defect_is_told_before_work(
    dataset: fo.Dataset, colour_embedder: type[ColourEmbedder], pictures: list[Path]
) -> None:
    """An empty mask is none, and a mask that cannot be read counts as none."""
    empty = fo.Segmentation(mask=np.zeros((80, 96), np.uint8))
    absent = fo.Segmentation(mask_path=str(pictures[0].with_name("absent.png")))
    dataset.set_values("defect_mask", [None, empty, empty, absent, None, empty])
    before, calls = snapshot(dataset), colour_embedder.calls
    with pytest.raises(ValueError, match=r"threshold='f1' needs defective images with masks in 'defect_mask'"):
        compute(dataset, threshold="f1")
    assert colour_embedder.calls == calls and snapshot(dataset) == before
    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    dataset.set_values("defect_mask", {dataset.last().id: fo.Segmentation(mask=mask)}, key_field="id")
    assert compute(dataset, threshold="f1").thresholds.rule == "f1"


def test_wrong_collections(dataset: fo.Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty view"):
        segad.compute_segment_anomalies(dataset.match(F("filepath") == "none"), method="within_image")
    with pytest.raises(ValueError, match="reference is an empty view"):
        compute(dataset, reference=dataset.match_tags("absent"))
    with pytest.raises(ValueError, match="must be a FiftyOne dataset"):
        segad.compute_segment_anomalies([1, 2], method="within_image")
    with pytest.raises(ValueError, match=r"reference: dataset '.*' has no samples"):
        compute(dataset, reference=fo.Dataset())
    one = dataset.limit(1)
    with pytest.raises(ValueError, match="only normal image is also the only image"):
        segad.compute_segment_anomalies(one, reference=one)
    video = fo.Dataset()
    video.add_sample(fo.Sample(filepath=str(tmp_path / "film.mp4")))
    with pytest.raises(ValueError, match="media type 'video'"):
        segad.compute_segment_anomalies(video, method="within_image")
    grouped = fo.Dataset()
    grouped.add_group_field("group", default="left")
    group = fo.Group()
    grouped.add_sample(fo.Sample(filepath=str(tmp_path / "a.png"), group=group.element("left")))
    with pytest.raises(ValueError, match="grouped; pass one slice"):
        segad.score_new(grouped, "segad")
    for extra in (video, grouped):
        extra.delete()


def test_keys_and_fields_of_others_stay(dataset: fo.Dataset) -> None:
    dataset.set_values("mine_score", [0.5] * 6)
    with pytest.raises(ValueError, match=r"\['mine_score'\] exist and belong to no run"):
        compute(dataset, key="mine")
    dataset.register_run("theirs", dataset.init_run(anything=1))
    with pytest.raises(ValueError, match="another kind of run"):
        compute(dataset, key="theirs", overwrite=True)
    assert segad.list_runs(dataset) == []
    assert dataset.values("mine_score") == [0.5] * 6


def test_keys_that_end_in_the_words_of_another_key(dataset: fo.Dataset) -> None:
    for key in ("a_pending", "a"):
        compute(dataset, key=key)
    segad.set_threshold(dataset, "a", 0.0)
    assert set(segad.list_runs(dataset)) == {"a", "a_pending"}
    for name in ("score", "pred", "map", "mask", "segments", "regions"):
        assert len(dataset.exists(f"a_pending_{name}")) == 2, name


def test_names_that_a_run_writes_later_are_its_own(dataset: fo.Dataset) -> None:
    dataset.set_values("mine_review", ["fine"] * 6)
    with pytest.raises(ValueError, match=r"\['mine_review'\] exist"):
        compute(dataset, key="mine")
    dataset.limit(1).tag_samples("ours_skipped")
    with pytest.raises(ValueError, match="Tag 'ours_skipped' belongs to no run"):
        compute(dataset, key="ours")
    compute(dataset)
    with pytest.raises(ValueError, match="'segad_review' is the name of another run or field"):
        segad.evaluate_anomalies(dataset, eval_key="segad_review")
    assert dataset.values("mine_review") == ["fine"] * 6
    assert len(dataset.match_tags("ours_skipped")) == 1


def test_frames_of_videos_cannot_hold_a_run(pictures: list[Path], tmp_path: Path) -> None:
    video = fo.Dataset()
    sample = fo.Sample(filepath=str(tmp_path / "film.mp4"))
    for number, path in enumerate(pictures, start=1):
        sample.frames[number] = fo.Frame(filepath=str(path))
    video.add_sample(sample)
    frames = video.to_frames()
    with pytest.raises(ValueError, match=r"samples is a view of the frames of videos.*clone"):
        segad.compute_segment_anomalies(frames.skip(4), reference=frames.limit(4))
    dataset = frames.clone()
    run = segad.compute_segment_anomalies(dataset.skip(4), reference=frames.limit(4), segments="tiles:0.4:0.2")
    assert run.normals == 4
    assert len(dataset.exists("segad_score")) == run.scored == 2
    for made in (dataset, video):
        made.delete()
