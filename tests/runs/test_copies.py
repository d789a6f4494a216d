"""An image is not compared with itself, by whatever path or copy it is among the images to compare with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from small_runs import compute, make_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")


def link(source: Path, target: Path) -> None:
    target.symlink_to(source)


@pytest.mark.parametrize("duplicate", [link, shutil.copyfile])
@pytest.mark.parametrize("method", ["reference", "unlabeled"])
def test_other_paths_of_the_same_image(
    dataset_of: Callable[..., fo.Dataset],
    pictures: list[Path],
    tmp_path: Path,
    duplicate: Callable[[Path, Path], object],
    method: str,
) -> None:
    by_path = make_dataset(dataset_of, pictures)
    elsewhere = []
    for picture in pictures:
        elsewhere.append(tmp_path / f"other-{picture.name}")
        duplicate(picture, elsewhere[-1])
    doubled = dataset_of([*pictures, *elsewhere])
    for dataset in (by_path, doubled):
        options = {"reference": dataset.limit(6)} if method == "reference" else {}
        segad.compute_segment_anomalies(dataset, method=method, segments="tiles:0.4:0.2", **options)
    right = by_path.values("segad_score")
    assert doubled.values("segad_score") == [*right, *right]
    run = segad.load_run(doubled, "segad")
    assert any("6 scored images are the same file as" in text for text in run.warnings)


def test_copies_among_the_normals_count_once_and_hide_no_defect(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path
) -> None:
    dataset = make_dataset(dataset_of, pictures)
    shutil.copyfile(pictures[0], tmp_path / "again.png")
    shutil.copyfile(pictures[5], tmp_path / "defect.png")
    run = compute(dataset)
    alone = dataset.last().segad_score
    doubled = dataset_of([*pictures[:4], tmp_path / "again.png"])
    assert compute(dataset, key="again", reference=doubled).normals == run.normals
    assert dataset.values("again_score") == dataset.values("segad_score")
    doubled.add_sample(fo.Sample(filepath=str(tmp_path / "defect.png")))
    hiding = compute(dataset, key="hiding", reference=doubled)
    assert hiding.normals == 5
    assert dataset.last().hiding_score >= alone * 0.5
    assert any("take out of the normal images what is not normal" in text for text in hiding.warnings)


def test_an_image_of_the_bank_that_comes_again_later(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path
) -> None:
    dataset = make_dataset(dataset_of, pictures)
    segad.compute_segment_anomalies(dataset, reference=dataset.limit(4), segments="tiles:0.4:0.2")
    link(pictures[1], tmp_path / "later.png")
    dataset.add_sample(fo.Sample(filepath=str(tmp_path / "later.png")))
    run = segad.score_new(dataset, "segad")
    (warning,) = (text for text in run.warnings if "1 scored image is the same file as a normal image" in text)
    assert f"{tmp_path / 'later.png'} and {pictures[1]}" in warning
    assert warning in segad.load_run(dataset, "segad").warnings
    assert dataset.last().segad_score == dataset.values("segad_score")[1]
