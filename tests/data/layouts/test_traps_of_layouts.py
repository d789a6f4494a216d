"""load_folder where copies, links, damaged tables and archives unpacked twice lie among the files of a layout."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
import layout_folders
from fiftyone_segad.data.folders import look_into
from layout_folders import picture, text

Load = Callable[..., fo.Dataset]

JSON = "realiad_jsons/realiad_jsons/audiojack.json"


def counts(dataset: fo.Dataset) -> dict[str | None, int]:
    return dict(dataset.count_values("defect.label"))


@pytest.mark.parametrize("name", [" (1)", "(1)", " - Copy", " - Copy (2)", " copy", " copy 2"])
def test_a_copy_of_a_mask_of_kolektor_is_no_image(tmp_path: Path, load: Load, name: str) -> None:
    root = layout_folders.kolektor_sdd2(tmp_path)
    shutil.copy(root / "train/10001_GT.png", root / f"train/10001_GT{name}.png")
    dataset = load(root)
    assert counts(dataset) == {"good": 2, "defect": 2}
    (problem,) = dataset.info["problems"]
    assert problem.endswith(f"10001_GT{name}.png' is a mask without an image")
    shutil.copy(root / "train/10001.png", root / f"train/10001{name}.png")
    assert counts(load(root)) == {"good": 2, "defect": 3}, "a copied pair belongs together"


@pytest.mark.skipif(sys.platform == "win32", reason="links")
@pytest.mark.parametrize(
    ("make", "place"),
    [
        (layout_folders.mpdd, "bracket_black/test/hole"),
        (layout_folders.mpdd, "bracket_black/test"),
        (layout_folders.btad, "01/ground_truth/ko"),
        (layout_folders.mvtec_3d, "bagel/test/hole/rgb"),
    ],
)
def test_a_link_to_a_folder_above_leads_to_no_further_images(
    tmp_path: Path, load: Load, make: Callable[[Path], Path], place: str
) -> None:
    root = make(tmp_path / "data")
    expected = counts(load(root))
    for target in (root, (root / place).parent):
        link = root / place / "all"
        link.symlink_to(target)
        dataset = load(root)
        assert counts(dataset) == expected and dataset.info["problems"] == []
        link.unlink()


def test_categories_in_folders_of_their_own_name(tmp_path: Path, load: Load) -> None:
    """Windows unpacks ``pipe_clip.zip`` into a folder ``pipe_clip``, and the archive has one, too."""
    for category in ("pipe_clip", "tank_screw"):
        made = layout_folders.autovi(tmp_path / "made") / "pipe_clip"
        shutil.move(made, tmp_path / "AutoVI" / category / category)
    content = look_into(tmp_path / "AutoVI")
    assert content.layout.name == "autovi" and content.present == ["pipe_clip", "tank_screw"]
    dataset = load(tmp_path / "AutoVI", categories="tank_screw")
    assert counts(dataset) == {"good": 2, "unclipped": 1} and dataset.info["problems"] == []
    assert set(dataset.values("category.label")) == {"tank_screw"}


def test_real_iad_in_folders_of_their_own_name(tmp_path: Path, load: Load) -> None:
    root = layout_folders.real_iad(tmp_path)
    folder = root / "realiad_1024/audiojack"
    shutil.move(folder, root / "moved")
    shutil.rmtree(root / "realiad_256")
    shutil.move(root / "moved", folder / "audiojack")
    dataset = load(root)
    assert counts(dataset) == {"good": 2, "pit": 1} and dataset.info["problems"] == []
    assert "NG/AK/S0001" in dataset.values("part_id")


@pytest.mark.parametrize(
    "change", [{"image_path": None}, {"image_path": 3}, {"anomaly_class": None}, {"mask_path": ["a.png"]}]
)
def test_an_entry_of_real_iad_without_a_text_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """A missing class is not that of a good part."""
    root = layout_folders.real_iad(tmp_path)
    described = json.loads((root / JSON).read_text())
    described["test"][1].update(change)
    text(root / JSON, json.dumps(described))
    with pytest.raises(ValueError, match=r"audiojack.json' is not a JSON file of Real-IAD: 'test' .* its number 1 is"):
        segad.load_folder(root)


@pytest.mark.parametrize("content", ["", "[1]", "{", "[" * 100_000])
def test_a_file_of_real_iad_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    root = layout_folders.real_iad(tmp_path)
    text(root / JSON, content)
    with pytest.raises(ValueError, match=r"audiojack.json' is not a JSON file of Real-IAD: it is damaged"):
        segad.load_folder(root)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../../../../notes.txt", "its suffix is none of an image"),
        ("a" * 5000 + ".jpg", "there is no such file"),
        ("a\0b.jpg", "there is no such file"),
        ("a\ud800b.jpg", "there is no such file"),
    ],
)
def test_names_in_real_iad_that_lead_to_no_image(tmp_path: Path, load: Load, name: str, said: str) -> None:
    root = layout_folders.real_iad(tmp_path / "a" / "b")
    text(tmp_path / "notes.txt", "no image")
    described = json.loads((root / JSON).read_text())
    described["test"][0]["image_path"] = name
    text(root / JSON, json.dumps(described))
    dataset = load(root)
    assert counts(dataset) == {"good": 2}
    (problem,) = dataset.info["problems"]
    assert problem.endswith(f"is in 'audiojack.json', but {said}")


def test_one_table_of_visa_that_windows_has_saved(tmp_path: Path, load: Load) -> None:
    root = layout_folders.visa(tmp_path)
    splits = root / "split_csv/1cls.csv"
    splits.write_text(splits.read_text().replace("/", "\\"))
    dataset = load(root)
    assert counts(dataset) == {"good": 3, "wax melded out of the candle": 1, "chunk of wax missing,other": 1}
    assert dataset.info["problems"] == []


def test_visa_beside_its_one_class_form_is_loaded_once(tmp_path: Path, load: Load) -> None:
    """As anomalib leaves it."""
    layout_folders.visa_one_class(layout_folders.visa(tmp_path) / "visa_pytorch")
    assert len(load(tmp_path)) == 5 and look_into(tmp_path).layout.name == "visa"


@pytest.mark.parametrize("value", [3, None, "", " ", ["a"]])
def test_what_is_no_path_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"dataset_dir=.* must be the path of a folder, or of a table"):
        segad.load_folder(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"categories": 3}, "categories=3 must be a name or a list of names"),
        ({"categories": [3]}, r"categories=\[3\] must be"),
        ({"columns": ["image"]}, r"columns=\['image'\] must be names of columns"),
        ({"columns": {"image": 3}}, r"columns=\{'image': 3\} must be names of columns"),
        ({"columns": {"image": "a"}, "layout": "mvtec"}, "and layout='mvtec'; leave one of them out"),
    ],
)
def test_arguments_of_other_types_are_refused(tmp_path: Path, arguments: dict[str, object], said: str) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(ValueError, match=said):
        segad.load_folder(tmp_path, **arguments)  # type: ignore[arg-type]
