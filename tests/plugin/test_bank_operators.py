"""The operators that save a bank and score new images: against a run, and against the bank of another one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from conftest import needs_fastdup
from fiftyone_segad.storage.bank_file import BankFile
from plugin_calls import REFUSED, form, run
from small_runs import save_stripes


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    return dataset_of(save_stripes(tmp_path))


@needs_fastdup
def test_save_bank(dataset: fo.Dataset, tmp_path: Path) -> None:
    segad.compute_segment_anomalies(dataset, key="inside", method="within_image")
    segad.compute_segment_anomalies(
        dataset, reference=dataset.limit(4), embedder="efficientnet", embedder_kwargs={"input_size": 128}
    )
    file = tmp_path / "bank"
    assert run("save_bank", dataset, path=str(file))["file"] == str(file)
    assert len(BankFile.read(file).header.images) == 4
    for key, path, reason in (
        ("segad", file, "exists; tick the box"),
        ("segad", tmp_path, "is a folder"),
        ("inside", tmp_path / "x", "Path: key"),
    ):
        with pytest.raises(REFUSED, match=reason):
            run("save_bank", dataset, key=key, path=str(path))
    assert run("save_bank", dataset, path=str(file), overwrite=True)["file"]


@needs_fastdup
def test_score_new(dataset: fo.Dataset, tmp_path: Path) -> None:
    segad.compute_segment_anomalies(
        dataset[:8], reference=dataset.limit(6), segments="tiles:0.4:0.2", embedder="fastdup"
    )
    label = form("score_new", dataset)["count"]["view"]["label"]
    assert re.fullmatch(
        r"4 of 12 images have no score in 'segad' yet; run 'segad' with fastdup did about .+ images per second", label
    )
    done = run("score_new", dataset)
    assert (done["new"], done["skipped"]) == (4, 0)
    assert done["flagged"] == dataset[8:].values("segad_pred.label").count("anomalous") >= 2
    assert dataset[10:].values("segad_pred.label") == ["anomalous"] * 2
    assert None not in dataset.values("segad_score")
    assert run("score_new", dataset, key="segad")["new"] == 0
    file = segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")
    assert run("score_new", dataset, bank=str(file), key="copy")["new"] == 12
    assert dataset.values("copy_score") == dataset.values("segad_score")


def test_without_a_run_only_a_bank_is_asked_for(dataset: fo.Dataset) -> None:
    assert form("score_new", dataset)["source"]["type"]["values"] == ["bank"]
    wrong = form("score_new", dataset, source="bank", bank="/absent/file", key="a b")
    assert "no file '/absent/file'" in wrong["bank"]["error_message"]
    assert "letters, digits" in wrong["key"]["error_message"]
    with pytest.raises(REFUSED, match="bank"):
        run("score_new", dataset)
