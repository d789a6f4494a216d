"""The form of load_folder: what is in a folder is said before it is loaded."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import pytest

import layout_folders
from layout_folders import picture, text
from plugin_calls import form, plugin_module, run


def test_the_form_says_what_it_found(tmp_path: Path) -> None:
    shown = form("load_folder", None, dataset_dir=str(layout_folders.visa(tmp_path)))
    assert shown["found"]["view"]["label"].startswith("VisA, 2 categories: 2 good to train on, 1 good and 2 defective")
    assert [choice["value"] for choice in shown["categories"]["view"]["choices"]] == ["candle", "pipe_fryum"]
    assert "others" not in shown and "image_column" not in shown
    one = form("load_folder", None, dataset_dir=str(tmp_path), categories=["pipe_fryum"])
    assert one["found"]["view"]["label"] == "VisA: 1 good to train on"
    assert "categories" in one, "the others can still be added"


def test_a_layout_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    shown = form("load_folder", None, dataset_dir=str(tmp_path), layout="real_iad")
    assert shown["dataset_dir"]["invalid"] and "not in the layout of Real-IAD" in shown["dataset_dir"]["error_message"]
    assert "found" not in shown


def test_images_alone_can_be_called_normal(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert "others" in form("load_folder", None, dataset_dir=str(tmp_path))
    for others, expected in (("normal", {"good": 1}), ("unknown", {None: 1})):
        result = run("load_folder", None, dataset_dir=str(tmp_path), others=others, persistent=False)
        dataset = fo.load_dataset(result["dataset"])
        assert dataset.count_values("defect.label") == expected
        dataset.delete()


def test_columns_of_a_table_can_be_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table = text(tmp_path / "list.csv", "Bild,Fehler", "a.png,Riss")
    shown = form("load_folder", None, dataset_dir=str(table))
    assert "is known to name images" in shown["dataset_dir"]["error_message"]
    params = {"dataset_dir": str(table), "image_column": "Bild", "label_column": "Fehler"}
    assert form("load_folder", None, **params)["found"]["view"]["label"] == "A table: 1 defective"
    dataset = fo.load_dataset(run("load_folder", None, **params, persistent=False)["dataset"])
    assert dataset.values("defect.label") == ["Riss"]
    dataset.delete()


def test_a_form_does_not_go_through_a_whole_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_module("plugin.operators.load_folder"), "_COUNTED", 3)
    for index in range(5):
        picture(tmp_path / f"{index}.png")
    shown = form("load_folder", None, dataset_dir=str(tmp_path))
    assert shown["found"]["view"]["label"] == "Images: more than 3 files, which are counted when they are loaded"
