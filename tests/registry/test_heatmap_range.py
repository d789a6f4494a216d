"""Which grey levels of heatmaps the App colours: those above the pixel threshold, whatever that is now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.registry.fields import heatmap_range

pytestmark = pytest.mark.usefixtures("colour_embedder")


def test_heatmaps_are_clear_below_the_pixel_threshold(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path]
) -> None:
    dataset = dataset_of(pictures)
    run = segad.compute_segment_anomalies(dataset.skip(4), reference=dataset.limit(4), segments="tiles:0.4:0.2")
    low, high = run.map_range
    sample = dataset.last()
    lowest = sample.segad_map.range[0]
    grey = np.asarray(Image.open(sample.segad_map.map_path))
    pixels = low + (high - low) * grey / 255  # scores, rounded to grey levels
    half_a_level = (high - low) / 255 / 2
    assert (pixels[grey >= lowest] > run.thresholds.pixel - half_a_level).all()
    assert (pixels[grey < lowest] < run.thresholds.pixel + half_a_level).all()
    assert 0 < (grey >= lowest).mean() < 1
    files = {path: path.read_bytes() for path in map(Path, dataset.skip(4).values("segad_map.map_path"))}
    lower = segad.set_threshold(dataset, "segad", low + (high - low) / 200)
    assert dataset.skip(4).values("segad_map.range") == [heatmap_range(lower)] * 2
    assert heatmap_range(lower)[0] < lowest
    assert all(path.read_bytes() == content for path, content in files.items())


@pytest.mark.parametrize(("pixel", "expected"), [(None, 0), (-5.0, 1), (1.0, 128), (7.0, 254)])
def test_a_range_is_never_empty(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], pixel: float | None, expected: int
) -> None:
    dataset = dataset_of(pictures)
    run = segad.compute_segment_anomalies(dataset, method="unlabeled", segments="grid:2")
    moved = replace(run, thresholds=replace(run.thresholds, pixel=pixel), map_range=(0.0, 2.0))
    assert heatmap_range(moved) == [expected, 255]
