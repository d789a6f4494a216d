"""``save_report``: one file that holds all it shows, for a reader who has nothing else, and harms nobody."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from test_plots import results_of

import fiftyone_segad as segad
from app_page import CHROMIUM, needs_chromium
from fiftyone_segad.evaluation.results import AnomalyResults
from fiftyone_segad.metrics.names import METRICS
from fiftyone_segad.visualization.mistakes import SIDE, draw_mistakes, misses
from fiftyone_segad.visualization.report import hide_paths

EVIL = "<script>alert(1)</script>"
EVIL_FILE = "<img src=x onerror=alert(1)>.png"

LOADING = {
    "src",
    "href",
    "srcset",
    "data",
    "action",
    "formaction",
    "poster",
    "background",
    "xlink:href",
    "ping",
    "manifest",
}
"""Attributes with which a page loads or opens something."""


class Page(HTMLParser):
    """What a page is made of: tags with their attributes, and texts outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style") and self.cdata_elem:
            self.scripts.append(data)
        elif data.strip():
            self.texts.append(data.strip())

    @property
    def images(self) -> list[Image.Image]:
        sources = [attrs["src"] or "" for tag, attrs in self.tags if tag == "img"]
        prefix = "data:image/jpeg;base64,"
        assert all(source.startswith(prefix) for source in sources)
        return [Image.open(io.BytesIO(base64.b64decode(source[len(prefix) :]))) for source in sources]

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@pytest.fixture
def dataset(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path, colour_embedder: type
) -> fo.Dataset:
    """Four normal images and two defective ones, with names that would run in a careless page."""
    pictures[0] = pictures[0].rename(tmp_path / EVIL_FILE)
    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    Image.fromarray(mask).save(tmp_path / "large.png")
    Image.fromarray(np.where(np.indices(mask.shape).sum(axis=0) == 0, 255, 0).astype(np.uint8)).save(
        tmp_path / "small.png"
    )
    masks = {4: "small.png", 5: "large.png"}
    truth = [fo.Segmentation(mask_path=str(tmp_path / masks[i])) if i in masks else None for i in range(6)]
    kinds = [fo.Classification(label=EVIL if i in masks else "good") for i in range(6)]
    made = dataset_of(pictures, defect=kinds)
    made.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    made.set_values("defect_mask", truth)
    segad.compute_segment_anomalies(made, reference=made.limit(4), segments="tiles:0.4:0.2")
    return made


def evaluated(dataset: fo.Dataset, threshold: float) -> AnomalyResults:
    segad.set_threshold(dataset, "segad", threshold)
    return segad.evaluate_anomalies(dataset)


ALL_FLAGGED, NONE_FLAGGED = -100.0, 100.0


def saved(results: AnomalyResults, folder: Path, **kwargs: Any) -> tuple[str, Page]:
    text = results.save_report(folder / "report.html", **kwargs).read_text(encoding="utf-8")
    return text, Page(text)


def test_the_report_holds_what_was_found(dataset: fo.Dataset, tmp_path: Path) -> None:
    results = evaluated(dataset, ALL_FLAGGED)
    _, page = saved(results, tmp_path)
    for part in (dataset.name, "segad", "reference", "efficientnet", segad.__version__, "defect_mask"):
        assert part in page.text
    figures, bounds = results.metrics(), results.intervals()
    for name, (title, why) in list(METRICS.items())[:-2]:  # without the numbers of images
        row = page.texts.index(title, page.texts.index("what it says"))
        assert page.texts[row + 1] == ("-" if figures[name] is None else f"{figures[name]:.3f}")
        if name in bounds:
            assert page.texts[row + 2] == "{:.3f} to {:.3f}".format(*bounds[name])
        assert why in page.texts[row + 2 : row + 4]
    assert "2 of 2 defective images and 4 of 4 normal images are flagged" in page.text
    assert "Regions by size" in page.text
    assert "No misses at this threshold." in page.text
    assert "Worst false alarms (4)" in page.text


def test_nothing_is_loaded_from_anywhere(dataset: fo.Dataset, tmp_path: Path) -> None:
    text, page = saved(evaluated(dataset, ALL_FLAGGED), tmp_path)
    for tag, attrs in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form"), tag
        for name in LOADING & set(attrs):
            assert (attrs[name] or "").startswith("data:image/jpeg;base64,"), (tag, name)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert (policy or "").startswith("default-src 'none';")
    assert len(text) < 8_000_000


