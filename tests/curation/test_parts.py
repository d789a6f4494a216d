"""The same part, photographed again: found by its texture, in made pictures and in real ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from conftest import shared
from fiftyone_segad.curation.groups import connected_groups
from fiftyone_segad.curation.parts import SAME_PART, correlations, describe, part_pairs


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
    duplicates = segad.find_duplicates(dataset, kind="part")
    assert duplicates.groups == duplicates.leaks == [[ids[0], ids[2]]]
    assert duplicates.kinds == ["part"]
    assert segad.find_duplicates(dataset, kind="exact").groups == []


@pytest.mark.slow
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
    duplicates = segad.find_duplicates(dataset, kind="part")
    assert not duplicates.warnings
    group = {
        name: number
        for number, names in enumerate(
            [[Path(dataset[id].filepath).name for id in group] for group in duplicates.groups]
        )
        for name in names
    }
    assert all(group.get(a) == group.get(b) is not None for a, b in expected)
    assert max(map(len, duplicates.groups)) <= 6, "no group takes in other parts"


@pytest.mark.slow
def test_screws_at_one_angle_are_doubtful(dataset_of: Callable[..., fo.Dataset]) -> None:
    files = sorted((shared("screw") / "train/good").iterdir())
    [warning] = segad.find_duplicates(dataset_of(files), kind="part").warnings
    assert "Look at the groups" in warning


@pytest.mark.slow
def test_a_part_in_both_splits_of_the_real_tiles(dataset_of: Callable[..., fo.Dataset]) -> None:
    """Split by part, and yet one is on both sides: the numbers follow closely, at rising exposure."""
    folder = shared("magnetic_tile")
    expected = {"exp1_num_71177.jpg", "exp4_num_71245.jpg", "exp5_num_71267.jpg"}
    train, test = (sorted((folder / split / "good").iterdir()) for split in ("train", "test"))
    files = [file for file in train + test if file.name in expected] + train[:20] + test[:20]
    dataset = dataset_of(files, split=[file.parent.parent.name for file in files])
    duplicates = segad.find_duplicates(dataset, kind="part")
    names = dict(zip(dataset.values("id"), (file.name for file in files), strict=True))
    assert [{names[id] for id in group} for group in duplicates.leaks] == [expected]
