"""What is ignored is seen in the App, and goes with the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from zoned_dataset import LEFT, NORMALS, RIGHT, boxes, compute_zoned, zoned_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")

MakeDataset = Callable[..., fo.Dataset]


def picture_of(sample: fo.Sample) -> np.ndarray:
    label = sample.segad_zones.copy()
    label.import_mask()
    return np.asarray(label.mask)


def test_stripes_on_what_is_ignored(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=RIGHT))
    compute_zoned(dataset, zones="zones", zones_from=first)
    picture = picture_of(dataset.last())
    assert not picture[:, :48].any()
    assert 0.4 < (picture[:, 48:] == 1).mean() < 0.6
    assert dataset.mask_targets["segad_zones"] == {1: "ignored", 2: "border of a zone"}
    assert "segad_zones" in dataset.app_config.active_fields.paths
    assert len(set(dataset.values("segad_zones.mask_path"))) == 1, "one file for all of the same zones"


def test_lines_between_zones_and_images_without_any(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(inspect_left=LEFT, inspect_right=RIGHT))
    dataset.set_values("zones", [None if id != first else dataset[first].zones for id in dataset.values("id")])
    compute_zoned(dataset, zones="zones")
    assert np.flatnonzero(picture_of(dataset.first()).any(axis=0)).tolist() == [47]
    assert dataset.last().segad_zones is None


def test_they_are_replaced_and_deleted_with_the_run(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=RIGHT))
    compute_zoned(dataset, zones="zones", zones_from=first)
    segad.set_threshold(dataset, "segad", "fpr:0.3")
    assert picture_of(dataset.last()).any()
    compute_zoned(dataset, overwrite=True)
    assert not dataset.has_sample_field("segad_zones") and "segad_zones" not in dataset.mask_targets
    compute_zoned(dataset, zones="zones", zones_from=first, overwrite=True)
    folder = Path(segad.load_run(dataset, "segad").folder)
    segad.delete_run(dataset, "segad")
    assert not dataset.has_sample_field("segad_zones") and not folder.exists()
    assert "segad_zones" not in dataset.mask_targets
    assert dataset.has_sample_field("zones"), "what people drew stays"


def test_later_images_have_them(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=RIGHT))
    scored = dataset.limit(NORMALS)
    segad.compute_segment_anomalies(scored, reference=scored, zones="zones", zones_from=first)
    segad.score_new(dataset, "segad")
    assert picture_of(dataset.last()).any()


def test_a_field_of_the_run_holds_no_zones(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=RIGHT))
    compute_zoned(dataset, zones="zones", zones_from=first)
    with pytest.raises(ValueError, match=r"zones='segad_zones' is no field .* use one of \['zones'\]"):
        segad.rescore(dataset, "segad", zones="segad_zones")