def test_names_do_not_run_as_code(dataset: fo.Dataset, tmp_path: Path) -> None:
    text, page = saved(evaluated(dataset, ALL_FLAGGED), tmp_path)
    assert EVIL not in text
    assert "alert(1)>" not in text
    assert EVIL in page.text, "but they can be read"
    assert f"{tmp_path.name}/{EVIL_FILE}" in page.text
    kinds = [attrs.get("type", "code") for tag, attrs in page.tags if tag == "script"]
    assert sorted(map(str, kinds)) == ["application/json"] * 5 + ["code"] * 2
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_the_pictures_of_false_alarms_and_misses(dataset: fo.Dataset, tmp_path: Path) -> None:
    alarms = evaluated(dataset, ALL_FLAGGED)
    _, page = saved(alarms, tmp_path)
    assert [image.size for image in page.images] == [(96, 80)] * 12, "image, map and masks of four"
    results = evaluated(dataset, NONE_FLAGGED)
    _, page = saved(results, tmp_path)
    assert len(page.images) == 6
    assert "No false alarms at this threshold." in page.text
    order = [str(i) for i in misses(results)]
    assert order == [dataset.last().id, dataset.skip(4).first().id], "the largest defect first"
    places = [page.text.index(f"{tmp_path.name}/{i}.png") for i in (5, 4)]
    assert places == sorted(places)
    masks = np.asarray(page.images[2]).astype(int)
    outline = (masks[..., 2] - masks[..., 0]) > 120
    assert outline[26:50, 36:60].any()
    assert not outline[32:44, 42:54].any(), "it runs around the defect"
    assert not outline[:20].any()
    score = f"score {results.images[order[0]].score:.4g}"
    assert f"{score} · threshold 100 · p-value 0.2" in page.text, "none of the four normal images scores as high"
    _, page = saved(results, tmp_path, max_images=1)
    assert len(page.images) == 3
    assert "1 of 2 are shown" in page.text
    text, page = saved(results, tmp_path, max_images=0)
    assert page.images == []
    assert "data:image" not in text.replace("img-src data:", "")[: text.index("<script")]
    assert "2; their pictures were left out" in page.text


def test_the_predicted_mask_is_that_of_the_evaluation(dataset: fo.Dataset, tmp_path: Path) -> None:
    results = evaluated(dataset, ALL_FLAGGED)
    segad.set_threshold(dataset, "segad", NONE_FLAGGED)  # rewrites the masks on the dataset
    (mistake,) = draw_mistakes(results, [dataset.first().id])
    picture = np.asarray(mistake.pictures["mask"]).astype(int)
    assert ((picture[..., 0] - picture[..., 2]) > 80).mean() > 0.5


def test_large_images_become_small_pictures_that_keep_small_defects(
    dataset_of: Callable[..., fo.Dataset], tmp_path: Path, colour_embedder: type
) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        Image.new("RGB", (1600, 800), (90, 90, 90)).save(path)
    mask = np.zeros((800, 1600), np.uint8)
    mask[400, 800] = 255
    made = dataset_of(paths, defect_mask=[fo.Segmentation(mask=np.zeros_like(mask))] * 2 + [fo.Segmentation(mask=mask)])
    segad.compute_segment_anomalies(made, reference=made.limit(2), segments="grid:2", threshold=NONE_FLAGGED)
    _, page = saved(segad.evaluate_anomalies(made), tmp_path)
    assert [image.size for image in page.images] == [(SIDE, SIDE // 2)] * 3
    masks = np.asarray(page.images[2]).astype(int)
    outline = np.argwhere(masks[..., 2] - masks[..., 0] > 100)
    assert outline.mean(axis=0) == pytest.approx((80, 160), abs=3)


def test_what_is_gone_costs_only_its_picture(dataset: fo.Dataset, tmp_path: Path) -> None:
    results = evaluated(dataset, NONE_FLAGGED)
    (tmp_path / "4.png").unlink()
    (tmp_path / "large.png").write_bytes(b"no image")
    text, page = saved(results, tmp_path)
    assert len(page.images) == 3, "those of 5.png, without outline"
    assert f"No such image file: '{tmp_path.name}/4.png'" in page.text
    assert f"'{tmp_path.name}/large.png' is not an image that can be read" in page.text
    assert str(tmp_path) not in text
    dataset.delete_sample_field("defect_mask")
    assert len(saved(results, tmp_path)[1].images) == 3
    segad.delete_run(dataset, "segad")
    _, page = saved(results, tmp_path)
    assert len(page.images) == 2, "image and masks; no map"
    assert "The run's scores are gone" in page.text
    dataset.delete_samples(dataset.limit(5))
    dataset.delete()
    _, page = saved(results, tmp_path)
    assert page.images == []
    assert "The sample is not in the dataset any more" in page.text
    assert f"{results.metrics()['pixel_auroc']:.3f}" in page.text


def test_results_without_samples_have_a_report_too(tmp_path: Path) -> None:
    results = results_of([1, 2, 6, 7], [False, True, False, True], ["", "dent", "", "dent"])
    _, page = saved(results, tmp_path)
    assert "Worst misses (1)" in page.text
    assert page.images == []
    none = results_of([1, 2], [False, False])
    assert "There are no defective images." in saved(none, tmp_path)[1].text


def test_warnings_and_excluded_samples_are_named_by_file(dataset: fo.Dataset, tmp_path: Path) -> None:
    Image.new("L", (10, 10), 255).save(tmp_path / "small.png")
    results = segad.evaluate_anomalies(dataset)
    text, page = saved(results, tmp_path)
    assert "What to know first" in page.text
    assert "Samples that were not evaluated (1)" in page.text
    row = page.texts.index(f"{tmp_path.name}/4.png", page.texts.index("reason"))
    assert f"'{tmp_path.name}/small.png' is 10 x 10 px" in page.texts[row + 1]
    assert not re.search(r"\b[0-9a-f]{24}\b", page.text), "ids say nothing to the reader"
    assert str(tmp_path) not in text
    assert results.run is not None
    assert results.run.folder not in text


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("No such image file: '/home/me/my data/good/1.png'", "No such image file: 'good/1.png'"),
        ("look whether it is one: /home/me/my data/good/1.png", "look whether it is one: good/1.png"),
        ("look: C:\\Users\\me\\good\\1.png", "look: good/1.png"),
        ("'\\\\server\\share\\good\\1.png' is empty", "'good/1.png' is empty"),
        ("the folder /home/me/segad/runs is gone", "the folder segad/runs is gone"),
        ("3/4 and/or 1 / 2.5 px, 1e-5/s", "3/4 and/or 1 / 2.5 px, 1e-5/s"),
    ],
)
def test_paths_of_the_machine_are_cut(text: str, hidden: str) -> None:
    assert hide_paths(text) == hidden


