"""How a run begins and ends: it goes on where it stopped, and takes the place of another in one step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from PIL import Image

import fiftyone_segad as segad
from conftest import ColourEmbedder
from small_runs import compute, make_dataset, snapshot

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    return make_dataset(dataset_of, pictures)


def test_overwrite_replaces_and_cleans_up(dataset: fo.Dataset) -> None:
    first = compute(dataset)
    with pytest.raises(ValueError, match=r"exists.*overwrite=True"):
        compute(dataset)
    second = compute(dataset, overwrite=True, segments="grid:4")
    assert second.settings["segments"] == "grid:4"
    assert not Path(first.folder).exists()
    assert len(dataset.last().segad_segments.detections) == 16
    assert segad.list_runs(dataset) == ["segad"]


def test_the_old_run_survives_a_failure_of_the_new_one(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compute(dataset)
    before = snapshot(dataset)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(OSError, match=r"No space left.*Free the disk"):
            compute(dataset, overwrite=True, segments="grid:4")
    dataset.reload()
    assert snapshot(dataset) == before
    assert Path(first.folder).is_dir()
    assert compute(dataset, overwrite=True, segments="grid:4").scored == 2


def test_an_interrupted_run_goes_on(dataset: fo.Dataset, colour_embedder: type[ColourEmbedder]) -> None:
    before = snapshot(dataset)

    def stop(bar: Any) -> None:
        if bar.iteration >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(dataset, progress=stop)
    assert snapshot(dataset) == before, "nothing is visible of a run that did not end"
    embedded = colour_embedder.calls
    run = compute(dataset)
    assert colour_embedder.calls - embedded < 6, "what was embedded is not embedded again"
    scores = dataset.values("segad_score")
    segad.delete_run(dataset, "segad")
    compute(dataset, resume=False)
    assert dataset.values("segad_score") == scores
    assert run.scored == 2


def test_an_image_that_changed_meanwhile_is_scored_again(dataset: fo.Dataset, pictures: list[Path]) -> None:
    def stop(bar: Any) -> None:
        if bar.iteration >= 10:  # all are scored, none is written
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(dataset, progress=stop)
    Image.open(pictures[4]).rotate(90, expand=False).save(pictures[5])
    compute(dataset)
    resumed = dataset.values("segad_score")
    segad.mark_normal(dataset.skip(4).limit(1), "segad")
    Image.open(pictures[0]).save(pictures[5])
    segad.rescore(dataset, "segad")
    rescored = dataset.values("segad_score")
    compute(dataset, overwrite=True, resume=False)
    assert dataset.values("segad_score") == rescored
    assert rescored[5] != resumed[5]
    Image.open(pictures[4]).rotate(90, expand=False).save(pictures[5])
    segad.delete_run(dataset, "segad")
    compute(dataset, resume=False)
    assert dataset.values("segad_score") == resumed


def test_a_folder_that_cannot_be_written(
    dataset: fo.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour_embedder: type[ColourEmbedder]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FIFTYONE_SEGAD_DIR", str(tmp_path / "file" / "below"))
    calls = colour_embedder.calls
    with pytest.raises(OSError, match=r"Cannot write the run's files.*FIFTYONE_SEGAD_DIR"):
        compute(dataset)
    assert colour_embedder.calls == calls, "told before the work"
