"""Duplicates: fastdup's own components, exact copies, the same part photographed again, leaks between splits."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from PIL import Image, ImageEnhance

import fiftyone_segad as segad
from conftest import PLUGIN, form, needs_fastdup, shared
from fiftyone_segad.curation import groups
from fiftyone_segad.curation.groups import connected_groups, equal_pairs, near_pairs, nearest
from fiftyone_segad.curation.parts import SAME_PART, correlations, describe, part_pairs
from fiftyone_segad.utils.images import pixel_digest

COMPONENTS = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import fastdup
found = fastdup.create(input_dir=sys.argv[1], work_dir=sys.argv[2])
found.run(overwrite=True, print_summary=False, ccthreshold=float(sys.argv[3]))
table = found.connected_components()[0]
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


def names_of(dataset: fo.Dataset, found: segad.Duplicates) -> set[frozenset[str]]:
    names = dict(zip(dataset.values("id"), dataset.values("filepath"), strict=True))
    return {frozenset(Path(names[id]).name for id in group) for group in found.groups}


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


def test_nearest_is_what_all_distances_say() -> None:
    rows = np.random.default_rng(1).normal(size=(50, 8))
    rows[7] = rows[3] * 5  # the same direction
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    products = unit @ unit.T
    np.fill_diagonal(products, -np.inf)
    similarities, found = nearest(rows, 3)
    np.testing.assert_allclose(similarities, -np.sort(-products, axis=1)[:, :3], atol=1e-5)
    np.testing.assert_array_equal(found, np.argsort(-products, axis=1)[:, :3])
    assert similarities[3, 0] == pytest.approx(1, abs=1e-6) and found[3, 0] == 7


def test_many_images_are_searched_by_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers are those of the exhaustive search but for few."""
    rows = np.random.default_rng(1).normal(size=(400, 8))
    exact = nearest(rows, 2)[1]
    monkeypatch.setattr(groups, "EXACT_IMAGES", 100)
    assert (nearest(rows, 2)[1] == exact).mean() > 0.95


@pytest.mark.parametrize("count", [1, 2, 5])
def test_equal_images_do_not_find_themselves(count: int) -> None:
    found = nearest(np.ones((count, 4)), 2)[1]
    assert found.shape == (count, min(2, count - 1))
    assert not (found == np.arange(count)[:, None]).any()


def test_near_pairs_at_the_threshold() -> None:
    angle = np.arccos(0.96)
    rows = np.array([[1, 0], [np.cos(angle * 0.99), np.sin(angle * 0.99)], [-1, 0]])
    assert {frozenset(pair) for pair in near_pairs(rows).tolist()} == {frozenset((0, 1))}
    rows[1] = [np.cos(angle * 1.01), np.sin(angle * 1.01)]
    assert len(near_pairs(rows)) == 0


def test_groups_are_in_order() -> None:
    pairs = np.array([[5, 1], [4, 0], [1, 3]])
    assert connected_groups(7, pairs) == [[0, 4], [1, 3, 5]]
    assert connected_groups(3, np.zeros((0, 2), np.int64)) == []
    assert equal_pairs(["a", "b", "a", "c", "b", "a"]).tolist() == [[0, 2], [1, 4], [0, 5]]


def test_digest_knows_pixels_and_size() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    other = picture.copy()
    other[2, 2, 1] ^= 1
    digests = {pixel_digest(each) for each in (picture, other, picture.reshape(4, 6, 3))}
    assert len(digests) == 3
    assert pixel_digest(np.asfortranarray(picture)) == pixel_digest(picture)


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
    found = segad.find_duplicates(copies, kind="exact")
    assert found.groups == [[ids[1], ids[6]], [ids[3], ids[7]]]
    assert found.kinds == ["exact", "exact"]
    assert found.leaks == [[ids[1], ids[6]]], "the other pair is in train only"
    assert found.surplus == [ids[6], ids[7]]
    assert found.view().values("id") == [ids[1], ids[6], ids[3], ids[7]]
    assert found.view(leaks=True).values("id") == [ids[1], ids[6]]
    assert [entry["id"] for entry in found.skipped] == [ids[8]] and "damaged.png" in found.skipped[0]["reason"]
    assert "2 groups of 4 images (2 exact)" in str(found) and "more than one split" in str(found)
    assert copies.list_runs() == [], "nothing is written without a key"
    with pytest.raises(ValueError, match="pass key="):
        found.grouped_view()


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
    found = segad.find_duplicates(copies, kind="exact", key="dup", tag="surplus")
    assert set(copies.get_field_schema()) - before == {"dup_group", "dup_kind", "dup_leak"}
    assert copies.values("dup_group") == [None, 0, None, 1, None, None, 0, 1, None]
    assert copies.values("dup_kind") == [None, "exact", None, "exact", None, None, "exact", "exact", None]
    assert copies.values("dup_leak") == [None, True, None, False, None, None, True, False, None]
    assert copies.match_tags("surplus").values("id") == found.surplus
    tiles = found.grouped_view()
    assert len(tiles) == 2 and tiles.media_type == "group"
    assert [len(tiles.get_dynamic_group(value)) for value in (0, 1)] == [2, 2]
    segad.delete_curation(copies, "dup")
    assert set(copies.get_field_schema()) == before
    assert copies.values("tags") == tags
    assert copies.list_runs() == []


