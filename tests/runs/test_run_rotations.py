"""Turned copies of normal images, as a run tells of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from bolts import bolt

SMALL = {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}}


@pytest.fixture
def bolts(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    """Ten bolts at any angle."""
    random = np.random.default_rng(5)
    paths = [tmp_path / f"{i}.png" for i in range(10)]
    for path, angle in zip(paths, random.uniform(0, 360, len(paths)), strict=True):
        noisy = bolt(angle) + random.normal(0, 3, (280, 300, 1))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
    return dataset_of(paths)


def test_a_run_says_how_many_angles_were_found(bolts: fo.Dataset) -> None:
    run = segad.compute_segment_anomalies(bolts[8:], reference=bolts[:8], align=False, **SMALL)
    assert isinstance(run, segad.Run)
    assert run.rotations == 8 and run.settings["rotations"] is None
    upright = segad.compute_segment_anomalies(bolts[8:], "upright", reference=bolts[:8], rotations=1, **SMALL)
    assert isinstance(upright, segad.Run) and upright.rotations == 1


def test_rescoring_keeps_them(bolts: fo.Dataset) -> None:
    segad.compute_segment_anomalies(bolts[8:], reference=bolts[:8], align=False, **SMALL)
    segad.mark_normal(bolts[9:], "segad")
    segad.rescore(bolts, "segad")
    assert segad.load_run(bolts, "segad").rotations == 8


def test_methods_without_a_bank_have_none(bolts: fo.Dataset) -> None:
    run = segad.compute_segment_anomalies(bolts[:3], method="within_image", segments="grid:4", **SMALL)
    assert isinstance(run, segad.Run) and run.rotations == 1
