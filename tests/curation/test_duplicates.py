"""Duplicates: fastdup's own components, exact copies, leaks between splits, fields and their removal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest
from PIL import Image, ImageEnhance

import fiftyone_segad as segad
from conftest import needs_fastdup, shared
from plugin_calls import form, run

COMPONENTS = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import fastdup
run = fastdup.create(input_dir=sys.argv[1], work_dir=sys.argv[2])
run.run(overwrite=True, print_summary=False, ccthreshold=float(sys.argv[3]))
table = run.connected_components()[0]
groups = {}
if len(table):
    for name, component in zip(table["filename"], table["component_id"]):
        groups.setdefault(int(component), []).append(os.path.basename(name))
answers.write(json.dumps(list(groups.values())))
"""


def fastdup_components(folder: Path, work: Path, threshold: float) -> set[frozenset[str]]:
    """The components of two images or more that the real fastdup finds, in a process of its own."""
    environment = {**os.environ, "SENTRY_OPT_OUT": "1"}
    command = [sys.executable, "-c", COMPONENTS, str(folder), str(work), str(threshold)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {frozenset(group) for group in json.loads(done.stdout) if len(group) > 1}


def names_of(dataset: fo.Dataset, duplicates: segad.Duplicates) -> set[frozenset[str]]:
    names = dict(zip(dataset.values("id"), dataset.values("filepath"), strict=True))
    return {frozenset(Path(names[id]).name for id in group) for group in duplicates.groups}


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Textures and photographs, each with versions from hardly changed to clearly changed."""
    import skimage.data

    folder = tmp_path_factory.mktemp("varied")
    for name in ("astronaut", "brick", "coffee", "grass", "gravel", "rocket"):
        image = Image.fromarray(getattr(skimage.data, name)()).convert("RGB").resize((320, 260))
        image.save(folder / f"{name}.png")
        image.save(folder / f"{name}_jpeg.jpg", quality=60)
        ImageEnhance.Brightness(image).enhance(0.6).save(folder / f"{name}_dim.png")
        image.crop((10, 8, 310, 252)).save(folder / f"{name}_crop.png")
        image.rotate(90, expand=True).save(folder / f"{name}_turned.png")
    return folder


@needs_fastdup
@pytest.mark.parametrize("threshold", [0.96, 0.9, 0.85])
def test_near_groups_are_those_of_fastdup(
    varied: Path, tmp_path: Path, dataset_of: Callable[..., fo.Dataset], threshold: float
) -> None:
    dataset = dataset_of(sorted(varied.iterdir()))
    expected = fastdup_components(varied, tmp_path / "work", threshold)
    assert len(expected) > 1, "else the comparison says little"
    assert names_of(dataset, segad.find_duplicates(dataset, threshold=threshold)) == expected


@pytest.mark.slow
@needs_fastdup
@pytest.mark.parametrize(("category", "threshold"), [("screw", 0.96), ("magnetic_tile", 0.96), ("magnetic_tile", 0.93)])
def test_near_groups_are_those_of_fastdup_on_real_images(
    category: str, threshold: float, tmp_path: Path, dataset_of: Callable[..., fo.Dataset]
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for file in sorted((shared(category) / "train/good").iterdir())[:40]:
        (folder / file.name).symlink_to(file)
    dataset = dataset_of(sorted(folder.iterdir()))
    expected = fastdup_components(folder, tmp_path / "work", threshold)
    assert expected
    assert names_of(dataset, segad.find_duplicates(dataset, threshold=threshold)) == expected


@pytest.fixture
def copies(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path) -> fo.Dataset:
    """Six pictures, a copy of the second as a file of other bytes, one of the fourth, and a damaged file."""
    with Image.open(pictures[1]) as image:
        image.save(tmp_path / "again.bmp")
    (tmp_path / "fourth.png").write_bytes(pictures[3].read_bytes())
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG")
    paths = [*pictures, tmp_path / "again.bmp", tmp_path / "fourth.png", tmp_path / "damaged.png"]
    return dataset_of(paths, split=["train"] * 6 + ["test", "train", "test"])


def test_exact_copies_and_leaks(copies: fo.Dataset) -> None:
    ids = copies.values("id")
    duplicates = segad.find_duplicates(copies, kind="exact")
    assert duplicates.groups == [[ids[1], ids[6]], [ids[3], ids[7]]]
    assert duplicates.kinds == ["exact", "exact"]
    assert duplicates.leaks == [[ids[1], ids[6]]], "the other pair is in train only"
    assert duplicates.surplus == [ids[6], ids[7]]
    assert duplicates.view().values("id") == [ids[1], ids[6], ids[3], ids[7]]
    assert duplicates.view(leaks=True).values("id") == [ids[1], ids[6]]
    assert [entry["id"] for entry in duplicates.skipped] == [ids[8]] and "damaged.png" in duplicates.skipped[0][
        "reason"
    ]
    assert "2 groups of 4 images (2 exact)" in str(duplicates) and "more than one split" in str(duplicates)
    assert copies.list_runs() == [], "nothing is written without a key"
    with pytest.raises(ValueError, match="pass key="):
        duplicates.grouped_view()


def test_splits_may_be_tags(copies: fo.Dataset) -> None:
    copies.delete_sample_field("split")
    assert segad.find_duplicates(copies, kind="exact").leaks == []
    copies.limit(6).tag_samples("train")
    copies.skip(6).tag_samples("test")
    assert len(segad.find_duplicates(copies, kind="exact").leaks) == 2
    with pytest.raises(ValueError, match="split_field='fold' does not exist"):
        segad.find_duplicates(copies, kind="exact", split_field="fold")


def test_fields_and_their_removal(copies: fo.Dataset) -> None:
    before, tags = set(copies.get_field_schema()), copies.values("tags")
    duplicates = segad.find_duplicates(copies, kind="exact", key="dup", tag="surplus")
    assert set(copies.get_field_schema()) - before == {"dup_group", "dup_kind", "dup_leak"}
    assert copies.values("dup_group") == [None, 0, None, 1, None, None, 0, 1, None]
    assert copies.values("dup_kind") == [None, "exact", None, "exact", None, None, "exact", "exact", None]
    assert copies.values("dup_leak") == [None, True, None, False, None, None, True, False, None]
    assert copies.match_tags("surplus").values("id") == duplicates.surplus
    tiles = duplicates.grouped_view()
    assert len(tiles) == 2 and tiles.media_type == "group"
    assert [len(tiles.get_dynamic_group(value)) for value in (0, 1)] == [2, 2]
    segad.delete_curation(copies, "dup")
    assert set(copies.get_field_schema()) == before
    assert copies.values("tags") == tags
    assert copies.list_runs() == []


def test_a_group_without_duplicates_is_none(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> None:
    dataset = dataset_of(pictures)
    duplicates = segad.find_duplicates(dataset, kind="exact", key="dup")
    assert (duplicates.groups, duplicates.kinds, duplicates.leaks, duplicates.surplus) == ([], [], [], [])
    assert len(duplicates.view()) == len(duplicates.grouped_view()) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "similar"}, "kind='similar'"),
        ({"threshold": 0.0}, r"\(0, 1\]"),
        ({"threshold": 1.5}, r"\(0, 1\]"),
        ({"kind": "part", "threshold": 0.9}, "for kind='near'"),
        ({"tag": "twice"}, "needs a key"),
        ({"key": "a b"}, "key='a b'"),
        ({"split_field": "filepath_of"}, "does not exist"),
        ({"num_workers": -1}, "num_workers"),
    ],
)
def test_wrong_parameters(copies: fo.Dataset, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segad.find_duplicates(copies, **arguments)


def test_nothing_to_read(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(segad.SegadError, match="None of the 1 images"):
        segad.find_duplicates(dataset_of([tmp_path / "empty.png"]), kind="exact")


@needs_fastdup
def test_an_image_too_small_for_fastdup_is_left_out(copies: fo.Dataset, tmp_path: Path) -> None:
    Image.new("RGB", (9, 40)).save(tmp_path / "slim.png")
    copies.add_sample(fo.Sample(filepath=str(tmp_path / "slim.png")))
    reasons = {Path(entry["filepath"]).name: entry["reason"] for entry in segad.find_duplicates(copies).skipped}
    assert set(reasons) == {"damaged.png", "slim.png"} and "9 x 40 px is too small" in reasons["slim.png"]


def test_operator(copies: fo.Dataset) -> None:
    result = run("find_duplicates", copies, kind="exact", tag="surplus")
    assert (result["groups"], result["images"], result["leaks"], result["skipped"]) == (2, 4, 1, 1)
    assert "damaged.png" in result["messages"]
    copies.reload()
    assert copies.count_values("tags") == {"surplus": 2}
    assert segad.list_curations(copies) == ["duplicates"]


@needs_fastdup
def test_the_form_says_what_is_wrong_under_the_field(copies: fo.Dataset) -> None:
    assert not any(prop["invalid"] for prop in form("find_duplicates", copies).values())
    assert form("find_duplicates", copies, threshold=2)["threshold"]["invalid"]
    assert "threshold" not in form("find_duplicates", copies, kind="part")
    copies.limit(1).tag_samples("mine")
    assert "in use" in form("find_duplicates", copies, tag="mine")["tag"]["error_message"]
