"""A saved report, parsed as a browser parses it."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image

from fiftyone_segad.evaluation.results import AnomalyResults


class Page(HTMLParser):
    """Parses a page into tags with their attributes, and texts outside of scripts and styles."""

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


def saved(results: AnomalyResults, folder: Path, **kwargs: Any) -> tuple[str, Page]:
    """Save the report of an evaluation, and return it as text and parsed."""
    text = results.save_report(folder / "report.html", **kwargs).read_text(encoding="utf-8")
    return text, Page(text)
