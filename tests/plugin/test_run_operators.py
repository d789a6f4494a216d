"""What one does with runs from the App: comparing, exporting, reports, and paths that are picked instead of typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from panel_page import Page
from plugin_calls import REFUSED, form, run


@pytest.fixture
def dataset(dataset_with_run: fo.Dataset) -> fo.Dataset:
    """A run that finds the defect, one that flags nothing, and their ground truth."""
    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    dataset_with_run.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    dataset_with_run.set_values("defect_mask", [None] * 5 + [fo.Segmentation(mask=mask)])
    segad.compute_segment_anomalies(dataset_with_run, key="blind", reference=dataset_with_run.limit(4), threshold=1e3)
    return dataset_with_run


def test_two_runs_are_compared(dataset: fo.Dataset) -> None:
    result = run("compare_runs", dataset, key="segad", baseline="blind")
    assert (result["fixed"], result["broken"], result["changed"]) == (1, 0, [dataset.last().id])
    recall = next(row for row in result["rows"] if row["figure"] == "Recall")
    assert (recall["baseline"], recall["run"]) == ("0.000", "1.000")
    fields = form("compare_runs", dataset, key="segad")
    assert fields["baseline"]["type"]["values"] == ["blind"]
    segad.delete_run(dataset, "blind")
    assert "no two runs" in form("compare_runs", dataset)["one_run"]["view"]["label"]


def test_a_run_is_exported_to_a_folder_that_was_picked(dataset: fo.Dataset, tmp_path: Path) -> None:
    picked = {"path_picked": {"absolute_path": str(tmp_path)}}
    fields = form("export_run", dataset, key="segad", **picked)
    assert not fields["path"]["required"], "it need not be typed as well"
    assert not fields["path"].get("invalid")
    assert fields["path_picked"]["view"]["choose_dir"]
    result = run("export_run", dataset, key="segad", **picked)
    assert result["file"] == str(tmp_path / "segad.zip")
    segad.delete_run(dataset, "segad")
    assert segad.import_run(dataset, result["file"]).key == "segad"
    with pytest.raises(REFUSED, match="exists"):
        run("export_run", dataset, key="segad", **picked)
    assert form("export_run", dataset, key="segad", path="relative.zip")["path"]["invalid"]


def test_what_is_typed_comes_before_what_was_picked(dataset: fo.Dataset, tmp_path: Path) -> None:
    params = {"path": str(tmp_path / "typed.safetensors"), "path_picked": {"absolute_path": str(tmp_path)}}
    assert run("save_bank", dataset, key="segad", **params)["file"] == params["path"]
    del params["path"]
    assert run("save_bank", dataset, key="segad", **params)["file"] == str(tmp_path / "segad.safetensors")
    assert form("score_new", dataset, source="bank", bank_picked={"absolute_path": "/absent"})["bank"]["invalid"]


def test_an_evaluation_saves_its_report(dataset: fo.Dataset, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert run("evaluate_anomalies", dataset, key="segad", report_file=str(file))["report_file"] == str(file)
    assert "AUROC" in file.read_text()
    for path in ("report.html", str(tmp_path), str(tmp_path / "absent" / "report.html"), str(tmp_path / "report.txt")):
        assert form("evaluate_anomalies", dataset, key="segad", report_file=path)["report_file"]["invalid"], path
        with pytest.raises(REFUSED, match="report_file="):
            run("evaluate_anomalies", dataset, key="segad", report_file=path)


def test_all_of_it_is_in_the_panel(dataset: fo.Dataset) -> None:
    def names(page: Page) -> dict[str, Any]:
        return page.drawn["runs"]["type"]["properties"]

    buttons = names(Page(dataset))
    assert set(buttons) == {
        "compute_segment_anomalies",
        "compare_runs",
        "evaluate_anomalies",
        "save_bank",
        "export_run",
        "delete_run",
        "try_image",
    }
    page = Page(dataset)
    page.send("open_form", path="runs.save_bank", **buttons["save_bank"]["view"]["params"])
    prompted = dict(page.requests)["prompt_user_for_operation"]
    assert (prompted["operator_uri"], prompted["params"]) == ("@segad/anomaly/save_bank", {"key": "blind"}), (
        "not the path that the App sends along with a click"
    )
    segad.delete_run(dataset, "segad")
    assert "compare_runs" not in names(Page(dataset))


def test_selected_samples_are_normal(dataset: fo.Dataset) -> None:
    ids = dataset.limit(4).values("id")
    fields = form("compute_segment_anomalies", dataset, selected=tuple(ids), normals="selected samples")
    assert fields["normals_count"]["view"]["label"] == "4 normal images"
    assert "normals_value" not in fields
    params = {"normals": "selected samples", "segments": "tiles:0.4:0.2", "key": "picked"}
    run("compute_segment_anomalies", dataset, {"selected": ids}, **params)
    assert segad.load_run(dataset, "picked").normals == 4
    with pytest.raises(REFUSED, match="normals"):
        run("compute_segment_anomalies", dataset, **{**params, "key": "none"})


def test_a_threshold_far_from_all_scores_is_refused(dataset: fo.Dataset) -> None:
    before = segad.load_run(dataset, "segad").thresholds
    message = form("set_threshold", dataset, key="segad", threshold="1e9")["threshold"]["error_message"]
    assert "far from all scores" in message
    for threshold in ("1e9", -1e9):
        with pytest.raises(REFUSED, match="far from all scores"):
            run("set_threshold", dataset, key="segad", threshold=threshold)
    assert segad.load_run(dataset, "segad").thresholds == before
