"""The operator that scores new images: against a run, and against the bank of another one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionError

import fiftyone_segad as segad
from conftest import PLUGIN, form, needs_fastdup
from small_runs import save_stripes

OPERATOR = f"{PLUGIN}/score_new"


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    return dataset_of(save_stripes(tmp_path))


@needs_fastdup
def test_the_operator(dataset: fo.Dataset, tmp_path: Path) -> None:
    segad.compute_segment_anomalies(
        dataset[:8], reference=dataset.limit(6), segments="tiles:0.4:0.2", embedder="fastdup"
    )
    label = form("score_new", dataset)["count"]["view"]["label"]
    assert re.fullmatch(
        r"4 of 12 images have no score in 'segad' yet; run 'segad' with fastdup did about .+ images per second", label
    )
    done = foo.execute_operator(OPERATOR, {"dataset": dataset, "params": {}}).result
    assert (done["new"], done["skipped"]) == (4, 0)
    dataset.reload()
    assert done["flagged"] == dataset[8:].values("segad_pred.label").count("anomalous") >= 2
    assert dataset[10:].values("segad_pred.label") == ["anomalous"] * 2
    assert None not in dataset.values("segad_score")
    again = foo.execute_operator(OPERATOR, {"dataset": dataset, "params": {"key": "segad"}}).result
    assert again["new"] == 0
    file = segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")
    done = foo.execute_operator(OPERATOR, {"dataset": dataset, "params": {"bank": str(file), "key": "copy"}}).result
    assert done["new"] == 12
    dataset.reload()
    assert dataset.values("copy_score") == dataset.values("segad_score")


def test_the_form_says_what_is_wrong(dataset: fo.Dataset) -> None:
    empty = form("score_new", dataset)
    assert empty["source"]["type"]["values"] == ["bank"]
    wrong = form("score_new", dataset, source="bank", bank="/absent/file", key="a b")
    assert "no file '/absent/file'" in wrong["bank"]["error_message"]
    assert "letters, digits" in wrong["key"]["error_message"]
    with pytest.raises((ExecutionError, ValueError), match="bank"):
        foo.execute_operator(OPERATOR, {"dataset": dataset, "params": {}}).raise_exceptions()
