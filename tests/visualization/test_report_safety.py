"""``save_report``: one file for a reader who has nothing else, which harms nobody and tells nothing of the machine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest
from PIL import Image

import fiftyone_segad as segad
from app_page import CHROMIUM, needs_chromium
from fiftyone_segad.visualization.report import hide_paths
from mistaken_dataset import ALL_FLAGGED, EVIL, EVIL_FILE, evaluated, mistaken_dataset
from plotted_results import results_of
from report_page import saved

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


@pytest.fixture(scope="module")
def dataset(
    module_dataset_of: Callable[..., fo.Dataset], module_pictures: list[Path], module_colour_embedder: type
) -> fo.Dataset:
    return mistaken_dataset(module_dataset_of, module_pictures)


@pytest.fixture
def dataset_to_spoil(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], colour_embedder: type) -> fo.Dataset:
    return mistaken_dataset(dataset_of, pictures)


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
    assert f"{Path(dataset.first().filepath).parent.name}/{EVIL_FILE}" in page.text
    kinds = [attrs.get("type", "code") for tag, attrs in page.tags if tag == "script"]
    assert sorted(map(str, kinds)) == ["application/json"] * 5 + ["code"] * 2
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_warnings_and_excluded_samples_are_named_by_file(dataset_to_spoil: fo.Dataset, tmp_path: Path) -> None:
    Image.new("L", (10, 10), 255).save(tmp_path / "small.png")
    results = segad.evaluate_anomalies(dataset_to_spoil)
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

    others = results_of([1, 6, 7], [False, True, True], ["", "dent", "dent"])

    def fail(*args: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk is full"):
            results.save_report(file)
    assert file.read_text(encoding="utf-8") == before
    assert os.listdir(tmp_path) == ["report.html"]
    others.save_report(file)
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
