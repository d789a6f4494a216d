"""Zones of an inspector: the same as those of a run whose zones are drawn once for all images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from zoned_dataset import LEFT, RIGHT, SPOT, boxes, compute_zoned, mask_of, zoned_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")

SIDE = 72


def paint(**numbered: Any) -> np.ndarray:
    """Return labels with boxes by number; ``_2`` is 2."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    for name, (x, y, width, height) in numbered.items():
        rows, columns = (
            slice(round(start * SIDE), round((start + length) * SIDE)) for start, length in ((y, height), (x, width))
        )
        labels[rows, columns] = int(name[1:])
    return labels


def make(dataset_of: Callable[..., fo.Dataset], folder: Path, drawn: fo.Label) -> tuple[fo.Dataset, Path]:
    """Make a dataset with a run in zones, ``zoned``, and the bank of one without."""
    dataset, first = zoned_dataset(dataset_of, folder, drawn)
    compute_zoned(dataset, key="zoned", zones="zones", zones_from=first)
    compute_zoned(dataset, key="plain")
    return dataset, segad.save_bank(dataset, "plain", folder / "bank.safetensors")


@pytest.fixture
def named(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> Iterator[tuple[fo.Dataset, segad.Inspector]]:
    """Two named zones, and an inspector of the bank without."""
    dataset, file = make(dataset_of, tmp_path, boxes(inspect_left=LEFT, inspect_right=RIGHT))
    with segad.load_bank(file) as inspector:
        yield dataset, inspector


def assert_same(dataset: fo.Dataset, inspector: segad.Inspector) -> None:
    run = segad.load_run(dataset, "zoned")
    assert inspector.thresholds == run.thresholds
    assert inspector.false_alarm_share == run.false_alarm_share
    for sample in dataset:
        result = inspector(sample.filepath)
        assert (result.score, result.anomalous) == (sample.zoned_score, sample.zoned_pred.label == "anomalous")
        assert result.p_value == sample.zoned_pred.p_value
        np.testing.assert_array_equal(result.mask, mask_of(sample, "zoned"))
        written = [getattr(region, "zone", "") for region in sample.zoned_regions.detections]
        assert [region.zone for region in result.regions] == written


def test_named_zones_are_those_of_a_run(named: tuple[fo.Dataset, segad.Inspector]) -> None:
    dataset, inspector = named
    inspector.set_zones(paint(_1=LEFT, _2=RIGHT), ["left", "right"])
    assert_same(dataset, inspector)
    assert {region.zone for region in inspector(dataset.last().filepath).regions} == {"left"}


def test_a_mask_of_what_is_inspected(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    dataset, file = make(dataset_of, tmp_path, boxes(ignore=SPOT))
    with segad.load_bank(file) as inspector:
        inspector.set_zones(paint(_1=SPOT) == 0)
        assert_same(dataset, inspector)


def test_labels_of_another_size_are_fitted(named: tuple[fo.Dataset, segad.Inspector]) -> None:
    dataset, inspector = named
    inspector.set_zones(np.array([[1, 1, 2]]), ["left", "right"])
    assert_same(dataset, inspector)


def test_without_zones_it_is_as_before(named: tuple[fo.Dataset, segad.Inspector]) -> None:
    dataset, inspector = named
    path = dataset.last().filepath
    before, thresholds = inspector(path), inspector.thresholds
    inspector.set_zones(paint(_1=RIGHT))
    assert inspector(path).score < 0.5 * before.score
    assert inspector.set_zones(None) == thresholds
    assert (inspector(path).score, inspector(path).p_value) == (before.score, before.p_value)


def test_a_threshold_is_of_the_zones(named: tuple[fo.Dataset, segad.Inspector]) -> None:
    dataset, inspector = named
    inspector.set_zones(paint(_1=LEFT, _2=RIGHT), ["left", "right"])
    inspector.set_threshold("fpr:0.4")
    segad.set_threshold(dataset, "zoned", "fpr:0.4")
    assert inspector.thresholds == segad.load_run(dataset, "zoned").thresholds


@pytest.mark.parametrize(
    ("labels", "names", "reason"),
    [
        (np.zeros((4, 4), int), (), "nothing to inspect"),
        (np.full((4, 4), 2), (), "values from 2 to 2"),
        (np.full((4, 4), -1), (), "values from -1"),
        (np.ones((4, 4)), (), "integers or bools"),
        (np.ones(4, int), (), "integers or bools"),
        (np.ones((0, 4), int), (), "integers or bools"),
        (np.ones((4, 4), int), ("rim", "rim"), "each another one"),
        (np.ones((4, 4), int), ("",), "must be texts"),
    ],
)
def test_zones_that_do_not_fit_change_nothing(
    named: tuple[fo.Dataset, segad.Inspector], labels: np.ndarray, names: tuple[str, ...], reason: str
) -> None:
    _, inspector = named
    before = inspector.thresholds, inspector.normals
    with pytest.raises(ValueError, match=reason):
        inspector.set_zones(labels, names)
    assert (inspector.thresholds, inspector.normals) == before


def test_a_rule_that_needs_scored_images_is_refused(named: tuple[fo.Dataset, segad.Inspector], tmp_path: Path) -> None:
    dataset, _ = named
    segad.set_threshold(dataset, "plain", "alarms:2")
    with segad.load_bank(segad.save_bank(dataset, "plain", tmp_path / "alarms.safetensors")) as inspector:
        with pytest.raises(ValueError, match="needs scored images"):
            inspector.set_zones(paint(_1=LEFT))
        inspector.set_threshold("fpr:0.2")
        inspector.set_zones(paint(_1=LEFT))


def test_a_smallest_area_holds_as_in_the_run(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    dataset, _ = zoned_dataset(dataset_of, tmp_path, None)
    compute_zoned(dataset, key="zoned", min_area=10_000)
    file = segad.save_bank(dataset, "zoned", tmp_path / "bank.safetensors")
    with segad.load_bank(file) as inspector:
        assert_same(dataset, inspector)
        assert not inspector(dataset.last().filepath).anomalous
        inspector.set_threshold("fpr:0.4")
        assert not inspector(dataset.last().filepath).anomalous