def test_wrong_paths(tmp_path: Path) -> None:
    results = results_of([1, 6], [False, True])
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/absent' of path="):
        results.save_report(tmp_path / "absent" / "report.html")
    with pytest.raises(ValueError, match="is a folder; name a file in it"):
        results.save_report(str(tmp_path))
    for wrong in (-1, 1.5, True, None):
        with pytest.raises(ValueError, match=r"max_images=.* must be a whole number"):
            results.save_report(tmp_path / "report.html", max_images=wrong)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = results_of([1, 6], [False, True])
    file = tmp_path / "report.html"
    assert results.save_report(str(file)) == file
    before = file.read_text(encoding="utf-8")

    def fail(*args: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk is full"):
            results.save_report(file)
    assert file.read_text(encoding="utf-8") == before
    assert os.listdir(tmp_path) == ["report.html"]
    results.save_report(file, max_images=0)
    assert file.read_text(encoding="utf-8") != before


@pytest.mark.browser
@needs_chromium
def test_a_browser_shows_it_without_errors_or_connections(dataset: fo.Dataset, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    file = evaluated(dataset, ALL_FLAGGED).save_report(tmp_path / "report.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for scheme, text_is_light in (("light", False), ("dark", True)):
            tab = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
            said: list[str] = []
            asked: list[str] = []
            tab.on("console", lambda message, said=said: said.append(message.text))
            tab.on("pageerror", lambda error, said=said: said.append(str(error)))
            tab.on("dialog", lambda dialog, said=said: said.append(dialog.message))
            tab.on("request", lambda request, asked=asked: asked.append(request.url))
            tab.goto(file.as_uri())
            tab.wait_for_function("document.querySelectorAll('.plot .main-svg .xtick').length > 10")
            assert tab.locator(".plot").count() == 5
            assert tab.locator(".plot .main-svg .barlayer .point").count() > 5
            all_loaded = "[...document.images].every((image) => image.complete && image.naturalWidth > 0)"
            assert tab.evaluate(all_loaded)
            assert tab.evaluate("document.documentElement.scrollWidth <= 1280"), "nothing to scroll sideways"
            colours = tab.evaluate(
                "['body', '.plot .xtick text'].map((each) => { const style = getComputedStyle("
                "document.querySelector(each)); return each === 'body' ? style.color : style.fill; })"
            )
            for colour in colours:
                assert (sum(map(int, re.findall(r"\d+", colour)[:3])) > 400) == text_is_light
            tab.evaluate("dispatchEvent(new Event('beforeprint'))")
            tab.wait_for_function("[...document.querySelectorAll('.plot')].every((p) => p._fullLayout.width === 680)")
            tab.evaluate("dispatchEvent(new Event('afterprint'))")
            tab.wait_for_function("document.querySelector('#scores')._fullLayout.width > 1000")
            assert said == []
            assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [file.as_uri()]
        browser.close()
