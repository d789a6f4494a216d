"""The operator ``save_bank``: a bank file, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionError

import fiftyone_segad as segad
from conftest import needs_fastdup
from fiftyone_segad.storage.bank_file import BankFile


@needs_fastdup
def test_it_saves_or_says_why_not(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path) -> None:
    operator = "@segad/anomaly/save_bank"
    dataset = dataset_of(pictures)

    def run(**params: Any) -> Any:
        return foo.execute_operator(operator, {"dataset": dataset, "params": params})

    with pytest.raises((ExecutionError, ValueError), match="no_runs"):
        run(path=str(tmp_path / "bank")).raise_exceptions()
    segad.compute_segment_anomalies(dataset, key="inside", method="within_image")
    segad.compute_segment_anomalies(
        dataset,
        reference=dataset.limit(4),
        threshold="fpr:0.2",
        embedder="efficientnet",
        embedder_kwargs={"input_size": 128},
    )
    done = run(path=str(tmp_path / "bank")).result
    assert done["file"] == str(tmp_path / "bank")
    assert len(BankFile.read(tmp_path / "bank").header.images) == 4
    for params, reason in (
        ({"path": str(tmp_path / "bank")}, "exists; tick the box"),
        ({"path": "relative"}, "full path"),
        ({"path": str(tmp_path)}, "is a folder"),
        ({}, "path"),
        ({"path": str(tmp_path / "x"), "key": "inside"}, "key"),
    ):
        with pytest.raises((ExecutionError, ValueError), match=reason):
            run(**params).raise_exceptions()
    assert run(path=str(tmp_path / "bank"), overwrite=True).result["file"]
