"""Evaluations that fail or are stopped leave the dataset as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.evaluation import writer
from fiftyone_segad.evaluation.writer import EvaluationWriter
from fiftyone_segad.registry import uncommitted
from fiftyone_segad.registry.folders import evaluations_folder
from painted_dataset import (
    OUTCOMES,
    painted_dataset,
    snapshot,
)

pytestmark = pytest.mark.usefixtures("module_colour_embedder")


@pytest.fixture(scope="module")
def scored(
    module_dataset_of: Callable[..., fo.Dataset],
    tmp_path_factory: pytest.TempPathFactory,
    module_colour_embedder: object,
) -> fo.Dataset:
    """Score the pictures once, for all tests of this file."""
    return painted_dataset(module_dataset_of, tmp_path_factory.mktemp("painted"))


@pytest.fixture
def dataset(scored: fo.Dataset) -> Iterator[fo.Dataset]:
    """Give a copy to evaluate; its run is that of the source."""
    clone = scored.clone()
    yield clone
    clone.delete()


def fail_at(number: int, error: BaseException) -> Callable[..., None]:
    """Return an EvaluationWriter.add that fails at an image."""
    add, count = EvaluationWriter.add, iter(range(1, 100))

    def failing(*args: Any) -> None:
        if next(count) == number:
            raise error
        add(*args)

    return failing


@pytest.mark.parametrize(
    ("number", "error", "earlier"),
    [
        pytest.param(1, OSError(28, "No space left on device"), False, id="full disk at once"),
        pytest.param(7, OSError(28, "No space left on device"), True, id="full disk later, after an earlier one"),
        pytest.param(7, KeyboardInterrupt(), False, id="interrupted"),
        pytest.param(1, KeyboardInterrupt(), True, id="interrupted at once, after an earlier one"),
    ],
)
def test_an_error_in_the_middle(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException, earlier: bool
) -> None:
    if earlier:
        segad.evaluate_anomalies(dataset.limit(7), eval_key="checked")
    before = snapshot(dataset)
    monkeypatch.setattr(writer, "_BATCH", 2)  # some of it is in the database by then
    with monkeypatch.context() as patch:
        patch.setattr(EvaluationWriter, "add", fail_at(number, error))
        with pytest.raises(type(error)):
            segad.evaluate_anomalies(dataset, eval_key="checked", overwrite=True)
    after = snapshot(dataset)
    for part in before:
        assert after[part] == before[part], part
    segad.evaluate_anomalies(dataset, eval_key="checked", overwrite=True)
    assert dataset.values("checked") == OUTCOMES


def test_cancelled_by_the_progress_bar(dataset: fo.Dataset) -> None:
    before = snapshot(dataset)

    def stop(bar: Any) -> None:
        if bar.iteration >= 3:
            raise segad.RunCancelled("enough")

    with pytest.raises(segad.RunCancelled):
        segad.evaluate_anomalies(dataset, eval_key="checked", progress=stop)
    assert snapshot(dataset) == before


def test_error_maps_that_cannot_be_written(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    segad.evaluate_anomalies(dataset, eval_key="checked")
    before = snapshot(dataset)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(OSError, match="No space left"):
            segad.evaluate_anomalies(dataset, eval_key="checked", overwrite=True)
    assert snapshot(dataset) == before


def test_nothing_to_evaluate_leaves_nothing(dataset: fo.Dataset, tmp_path: Path) -> None:
    Image.new("RGB", (96, 80)).save(tmp_path / "late.png")
    late = dataset.add_sample(fo.Sample(filepath=str(tmp_path / "late.png")))
    before = snapshot(dataset)
    with pytest.raises(segad.RunError, match="None of the 1 samples"):
        segad.evaluate_anomalies(dataset.select(late), eval_key="checked")
    assert snapshot(dataset) == before


def test_an_error_at_the_very_end_leaves_no_part_of_it(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(dataset)
    segad.evaluate_anomalies(dataset, eval_key="checked")

    def fails(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no connection")

    with monkeypatch.context() as patch:
        patch.setattr(fo.Dataset, "evaluate_classifications", fails)
        with pytest.raises(RuntimeError, match="no connection"):
            segad.evaluate_anomalies(dataset, eval_key="checked", overwrite=True)
    assert snapshot(dataset) == before, "the one before was gone already, and the key is free"
    segad.evaluate_anomalies(dataset, eval_key="checked")


def test_what_a_killed_evaluation_left_is_replaced(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_BATCH", 2)
    with monkeypatch.context() as patch:
        patch.setattr(EvaluationWriter, "_discard", lambda self: None)
        patch.setattr(uncommitted, "remove_uncommitted", lambda *arguments: None)
        patch.setattr(EvaluationWriter, "add", fail_at(6, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            segad.evaluate_anomalies(dataset, eval_key="checked")
    assert dataset.count("checked-pending-truth") > 0
    (left,) = evaluations_folder(dataset).glob("checked-*")
    segad.evaluate_anomalies(dataset.skip(6), eval_key="checked")
    assert not [name for name in dataset.get_field_schema() if "pending" in name]
    assert dataset.values("checked") == [None] * 6 + OUTCOMES[6:]
    assert dataset.values("checked_truth.label") == [None] * 6 + ["anomalous"] * 2, "nothing of the other is left"
    (current,) = evaluations_folder(dataset).iterdir()
    assert current != left
    assert {Path(path).parent for path in dataset.values("checked_errors.mask_path") if path} == {current}
