"""What an operator does not take: it is named under its field in the form, and neither run nor file comes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from conftest import needs_fastdup
from fiftyone_segad.registry.folders import dataset_folder
from plugin_calls import REFUSED, form, run


@pytest.fixture(scope="module")
def dataset(
    module_dataset_of: Callable[..., fo.Dataset], module_pictures: list[Path], module_colour_embedder: Any
) -> fo.Dataset:
    made = module_dataset_of(module_pictures)
    made.limit(4).tag_samples("good")
    made.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    segad.compute_segment_anomalies(made, reference=made.limit(4), threshold="quantile:0.8")
    return made


def content(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@needs_fastdup
@pytest.mark.parametrize(
    ("operator", "params", "field", "reason"),
    [
        ("load_folder", {"dataset_dir": "relative/path"}, "dataset_dir", "full path"),
        ("load_folder", {"dataset_dir": "/absent/folder"}, "dataset_dir", "no folder"),
        ("try_image", {}, "picture", "Required"),
        ("try_image", {"picture": {"name": "a.png", "content": "no picture"}}, "picture", "not base64"),
        ("try_image", {"picture": {"name": "a.png", "content": "AAAA"}}, "picture", "not an image"),
        ("try_image", {"picture": {"name": "a.png", "content": 7}}, "picture", "must be an uploaded file"),
        ("try_image", {"source": "upload", "picture": {"content": "/etc/passwd"}}, "picture", "not base64"),
        ("try_image", {"source": "upload", "picture": "/etc/passwd"}, "picture", "must be an uploaded file"),
        ("compute_segment_anomalies", {"key": "segad"}, "key", "Run 'segad' exists"),
        ("compute_segment_anomalies", {"key": "two words"}, "key", "letters, digits and underscores"),
        ("compute_segment_anomalies", {"key": "../up"}, "key", "must be letters"),
        ("compute_segment_anomalies", {"method": "magic"}, "method", "enum"),
        ("compute_segment_anomalies", {"segments": "hexagons"}, "segments", "is not known"),
        ("compute_segment_anomalies", {"segments": "/etc/passwd"}, "segments", "is not known"),
        ("compute_segment_anomalies", {"threshold": "fpr:7"}, "threshold", r"'fpr:7': .* in \(0, 1\)"),
        ("compute_segment_anomalies", {"threshold": "nan"}, "threshold", "not a threshold"),
        ("compute_segment_anomalies", {"align": "sideways"}, "align", "enum"),
        ("compute_segment_anomalies", {"rotations": 0}, "rotations", "whole number"),
        ("compute_segment_anomalies", {"rotations": 37}, "rotations", "too many; 8 are enough"),
        ("compute_segment_anomalies", {"method": "within_image", "grid": 0}, "grid", "whole number"),
        ("compute_segment_anomalies", {"method": "within_image", "grid": 1.5}, "grid", "whole number"),
        ("compute_segment_anomalies", {"normals": "tag", "normals_value": "bad"}, "normals_value", "enum"),
        ("compute_segment_anomalies", {"embedder": "torchhub:/tmp/evil:model"}, "embedder", "enum"),
        ("compute_segment_anomalies", {"embedder": "timm:resnet18"}, "embedder", "enum"),
        ("find_contamination", {"embedder": "torchhub:a/b:c"}, "embedder", "enum"),
        ("select_coreset", {"embedder": "timm:resnet18"}, "embedder", "enum"),
        ("score_new", {"source": "bank", "bank": "/absent/file"}, "bank", "no file '/absent/file'"),
        ("set_threshold", {"threshold": "often"}, "threshold", "not a threshold"),
        ("set_threshold", {"key": "../up", "threshold": 1.0}, "key", "enum"),
        ("evaluate_anomalies", {"eval_key": "two words"}, "eval_key", "must be letters"),
        ("evaluate_anomalies", {"eval_key": "../up"}, "eval_key", "must be letters"),
        ("evaluate_anomalies", {"gt_field": "/etc/passwd"}, "gt_field", "enum"),
        ("visualize_segments", {"max_images": 0}, "max_images", "whole number"),
        ("mark_normal", {}, "nothing", ""),
        ("mark_anomalous", {}, "nothing", ""),
        ("unmark", {}, "nothing", ""),
        ("second_opinions", {"max_images": 0}, "max_images", "whole number"),
        ("select_coreset", {"k": 5}, "k", "more than the 4"),
        ("save_bank", {}, "path", "Required"),
        ("save_bank", {"path": "relative/file"}, "path", "full path"),
        ("export_curated", {}, "folder", "Required"),
        ("export_curated", {"folder": "relative/folder"}, "folder", "full path"),
        ("export_curated", {"folder": "/absent/folder", "format": "Magic"}, "format", "enum"),
        ("find_duplicates", {"threshold": 2}, "threshold", r"in \(0, 1\]"),
        ("find_duplicates", {"key": "two words"}, "key", "must be letters"),
        ("image_quality", {"key": "two words"}, "key", "must be letters"),
        ("find_contamination", {"key": "two words"}, "key", "must be letters"),
        ("cancel_run", {"name": "absent"}, "nothing", ""),
        ("delete_run", {"key": "absent"}, "key", "enum"),
        ("delete_run", {}, "key", "Required"),
        ("delete_curation", {}, "no_curations", ""),
    ],
)
def test_it_is_refused_under_its_field(
    dataset: fo.Dataset, operator: str, params: dict[str, Any], field: str, reason: str
) -> None:
    before = content(dataset_folder(dataset))
    with pytest.raises(REFUSED, match=rf"Path: {field}\. Reason: .*{reason}"):
        run(operator, dataset, **params)
    invalid = {name for name, entry in form(operator, dataset, **params).items() if entry["invalid"]}
    assert invalid <= {field}, "nothing else is wrong"
    assert content(dataset_folder(dataset)) == before
    assert segad.list_runs(dataset) == ["segad"]


@needs_fastdup
def test_a_name_that_is_taken(dataset: fo.Dataset) -> None:
    assert form("load_folder", dataset, name=dataset.name)["name"]["invalid"]


@needs_fastdup
def test_nothing_is_deleted_unless_it_is_named(dataset: fo.Dataset) -> None:
    key = form("delete_run", dataset)["key"]
    assert key["required"] and key["default"] is None


def test_without_runs_and_normals_there_is_nothing_to_do(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path]
) -> None:
    dataset = dataset_of(pictures)
    for operator in ("evaluate_anomalies", "delete_run", "save_bank"):
        with pytest.raises(REFUSED, match="Path: no_runs"):
            run(operator, dataset)
    assert "nothing" in form("cancel_run", dataset)
    assert "no_normals" in form("compute_segment_anomalies", dataset)


def test_a_path_that_is_no_bank_tells_nothing_of_its_content(dataset: fo.Dataset, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(REFUSED, match="not a bank file") as caught:
        run("score_new", dataset, source="bank", bank=str(tmp_path / "precious.txt"), key="new")
    assert "mine" not in str(caught.value)


def test_a_sample_that_is_none_of_the_dataset(dataset: fo.Dataset) -> None:
    with pytest.raises(REFUSED, match="is no image of dataset"):
        run("try_image", dataset, sample_id="/etc/passwd")
