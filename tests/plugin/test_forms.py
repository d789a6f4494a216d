"""Each operator's form tells what is wrong under the field that is wrong, and cannot be executed then."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import pytest
import yaml

import fiftyone_segad as segad
from conftest import PLUGIN, ROOT, form, needs_fastdup

OPERATORS = yaml.safe_load((ROOT / "fiftyone.yml").read_text())["operators"]


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], colour_embedder: Any) -> fo.Dataset:
    made = dataset_of(pictures)
    made.limit(4).tag_samples("good")
    made.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    segad.compute_segment_anomalies(made, reference=made.limit(4), threshold="quantile:0.8")
    return made


@needs_fastdup
@pytest.mark.parametrize(
    ("operator", "field", "params"),
    [
        ("load_mvtec", "dataset_dir", {"dataset_dir": "relative/path"}),
        ("load_mvtec", "dataset_dir", {"dataset_dir": "/absent/folder"}),
        ("try_image", "picture", {"picture": {"name": "a.png", "content": "no picture"}}),
        ("compute_segment_anomalies", "key", {"key": "segad"}),
        ("compute_segment_anomalies", "key", {"key": "two words"}),
        ("compute_segment_anomalies", "segments", {"segments": "hexagons"}),
        ("compute_segment_anomalies", "threshold", {"threshold": "fpr:7"}),
        ("compute_segment_anomalies", "rotations", {"rotations": 0}),
        ("compute_segment_anomalies", "grid", {"method": "within_image", "grid": 0}),
        ("score_new", "bank", {"source": "bank", "bank": "/absent/file.safetensors"}),
        ("score_new", "key", {"source": "bank", "key": "two words"}),
        ("set_threshold", "threshold", {"threshold": "often"}),
        ("evaluate_anomalies", "eval_key", {"eval_key": "two words"}),
        ("visualize_segments", "max_images", {"max_images": 0}),
        ("mark_normal", "nothing", {}),
        ("mark_anomalous", "nothing", {}),
        ("unmark", "nothing", {}),
        ("second_opinions", "max_images", {"max_images": 0}),
        ("select_coreset", "k", {"k": 5}),
        ("save_bank", "path", {"path": "relative/file"}),
        ("export_curated", "folder", {"folder": "relative/folder"}),
        ("find_duplicates", "threshold", {"threshold": 2}),
        ("find_duplicates", "key", {"key": "two words"}),
        ("image_quality", "key", {"key": "two words"}),
        ("find_contamination", "key", {"key": "two words"}),
        ("cancel_run", "nothing", {}),
        ("delete_curation", "no_curations", {}),
    ],
)
def test_what_is_wrong_is_told_under_its_field(
    dataset: fo.Dataset, operator: str, field: str, params: dict[str, Any]
) -> None:
    properties = form(operator, dataset, **params)
    assert properties[field]["invalid"]
    assert properties[field]["error_message"] or properties[field]["view"]["label"]
    others = {name for name, prop in properties.items() if prop["invalid"]} - {field}
    assert not others, "nothing else is wrong"


@needs_fastdup
def test_a_name_that_is_taken_is_told(dataset: fo.Dataset) -> None:
    assert form("load_mvtec", dataset, name=dataset.name)["name"]["invalid"]


@needs_fastdup
def test_nothing_is_deleted_unless_it_is_named(dataset: fo.Dataset) -> None:
    properties = form("delete_run", dataset)
    assert properties["key"]["required"]
    assert properties["key"]["default"] is None


@pytest.mark.parametrize("operator", OPERATORS)
def test_each_operator_is_known_by_its_group_an_icon_and_what_it_does(operator: str) -> None:
    config = foo.get_operator(f"{PLUGIN}/{operator}").config
    assert config.label.startswith("Anomalies: ")
    assert config.icon
    assert config.description


def test_the_sample_dataset_is_one_click_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path))
    execution = foo.execute_operator(f"{PLUGIN}/load_mvtec", {"params": {"source": "sample", "persistent": False}})
    execution.raise_exceptions()
    dataset = fo.load_dataset(execution.result["dataset"])
    try:
        assert dataset.count_values("split") == {"train": 24, "test": 32}
        assert dataset.count_values("defect.label")["good"] == 36
        assert Path(dataset.first().filepath).is_relative_to(tmp_path)
    finally:
        dataset.delete()


@pytest.mark.parametrize(
    "operator", ["compute_segment_anomalies", "score_new", "visualize_segments", "select_coreset", "find_contamination"]
)
def test_a_form_tells_how_fast_the_last_run_with_its_embedder_was(dataset: fo.Dataset, operator: str) -> None:
    def label(**params: Any) -> str:
        return form(operator, dataset, **params)["count"]["view"]["label"]

    run = segad.load_run(dataset, "segad")
    rate = (run.scored + run.normals) / sum(run.seconds.values())
    params = {"embedder": run.embedder, "key": {"compute_segment_anomalies": "another"}.get(operator, "segad")}
    assert f"run 'segad' with {run.embedder} did about {rate:.2g} images per second" in label(**params)
    if operator not in ("score_new", "visualize_segments"):  # which have the embedder of their run
        other = "fastdup" if run.embedder == "efficientnet" else "efficientnet"
        assert "per second" not in label(**{**params, "embedder": other}), "nothing is known of that one"


def test_before_the_first_run_nothing_is_told_of_speed(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], colour_embedder: Any
) -> None:
    dataset = dataset_of(pictures)
    dataset.limit(4).tag_samples("good")
    assert form("compute_segment_anomalies", dataset)["count"]["view"]["label"] == "6 images will be scored"


@pytest.mark.parametrize("installed", [True, False])
def test_a_cluster_is_offered_where_ray_is_installed(
    dataset: fo.Dataset, installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: (object() if installed else None) if name in ("ray", "pyarrow") else real(name, *rest),
    )
    found = form("compute_segment_anomalies", dataset, method="unlabeled").get("executor")
    assert (found is not None) == installed
    if installed:
        assert found["default"] == "local" and found["type"]["values"] == ["local", "ray"]
