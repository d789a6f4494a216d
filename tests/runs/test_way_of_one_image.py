"""The way of one image, from the public function to its fields: how many files a reader must open, in which rooms.

A function is on the way if it makes the image of a job, if it is handed this image alone (its file, its id, its
features or its scores), if it is called by one that is, or if it calls one that is.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from conftest import ROOT
from fiftyone_segad.engine.job import Embedded, JobImage
from fiftyone_segad.storage.records import ImageFeatures, ImageScores

PACKAGE = ROOT / "fiftyone_segad"
SMALL = {"input_size": 128}

MOST_FILES = 20
"""Files on the way, besides those of ``utils`` that know nothing of images: threads, timers, files on disk."""

LOOK_BACK = {"engine/drift.py", "engine/dirty_bank.py"}
"""Files that look at scored images once more, to warn of all of them together: no field of an image depends on them."""


class Way:
    """Notes the files that are on the way of an image, and which of them calls which."""

    def __init__(self, sample: fo.Sample) -> None:
        self._names = {sample.id, sample.filepath}
        self._thread = threading.local()
        self.files: set[str] = set()
        self.calls: set[tuple[str, str]] = set()

    @contextmanager
    def noted(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Note what is called in the block, in all threads; work for a thread is called by what hands it out."""
        submit = ThreadPoolExecutor.submit

        def submit_with_callers(pool: Any, work: Callable[..., Any], *args: Any) -> Future[Any]:
            callers = self._callers(sys._getframe())

            def do(*args: Any) -> Any:
                self._thread.callers = callers
                return work(*args)

            return submit(pool, do, *args)

        with monkeypatch.context() as patch:
            patch.setattr(ThreadPoolExecutor, "submit", submit_with_callers)
            threading.setprofile(self._profile)
            sys.setprofile(self._profile)
            try:
                yield
            finally:
                sys.setprofile(None)
                threading.setprofile(None)  # type: ignore[arg-type]

    def _profile(self, frame: FrameType, event: str, value: Any) -> None:
        if _file(frame) is None or event not in ("call", "return"):
            return
        inside = self._thread.__dict__.setdefault("inside", [])
        if event == "call" and (inside or self._is_handed(frame)):
            self._note([*self._callers(frame.f_back), str(_file(frame))])
            inside.append(frame)
        elif event == "return" and inside and inside[-1] is frame:
            inside.pop()
        elif event == "return" and isinstance(value, list) and any(map(self._is_made, value)):
            self._note([*self._callers(frame.f_back), str(_file(frame))])

    def _is_handed(self, frame: FrameType) -> bool:
        code = frame.f_code
        return any(self._is_it(frame.f_locals.get(name)) for name in code.co_varnames[: code.co_argcount])

    def _is_it(self, value: Any) -> bool:
        if isinstance(value, (JobImage, ImageScores)):
            value = value.id
        elif isinstance(value, Embedded):
            value = value.image.id
        elif isinstance(value, ImageFeatures):
            value = value.path
        return isinstance(value, str) and value in self._names

    def _is_made(self, value: Any) -> bool:
        return isinstance(value, JobImage) and value.id in self._names

    def _callers(self, frame: FrameType | None) -> list[str]:
        """Files of the package that call a frame, from the public function on."""
        files = []
        while frame is not None and frame.f_code.co_name != "locked":
            if (file := _file(frame)) is not None:
                files.append(file)
            frame = frame.f_back
        return getattr(self._thread, "callers", []) + files[::-1]

    def _note(self, files: list[str]) -> None:
        files = [file for file in files if not file.startswith("utils/") or file == "utils/images.py"]
        self.files.update(files)
        self.calls.update(pairwise(files))


def _file(frame: FrameType) -> str | None:
    """The file of a frame in the package; None of one elsewhere."""
    name = frame.f_code.co_filename
    return str(Path(name).relative_to(PACKAGE)) if name.startswith(str(PACKAGE)) else None


@pytest.fixture
def way(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> Way:
    """The way of the picture with a bright square."""
    monkeypatch.setattr("fiftyone_segad.storage.parts.PART_SIZE", 1)  # else a part waits for other images
    dataset = dataset_of(pictures)
    made = Way(dataset.last())
    with made.noted(monkeypatch):
        segad.compute_segment_anomalies(
            dataset[5:], reference=dataset[:5], embedder="efficientnet", embedder_kwargs=SMALL, threshold=0.5
        )
    dataset.reload()
    assert dataset.last().segad_regions.detections, "it is on the way to regions, too"
    assert made.files >= LOOK_BACK
    made.files -= LOOK_BACK
    return made


def test_it_is_short_and_goes_down_the_house(way: Way) -> None:
    assert len(way.files) <= MOST_FILES, sorted(way.files)
    layers = re.findall(r'"(.+)"', (ROOT / "pyproject.toml").read_text().split("\nlayers = [")[1].split("]")[0])
    floors = {room: floor for floor, layer in enumerate(layers) for room in layer.split(" | ")}
    for caller, called in way.calls:
        above, below = (floors[file.split("/")[0]] for file in (caller, called))
        assert above <= below, f"{caller} is left for {called}, in a room above, which is entered a second time"


def test_the_page_of_the_architecture_names_its_files(way: Way) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    lines = page.split("## The way of one image")[1].split("\n## ")[0]
    named = {name for name in re.findall(r"\w+/[\w/]+\.py\b", lines) if (PACKAGE / name).is_file()}
    assert named == way.files
