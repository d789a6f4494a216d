"""What the panel says of a threshold, of the parts that the normal images show, and of drift."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

import fiftyone_segad as segad
from panel_page import Page
from parted_dataset import make_parts, part_image
from red_spots import spotted_set

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    made = make_parts(dataset_of, tmp_path)
    compute(made)
    return made


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    test, normals = (dataset.match(F("split") == split) for split in ("test", "train"))
    return segad.compute_segment_anomalies(test, reference=normals, overwrite=True, **options)


def test_the_threshold_is_told_in_images(dataset: fo.Dataset) -> None:
    about = Page(dataset).drawn["about"]["default"]
    share = segad.load_run(dataset, "segad").false_alarm_share
    assert f"At this threshold {share}" in about and "from 12 normal parts" in about


@pytest.mark.parametrize("align", [True, False])
def test_it_is_told_whether_parts_were_laid_straight(dataset: fo.Dataset, align: bool) -> None:
    compute(dataset, align=align)
    page = Page(dataset)
    assert (", parts laid straight. Flagged above" in page.drawn["about"]["default"]) is align
    run = segad.load_run(dataset, "segad")
    (Path(run.folder) / "levels.safetensors").write_bytes(b"damaged")
    assert ", parts laid straight" not in Page(dataset).drawn["about"]["default"]


def test_a_button_shows_the_pictures_of_one_part(dataset: fo.Dataset) -> None:
    page = Page(dataset)
    assert page.drawn["parts"]["view"]["label"] == "20 normal images in 12 parts"
    page.send("show_parts")
    view = fo.DatasetView._build(dataset, dict(page.requests)["set_view"]["view"])
    parts = view.values("part")
    assert sorted(parts) == sorted(f"part {part}" for part in range(4) for _ in range(3))
    assert all(len(set(parts[i : i + 3])) == 1 for i in range(0, 12, 3)), "part after part"


def test_without_groups_there_is_no_such_button(dataset: fo.Dataset) -> None:
    compute(dataset, groups=None)
    assert "parts" not in Page(dataset).drawn


def test_drift_is_told(dataset: fo.Dataset, tmp_path: Path) -> None:
    def notes() -> str:
        return " ".join(prop["view"]["label"] for name, prop in Page(dataset).drawn.items() if name.startswith("note"))

    assert "Drift" not in notes()
    files = [tmp_path / f"dark{part}.png" for part in range(6)]
    for part, file in enumerate(files):
        part_image(part + 40, 0, light=0.5).save(file)
    dataset.add_samples([fo.Sample(str(file), split="dark") for file in files])
    segad.score_new(dataset.match(F("split") == "dark"))
    assert "Drift: 100 of 100 scored images are all over less like the normal images" in notes()
    assert "darker" in notes()


def test_normal_images_that_seem_defective_are_told_with_what_forgives_them(
    dataset: fo.Dataset, dataset_of: Callable[..., fo.Dataset], tmp_path: Path
) -> None:
    assert "clean" not in Page(dataset).drawn
    folder = tmp_path / "spotted"
    folder.mkdir()
    dirty = spotted_set(dataset_of, folder, {7, *range(40, 50)})
    compute(dirty)
    drawn = Page(dirty).drawn
    assert drawn["note0"]["view"]["label"].startswith("Some normal images seem to be defective")
    assert "or tick 'Some normal images may be defective'" in drawn["note0"]["view"]["label"]
    assert drawn["clean"]["view"]["operator"].endswith("/compute_segment_anomalies")
    assert drawn["clean"]["view"]["params"] == {"clean": True}
