"""An evaluation says that it is stale once its run has changed, and goes whatever it is called by then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.registry.evaluations import stale_evaluations
from painted_dataset import compute, painted_dataset, snapshot

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    made = painted_dataset(dataset_of, tmp_path)
    segad.evaluate_anomalies(made, eval_key="judged")
    return made


def test_an_evaluation_beside_another_threshold(dataset: fo.Dataset, caplog: pytest.LogCaptureFixture) -> None:
    assert stale_evaluations(dataset, segad.load_run(dataset, "segad")) == []
    run = segad.set_threshold(dataset, "segad", 0.5)
    (sentence,) = stale_evaluations(dataset, run)
    assert "'judged' is of run 'segad' as it was before (threshold 0.05, now 0.5)" in sentence
    assert sentence in caplog.messages
    assert "at the threshold 0.05" in dataset.get_field("judged_errors").description
    segad.evaluate_anomalies(dataset, eval_key="judged", overwrite=True)
    assert stale_evaluations(dataset, run) == []
    assert "at the threshold 0.5" in dataset.get_field("judged_regions").description


def test_an_evaluation_beside_other_scores(dataset: fo.Dataset) -> None:
    segad.score_new(dataset, "segad")
    assert stale_evaluations(dataset, segad.load_run(dataset, "segad")) == [], "nothing new was scored"
    segad.mark_normal(dataset.skip(5).limit(1), "segad")
    run = segad.rescore(dataset, "segad").run
    assert len(stale_evaluations(dataset, run)) == 1
    segad.evaluate_anomalies(dataset, eval_key="judged", overwrite=True)
    other = compute(dataset, key="other")
    assert stale_evaluations(dataset, run) == stale_evaluations(dataset, other) == []
    assert len(stale_evaluations(dataset, compute(dataset, overwrite=True))) == 1


def test_an_evaluation_whose_record_was_renamed(dataset: fo.Dataset) -> None:
    segad.delete_evaluation(dataset, "judged")
    before = snapshot(dataset)
    segad.evaluate_anomalies(dataset, eval_key="judged")
    dataset.rename_run("judged", "second")
    segad.delete_evaluation(dataset, "second")
    assert snapshot(dataset) == before
