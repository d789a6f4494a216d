"""The operators as FiftyOne runs them from Python, and their forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
import yaml
from fiftyone.operators.delegated import DelegatedOperationService
from PIL import Image

import fiftyone_segad as segad
from conftest import PLUGIN, ROOT, needs_fastdup
from plugin_calls import form, plugin_module, run

pytestmark = needs_fastdup


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> Iterator[fo.Dataset]:
    made = dataset_of(pictures)
    made.limit(4).tag_samples("good")
    yield made


def test_the_plugin_lists_what_it_registers() -> None:
    listed = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    registered = {o.name for o in foo.list_operators() if o.plugin_name == PLUGIN}
    assert {*listed["operators"], *listed["panels"]} == registered
    assert listed["version"] == segad.__version__
    assert not foo.get_operator(f"{PLUGIN}/compute_segment_anomalies").config.unlisted


def test_compute_evaluate_delete(dataset: fo.Dataset, tmp_path: Path) -> None:
    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    dataset.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    dataset.skip(5).set_values("defect_mask", [fo.Segmentation(mask_path=str(tmp_path / "mask.png"))])

    scored = run("compute_segment_anomalies", dataset, key="ops", normals="tag", segments="tiles:0.4:0.2")
    assert scored["scored"] == 6
    assert segad.load_run(dataset, "ops").normals == 4
    assert dataset.sort_by("ops_score", reverse=True).first().filepath.endswith("5.png")
    evaluated = run("evaluate_anomalies", dataset, key="ops", eval_key="ops_eval")
    assert evaluated["image_auroc"] == 1
    assert "image" in evaluated["report"]
    assert dataset.has_sample_field("ops_eval")
    assert run("delete_run", dataset, key="ops") == {"deleted": "ops"}
    dataset.reload()
    assert not [name for name in dataset.get_field_schema() if name.startswith("ops")]


def test_the_original_method_is_one_operator(dataset: fo.Dataset) -> None:
    assert run("compute_segment_anomalies", dataset, method="within_image", grid=3)["scored"] == 6
    assert len(dataset.first().segad_segments.detections) == 9


def test_without_labels(dataset: fo.Dataset) -> None:
    result = run("compute_segment_anomalies", dataset, method="unlabeled", segments="grid:2", threshold="quantile:0.8")
    assert (result["scored"], result["flagged"]) == (6, 1)
    assert dataset.sort_by("segad_score", reverse=True).first().filepath.endswith("5.png")


def test_load_folder(sample_category: Path) -> None:
    result = run("load_folder", None, dataset_dir=str(sample_category), persistent=False)
    dataset = fo.load_dataset(result["dataset"])
    assert (result["samples"], result["problems"]) == (len(dataset), 0)
    dataset.delete()


def test_the_form_has_what_its_method_takes(dataset: fo.Dataset) -> None:
    reference = form("compute_segment_anomalies", dataset)
    assert not any(entry["invalid"] for entry in reference.values())
    assert reference["key"]["default"] == "segad" and reference["clean"]["default"] is False
    assert reference["align"]["default"] == "auto"
    original = form("compute_segment_anomalies", dataset, method="within_image")
    assert "grid" in original and "align" not in original
    unlabeled = form("compute_segment_anomalies", dataset, method="unlabeled")
    assert not {"normals", "rotations", "clean", "grid"} & set(unlabeled)
    assert unlabeled["threshold"]["default"] == "quantile:0.95" and unlabeled["align"]["default"] == "auto"


@pytest.mark.parametrize(("choice", "expected"), [("auto", None), ("always", True), ("never", False)])
def test_parts_are_laid_straight_as_chosen(dataset: fo.Dataset, choice: str, expected: bool | None) -> None:
    run("compute_segment_anomalies", dataset, normals="tag", align=choice)
    loaded = segad.load_run(dataset, "segad")
    assert loaded.settings["align"] is expected and loaded.aligned is (expected or False)


def test_the_form_offers_what_the_dataset_knows(dataset: fo.Dataset) -> None:
    dataset.set_values("split", ["train"] * 4 + ["test"] * 2)
    dataset.set_values("defect", [fo.Classification(label="good")] * 3 + [fo.Classification(label="dent")] * 3)
    dataset.save_view("chosen", dataset.limit(2))
    properties = form("compute_segment_anomalies", dataset)
    assert properties["normals"]["type"]["values"] == ["split", "tag", "saved view", "field value"]
    assert properties["normals"]["default"] == "split"
    counts = {
        ("split", "train"): 3,  # the training images that are good
        ("tag", "good"): 4,
        ("saved view", "chosen"): 2,
        ("field value", "good"): 3,
    }
    for (source, value), count in counts.items():
        properties = form("compute_segment_anomalies", dataset, normals=source, normals_value=value)
        assert properties["normals_count"]["view"]["label"] == f"{count} normal images", source


@pytest.mark.parametrize(
    ("embedder", "command"),
    [
        ("fastdup", "pip install --no-deps fastdup=="),
        ("efficientnet", "pip install onnxruntime"),
        ("auto", "pip install "),
    ],
)
def test_the_form_names_the_command_that_installs(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch, embedder: str, command: str
) -> None:
    fastdup = plugin_module("embedders.fastdup")
    monkeypatch.setattr(fastdup.importlib.util, "find_spec", lambda name: None)
    properties = form("compute_segment_anomalies", dataset, embedder=embedder)
    assert properties["embedder"]["invalid"]
    assert command in properties["embedder"]["error_message"]


def test_cancel_stops_a_run_which_goes_on_later(dataset: fo.Dataset) -> None:
    """A run sees the wish to cancel, keeps what it has, and the next one goes on."""
    execution = plugin_module("plugin.execution")
    monitor = execution._RunMonitor(str(dataset._doc.id), "segad")
    steps: list[int] = []

    def report(bar: Any) -> None:
        if bar.iteration == 3:
            assert execution.running(str(dataset._doc.id)) == ["segad"]
            assert run("cancel_run", dataset, name="segad") == {"cancelled": "segad"}
            monitor._reported = 0
        steps.append(bar.iteration)
        monitor.report(bar, lambda share, label: None)

    with monitor, pytest.raises(Exception, match="Run again with the same settings"):
        segad.compute_segment_anomalies(
            dataset, reference=dataset.match_tags("good"), segments="tiles:0.4:0.2", progress=report
        )
    assert segad.list_runs(dataset) == []
    assert max(steps) < 12, "it stopped before the end"
    assert execution.running(str(dataset._doc.id)) == []
    assert run("compute_segment_anomalies", dataset, normals="tag", segments="tiles:0.4:0.2")["scored"] == 6


def test_a_delegated_run_comes_to_its_end(dataset: fo.Dataset) -> None:
    """As with ``fiftyone delegated launch``, which executes what is queued by the same service."""
    service = DelegatedOperationService()
    request = {
        "dataset": dataset,
        "params": {"key": "later", "normals": "tag", "segments": "tiles:0.4:0.2"},
        "request_delegation": True,
    }
    queued = foo.execute_operator(f"{PLUGIN}/compute_segment_anomalies", request, request_delegation=True)
    queued.raise_exceptions()
    dataset.reload()
    assert segad.list_runs(dataset) == [], "it only waits"
    (operation,) = service.list_operations(dataset_name=dataset.name)
    assert operation.run_state == "queued"
    service.execute_queued_operations(dataset_name=dataset.name)
    (operation,) = service.list_operations(dataset_name=dataset.name)
    assert operation.run_state == "completed"
    assert operation.result.result["scored"] == 6
    assert "100%" in operation.status.label, "the Runs page shows how far it is"
    dataset.reload()
    assert segad.list_runs(dataset) == ["later"]
    assert set(dataset.values("later_pred.label")) == {"normal", "anomalous"}
    service.delete_operation(operation.id)
