"""Forms: what an operator is known by, how long it takes, and where it may run."""

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
from conftest import PLUGIN, ROOT
from plugin_calls import form, run

OPERATORS = yaml.safe_load((ROOT / "fiftyone.yml").read_text())["operators"]


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], colour_embedder: Any) -> fo.Dataset:
    made = dataset_of(pictures)
    made.limit(4).tag_samples("good")
    made.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    segad.compute_segment_anomalies(made, reference=made.limit(4), threshold="quantile:0.8")
    return made


@pytest.mark.parametrize("operator", OPERATORS)
def test_each_operator_is_known_by_its_group_an_icon_and_what_it_does(operator: str) -> None:
    config = foo.get_operator(f"{PLUGIN}/{operator}").config
    assert config.label.startswith("Anomalies: ")
    assert config.icon
    assert config.description


def test_the_sample_dataset_is_one_click_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path))
    dataset = fo.load_dataset(run("load_folder", None, source="sample", persistent=False)["dataset"])
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

    dataset.add_sample(fo.Sample(dataset.first().filepath))  # without a score, which score_new is for
    last = segad.load_run(dataset, "segad")
    rate = (last.scored + last.normals) / sum(last.seconds.values())
    params = {"embedder": last.embedder, "key": {"compute_segment_anomalies": "another"}.get(operator, "segad")}
    assert f"run 'segad' with {last.embedder} did about {rate:.2g} images per second" in label(**params)
    if operator not in ("score_new", "visualize_segments"):  # which have the embedder of their run
        other = "fastdup" if last.embedder == "efficientnet" else "efficientnet"
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
