"""A clone of a dataset and its source do not lose their files to each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.registry.folders import dataset_folder
from small_runs import compute, make_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def source(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    dataset = make_dataset(dataset_of, pictures)
    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    Image.fromarray(mask).save(pictures[0].with_name("truth.png"))
    last = dataset.last()
    last["defect_mask"] = fo.Segmentation(mask_path=str(pictures[0].with_name("truth.png")))
    last.save()
    compute(dataset)
    segad.evaluate_anomalies(dataset.skip(4), "segad", eval_key="judged")
    return dataset


def files(dataset: fo.Dataset) -> dict[str, bytes]:
    """The files that the samples name; fails if one is gone."""
    dataset.reload()
    fields = [("segad_map", "map_path"), ("segad_mask", "mask_path"), ("judged_errors", "mask_path")]
    fields = [(field, path) for field, path in fields if dataset.has_sample_field(field)]
    paths = [path for field, name in fields for path in dataset.values(f"{field}.{name}") if path]
    return {path: Path(path).read_bytes() for path in paths}


@pytest.mark.parametrize("swapped", [False, True])
def test_neither_loses_its_files(source: fo.Dataset, swapped: bool) -> None:
    clone = source.clone()
    changed, kept = (clone, source) if swapped else (source, clone)
    before = files(kept)
    assert len(before) >= 4
    try:
        segad.set_threshold(changed, "segad", 0.1)
        segad.set_threshold(changed, "segad", 0.2)
        segad.mark_normal(changed.skip(4).limit(1), "segad")
        segad.rescore(changed, "segad")
        segad.evaluate_anomalies(changed.skip(4), "segad", eval_key="judged", overwrite=True)
        compute(changed, overwrite=True)
        assert files(kept) == before
        segad.delete_run(changed, "segad")
        assert files(kept) == before
        assert segad.set_threshold(kept, "segad", 0.3).thresholds.image == 0.3
        files(kept)
        segad.delete_run(kept, "segad")
        assert not dataset_folder(source).exists() and not dataset_folder(clone).exists()
    finally:
        clone.delete()


@pytest.mark.parametrize("swapped", [False, True])
def test_later_images_of_one_are_not_scored_for_the_other(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], swapped: bool
) -> None:
    source = make_dataset(dataset_of, pictures)
    compute(source[:5])
    clone = source.clone()
    changed, kept = (clone, source) if swapped else (source, clone)
    try:
        before, run = files(kept), segad.load_run(kept, "segad")
        stored = {path: path.read_bytes() for path in Path(run.folder).rglob("*") if path.is_file()}
        scores = source.values("segad_score")
        later = segad.score_new(changed.skip(4), "segad")
        assert later.scored == 2 and changed.values("segad_score")[:5] == scores[:5]
        assert segad.load_run(changed, "segad") == later and Path(later.folder).parts != Path(run.folder).parts
        assert segad.load_run(kept, "segad") == run and kept.values("segad_score") == scores
        assert {path: path.read_bytes() for path in Path(run.folder).rglob("*") if path.is_file()} == stored
        assert files(kept) == before
        assert all(path.startswith(later.folder) for path in files(changed)) and len(files(changed)) > len(before)
        segad.delete_run(kept, "segad")
        assert not Path(run.folder).exists()
        files(changed)
        assert segad.set_threshold(changed, "segad", 0.3).scored == 2
        segad.delete_run(changed, "segad")
        assert not dataset_folder(source).exists() and not dataset_folder(clone).exists()
    finally:
        clone.delete()


def test_nothing_of_a_deleted_clone_is_left(source: fo.Dataset) -> None:
    clone = source.clone()
    try:
        before = files(source), set(dataset_folder(source).rglob("masks-*"))
        segad.set_threshold(clone, "segad", 0.1)
        segad.delete_run(clone, "segad")
        assert (files(source), set(dataset_folder(source).rglob("masks-*"))) == before
    finally:
        clone.delete()
