"""The example of a REST service, asked as a client asks it."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from conftest import ROOT


def test_it_answers_with_the_decision(
    dataset_of: Callable[..., fo.Dataset],
    pictures: list[Path],
    tmp_path: Path,
    colour_embedder: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    testing = pytest.importorskip("starlette.testclient", reason="Starlette or httpx is not installed")
    dataset = dataset_of(pictures)
    segad.compute_segment_anomalies(dataset.skip(4), reference=dataset.limit(4), threshold="fpr:0.3")
    file = segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")
    monkeypatch.setenv("SEGAD_BANK", str(file))
    client = testing.TestClient(runpy.run_path(str(ROOT / "examples" / "rest_service.py"))["app"])
    with segad.load_bank(file) as inspector:
        for path in pictures:
            answer = client.post("/inspect", content=path.read_bytes())
            result = inspector(path)
            assert answer.status_code == 200
            assert (answer.json()["score"], answer.json()["p_value"]) == (result.score, result.p_value)
            assert (answer.json()["decision"] == "anomalous") == result.anomalous
            assert [region["box"] for region in answer.json()["regions"]] == [list(r.box) for r in result.regions]
        assert inspector(pictures[-1]).anomalous and not inspector(pictures[0]).anomalous
    answer = client.post("/inspect", content=b"no image")
    assert answer.status_code == 422 and "is not an image" in answer.json()["error"]
    assert client.get("/inspect").status_code == 405
