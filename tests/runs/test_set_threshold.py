"""Another threshold: predictions and masks follow, scores stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from small_runs import compute, make_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    return make_dataset(dataset_of, pictures)


def test_set_threshold(dataset: fo.Dataset) -> None:
    run = compute(dataset, threshold=1e9)
    assert dataset.count_values("segad_pred.label")["normal"] == 2
    old = dataset.last().segad_mask.mask_path
    changed = segad.set_threshold(dataset, "segad", 1e-6)
    assert dataset.count_values("segad_pred.label")["anomalous"] == 2
    assert dataset.last().segad_mask.mask_path != old, "browsers keep what they have seen of a path"
    assert not Path(old).exists()
    assert segad.load_run(dataset, "segad").thresholds == changed.thresholds != run.thresholds
    with pytest.raises(ValueError, match="not a threshold"):
        segad.set_threshold(dataset, "segad", float("nan"))