def test_a_group_without_duplicates_is_none(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> None:
    dataset = dataset_of(pictures)
    found = segad.find_duplicates(dataset, kind="exact", key="dup")
    assert (found.groups, found.kinds, found.leaks, found.surplus) == ([], [], [], [])
    assert len(found.view()) == len(found.grouped_view()) == 0


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


def part(number: int) -> np.ndarray:
    """The surface of a part: noise at several scales, 0 to 1, with 20 px more a side than is pictured."""
    generator = np.random.default_rng(number)
    layers = [cv2.resize(generator.normal(size=(n, n)), (200, 240), interpolation=cv2.INTER_CUBIC) for n in (30, 60)]
    surface = np.sum(layers, axis=0)
    return (surface - surface.min()) / np.ptp(surface)


def picture(surface: np.ndarray, take: int) -> np.ndarray:
    """A picture of it, uint8 RGB: moved by up to 6 px, at another exposure, lit from another side, with noise."""
    generator = np.random.default_rng(take)
    x, y = generator.integers(4, 17, 2)
    seen = surface[y : y + 220, x : x + 180]
    light = np.linspace(*generator.uniform(0.3, 1, 2), seen.shape[1]) * generator.uniform(80, 220)
    values = (0.4 + 0.6 * seen) * light + generator.normal(0, 1, seen.shape)
    return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def test_parts_photographed_again() -> None:
    """Twelve parts, each pictured three times: their groups, and no other pair."""
    parts = [describe(picture(part(number), 3 * number + take)) for number in range(12) for take in range(3)]
    pairs, doubtful = part_pairs(parts)
    assert connected_groups(36, pairs) == [[3 * number, 3 * number + 1, 3 * number + 2] for number in range(12)]
    assert not doubtful
    values = correlations(parts[0], parts)
    assert values[0] == pytest.approx(1, abs=1e-2)
    assert values[1:3].min() > SAME_PART > values[3:].max()


def test_parts_of_one_shape_are_doubtful() -> None:
    """Each has a little texture of its own beside what all share: no gap tells the same part from another one."""
    shape = part(0)
    own = np.linspace(0.35, 0.65, 30)
    parts = [describe(picture(shape * (1 - share) + part(1 + i) * share, i)) for i, share in enumerate(own)]
    assert part_pairs(parts)[1]


def test_a_blank_image_is_no_part() -> None:
    blank = [describe(np.full((40, 50, 3), value, np.uint8)) for value in (0, 0, 200)]
    assert len(part_pairs(blank)[0]) == 0
    assert len(part_pairs(blank[:1])[0]) == 0


def test_parts_need_no_embedder(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    paths = []
    for number, take in ((0, 1), (1, 2), (0, 3)):
        paths.append(tmp_path / f"{number}_{take}.png")
        Image.fromarray(picture(part(number), take)).save(paths[-1])
    dataset = dataset_of(paths, split=["train", "train", "test"])
    ids = dataset.values("id")
    found = segad.find_duplicates(dataset, kind="part")
    assert found.groups == found.leaks == [[ids[0], ids[2]]]
    assert found.kinds == ["part"]
    assert segad.find_duplicates(dataset, kind="exact").groups == []


def test_parts_of_the_magnetic_tiles(dataset_of: Callable[..., fo.Dataset]) -> None:
    """Names tell most pictures of one part: their numbers follow closely while the exposure rises."""
    files = sorted((shared("magnetic_tile") / "train/good").iterdir(), key=lambda file: int(file.stem.split("_")[-1]))
    sizes = [Image.open(file).size for file in files]
    expected = set()
    for i, (a, b) in enumerate(itertools.pairwise(files)):
        near = int(b.stem.split("_")[-1]) - int(a.stem.split("_")[-1]) <= 120 and a.stem[3] < b.stem[3]
        if near and np.abs(np.divide(sizes[i], sizes[i + 1]) - 1).max() < 0.08:
            expected.add((a.name, b.name))
    assert len(expected) > 100
    dataset = dataset_of(files)
    found = segad.find_duplicates(dataset, kind="part")
    assert not found.warnings
    group = {name: number for number, names in enumerate(names_of(dataset, found)) for name in names}
    assert all(group.get(a) == group.get(b) is not None for a, b in expected)
    assert max(map(len, found.groups)) <= 6, "no group takes in other parts"


def test_screws_at_one_angle_are_doubtful(dataset_of: Callable[..., fo.Dataset]) -> None:
    files = sorted((shared("screw") / "train/good").iterdir())
    [warning] = segad.find_duplicates(dataset_of(files), kind="part").warnings
    assert "Look at the groups" in warning


def test_operator(copies: fo.Dataset) -> None:
    params = {"kind": "exact", "tag": "surplus"}
    result = foo.execute_operator(f"{PLUGIN}/find_duplicates", {"dataset": copies, "params": params}).result
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


def test_a_part_in_both_splits_of_the_real_tiles(dataset_of: Callable[..., fo.Dataset]) -> None:
    """Split by part, and yet one is on both sides: the numbers follow closely, at rising exposure."""
    folder = shared("magnetic_tile")
    expected = {"exp1_num_71177.jpg", "exp4_num_71245.jpg", "exp5_num_71267.jpg"}
    train, test = (sorted((folder / split / "good").iterdir()) for split in ("train", "test"))
    files = [file for file in train + test if file.name in expected] + train[:20] + test[:20]
    dataset = dataset_of(files, split=[file.parent.parent.name for file in files])
    found = segad.find_duplicates(dataset, kind="part")
    names = dict(zip(dataset.values("id"), (file.name for file in files), strict=True))
    assert [{names[id] for id in group} for group in found.leaks] == [expected]
