"""Review and curation in a real browser: each begins with what a person clicks, and ends with what is stored."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

import fiftyone_segad as segad
from app_page import app_page, button, close, execute, needs_chromium, open_form, select_first, wait_until_idle

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]

NAME = "segad-review-test"
LEAK, DARK = "train/good/leak.png", "train/good/dark.png"


@pytest.fixture(scope="module")
def dataset(sample_category: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[fo.Dataset]:
    """A run on the sample category; among its training images are a good test image and one that is far too dark."""
    folder = tmp_path_factory.mktemp("review") / "brick"
    shutil.copytree(sample_category, folder)
    shutil.copyfile(sorted((folder / "test/good").iterdir())[0], folder / LEAK)
    usual = np.asarray(Image.open(folder / LEAK))
    Image.fromarray(usual[:, ::-1] // 10).save(folder / DARK)
    made = segad.load_mvtec(folder, name=NAME, persistent=True)
    normals = made.match((F("split") == "train") & ~F("filepath").ends_with(("leak.png", "dark.png")))
    segad.compute_segment_anomalies(made.match(F("split") == "test"), reference=normals, progress=False)
    yield made
    for key in segad.list_runs(made):
        segad.delete_run(made, key)
    made.delete()


@pytest.fixture(scope="module")
def page(dataset: fo.Dataset) -> Iterator[Any]:
    with app_page(dataset) as made:
        made.get_by_text("images by").wait_for()
        yield made


def shown(page: Any, count: str) -> None:
    """Waits until the grid says how much it shows."""
    page.get_by_text(re.compile(rf"^{count}$")).first.wait_for()


def show_all(page: Any, dataset: fo.Dataset) -> None:
    button(page, "All").click()
    shown(page, f"{len(dataset)} samples")


def open_view(page: Any, name: str) -> None:
    """Opens a saved view, which the page knows after it is loaded anew."""
    page.reload()
    page.get_by_text("images by").wait_for()
    page.get_by_text("Unsaved view").first.click()
    page.get_by_text(name, exact=True).last.click()


def marks(dataset: fo.Dataset) -> list[tuple[str, str, str]]:
    dataset.reload()
    return [(mark.label, mark.kind, mark.why) for mark in segad.list_marks(dataset, "segad")]


def test_a_false_alarm_is_marked_and_learnt(page: Any, dataset: fo.Dataset) -> None:
    button(page, "Highest").click()
    shown(page, f"{len(dataset.exists('segad_score'))} samples")
    select_first(page)
    button(page, "Normal").click()
    page.get_by_text("1 selected sample: ").wait_for()
    page.get_by_role("textbox").last.fill("it is the pattern")
    wait_until_idle(page)
    execute(page, "Marked")
    assert page.get_by_text("calls normal what the ground truth calls a defect").count(), "it is told at once"
    close(page)
    dataset.reload()
    highest = dataset.sort_by("segad_score", reverse=True).first()
    assert marks(dataset) == [("normal", "sample", "it is the pattern")]
    assert segad.list_marks(dataset, "segad")[0].sample_id == highest.id
    button(page, "Rescore").click()
    page.get_by_text("1 mark says 'normal'").wait_for()
    execute(page, "Marks learnt")
    assert page.get_by_text("Defects that are found no more").count(), "the lost defect is told"
    close(page)
    scored = page.get_by_text(f"{len(dataset.exists('segad_score'))} samples", exact=True)
    scored.first.wait_for(state="hidden")  # the grid shows what has changed
    before = highest.segad_score
    dataset.reload()
    highest.reload()
    assert highest.segad_score < before
    assert highest.segad_pred.label == "normal"
    show_all(page, dataset)


def test_a_region_is_marked_as_a_patch(page: Any, dataset: fo.Dataset) -> None:
    regions = dataset.to_patches("segad_regions").sort_by("segad_regions.anomaly_score", reverse=True)
    button(page, "Regions").click()
    page.get_by_text(f"{len(regions)} patch").first.wait_for()
    select_first(page)
    button(page, "Anomalous").click()
    page.get_by_text("1 selected patch: ").wait_for()
    execute(page, "Marked")
    close(page)
    assert marks(dataset)[1:] == [("anomalous", "region", "")]
    mark, region = segad.list_marks(dataset, "segad")[1], regions.first()
    assert mark.sample_id == region.sample_id
    assert mark.box == pytest.approx(region.segad_regions.bounding_box)
    show_all(page, dataset)


def test_what_was_done_last_is_undone_after_a_reload(page: Any, dataset: fo.Dataset) -> None:
    page.reload()
    page.get_by_text("images by").wait_for()
    for left in (1, 0):
        button(page, "Undo").click()
        button(page, "Execute").wait_for()
        execute(page, "Actions taken back")
        close(page)
        assert len(marks(dataset)) == left
    button(page, "Rescore").click()
    button(page, "Execute").wait_for()
    execute(page, "Alarms that are new")
    close(page)
    show_all(page, dataset)


def test_a_single_segment_is_marked_and_unmarked(page: Any, dataset: fo.Dataset) -> None:
    highest = dataset.sort_by("segad_score", reverse=True).limit(1)
    segments = highest.to_patches("segad_segments").sort_by("segad_segments.anomaly_score", reverse=True)
    dataset.save_view("worst segments", segments)
    open_view(page, "worst segments")
    page.get_by_text(f"{len(segments)} patch").first.wait_for()
    select_first(page)
    open_form(page, "Anomalies: mark as normal")
    page.get_by_text("1 selected patch: ").wait_for()
    execute(page, "Marked")
    close(page)
    assert marks(dataset) == [("normal", "segment", "")]
    mark, segment = segad.list_marks(dataset, "segad")[0], segments.first()
    assert mark.sample_id == segment.sample_id
    assert mark.box == pytest.approx(segment.segad_segments.bounding_box)
    select_first(page)  # after a mark nothing is selected
    open_form(page, "Anomalies: take marks back")
    page.get_by_text("1 selected patch: ").wait_for()
    execute(page, "Marks taken back")
    close(page)
    assert marks(dataset) == []
    dataset.delete_saved_view("worst segments")
    show_all(page, dataset)


def test_a_copy_in_train_and_test_opens_as_a_group(page: Any, dataset: fo.Dataset) -> None:
    open_form(page, "Anomalies: find duplicates")
    page.get_by_text("exact: the same pixels").click()
    wait_until_idle(page)
    execute(page, "Groups in more than one split")
    close(page)
    shown(page, "1 group")
    dataset.reload()
    pair = dataset.match(F("duplicates_leak"))
    assert sorted(pair.values("split")) == ["test", "train"]
    assert len(set(pair.values("duplicates_group"))) == 1
    show_all(page, dataset)


def test_the_most_suspect_normal_image_comes_first(page: Any, dataset: fo.Dataset) -> None:
    open_form(page, "Anomalies: find contamination")
    page.get_by_role("textbox").last.fill("suspect")
    wait_until_idle(page)
    execute(page, "Images examined")
    close(page)
    dataset.reload()
    ranked = dataset.exists("contamination").sort_by("contamination", reverse=True)
    assert len(ranked) == len(dataset.match(F("split") == "train"))
    shown(page, f"{len(ranked)} samples")
    page.locator(f'input[value^="{ranked.first().id}"]').first.wait_for(state="attached")  # the view's first sample
    suspects = dataset.match_tags("suspect")
    assert suspects.values("id") == dataset.exists("contamination_reason").values("id")
    assert any(path.endswith(DARK) for path in suspects.values("filepath"))
    show_all(page, dataset)


def test_the_darkest_image_is_measured(page: Any, dataset: fo.Dataset) -> None:
    open_form(page, "Anomalies: measure image quality")
    execute(page, "Images measured")
    close(page)
    dataset.reload()
    assert len(dataset.exists("quality_brightness")) == len(dataset)
    assert dataset.sort_by("quality_brightness").first().filepath.endswith(DARK)
    shown(page, f"{len(dataset)} samples")
    blurred = dataset.sort_by("quality_blur").first()
    page.locator(f'input[value^="{blurred.id}"]').first.wait_for(state="attached")  # the view's first sample
    show_all(page, dataset)


def test_the_normals_that_cover_the_set_are_tagged(page: Any, dataset: fo.Dataset) -> None:
    open_form(page, "Anomalies: choose the normals that cover a set best")
    page.get_by_role("spinbutton").first.fill("3")
    wait_until_idle(page)
    execute(page, "Next: look whether the first")
    close(page)
    shown(page, "3 samples")
    dataset.reload()
    tagged = dataset.match_tags("coreset")
    assert tagged.values("split") == ["train"] * 3
    show_all(page, dataset)


def test_a_later_image_is_scored_with_a_bank_file(page: Any, dataset: fo.Dataset, tmp_path: Path) -> None:
    file = tmp_path / "bank.safetensors"
    open_form(page, "Anomalies: save the bank of a run")
    page.get_by_role("textbox").first.fill(str(file))
    wait_until_idle(page)
    execute(page, "Saved. Next")
    close(page)
    late = tmp_path / "late.png"
    Image.fromarray(np.asarray(Image.open(dataset.first().filepath))[::-1]).save(late)
    dataset.add_sample(fo.Sample(filepath=str(late), tags=["late"]))
    dataset.save_view("late", dataset.match_tags("late"))
    open_view(page, "late")
    shown(page, "1 sample")
    open_form(page, "Anomalies: score new images")
    page.get_by_text("A bank file, from this or another machine").click()
    wait_until_idle(page)
    page.get_by_role("textbox").first.fill(str(file))
    page.get_by_role("textbox").last.fill("banked")
    wait_until_idle(page)
    page.get_by_text("1 of 1 images have no score in 'banked' yet").wait_for()
    execute(page, "New images scored")
    close(page)
    dataset.reload()
    segad.score_new(dataset.match_tags("late"), "segad", progress=False)
    assert dataset.match_tags("late").values("banked_score") == dataset.match_tags("late").values("segad_score")
    assert dataset.count("banked_score") == 1
    segad.delete_run(dataset, "banked")
    dataset.delete_saved_view("late")
    dataset.delete_samples(dataset.match_tags("late"))
    show_all(page, dataset)


def test_two_runs_that_disagree_ask_for_a_second_opinion(page: Any, dataset: fo.Dataset) -> None:
    scores = sorted(score for score in dataset.values("segad_score") if score is not None)
    test, normals = dataset.match(F("split") == "test"), dataset.match(F("split") == "train")
    options = {"embedder_kwargs": {"input_size": 128}, "threshold": scores[-1] + 1e6}  # it flags nothing
    segad.compute_segment_anomalies(test, key="other", reference=normals, progress=False, **options)
    flagged = len(dataset.match(F("segad_pred.label") == "anomalous"))
    assert flagged
    page.reload()
    page.get_by_text("images by").wait_for()
    button(page, "Second opinion").click()
    button(page, "Execute").wait_for()
    execute(page, "Samples shown")
    assert page.get_by_text(re.compile(r"^On which '\w+' and '\w+' disagree")).count()
    close(page)
    shown(page, f"{len(test)} samples")
    segad.delete_run(dataset, "other")
    show_all(page, dataset)


def test_an_export_loads_back_identically(page: Any, dataset: fo.Dataset, tmp_path: Path) -> None:
    def content(samples: fo.Dataset) -> list[Any]:
        found = []
        for sample in samples:
            mask = sample.defect_mask and sample.defect_mask.get_mask() > 0
            image = np.asarray(Image.open(sample.filepath)).tobytes()
            found.append((sample.split, sample.defect.label, image, None if mask is None else mask.tobytes()))
        return sorted(found, key=repr)

    open_form(page, "Anomalies: export curated images")
    page.get_by_role("textbox").first.fill(str(tmp_path / "curated"))
    wait_until_idle(page)
    execute(page, "By split and defect type")
    close(page)
    again = segad.load_mvtec(tmp_path / "curated")
    assert content(again) == content(dataset)
    again.delete()
