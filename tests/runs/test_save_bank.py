"""Banks go from one dataset to another: the same scores there, and a reason for what cannot be done."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

import fiftyone_segad as segad
from banks import make_bank
from conftest import shared
from fiftyone_segad.scoring.neighbors import EXACT_ROWS
from fiftyone_segad.storage.bank_file import BankFile

SMALL: dict[str, Any] = {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}}


def run_on(dataset: fo.Dataset, **options: Any) -> segad.Run:
    return segad.compute_segment_anomalies(dataset, reference=dataset.limit(4), threshold="fpr:0.2", **options)


def scores(run: segad.Run, names: dict[str, str]) -> dict[str, tuple[float, list[float]]]:
    return {names[record.id]: (record.image_score, record.scores.tolist()) for record in run.store.scores}


def names(dataset: fo.Dataset) -> dict[str, str]:
    return {sample.id: Path(sample.filepath).name for sample in dataset}


@pytest.mark.parametrize(
    "options",
    [SMALL, {**SMALL, "bank_size": 40}, {"embedder": "efficientnet", "segments": "grid:3"}],
    ids=["levels", "coreset", "grid"],
)
def test_the_same_scores_on_another_machine(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path, options: dict[str, Any]
) -> None:
    """Another dataset of copies, and nothing but the file. The normals among them are scored without themselves."""
    dataset = dataset_of(pictures)
    run = run_on(dataset, **options)
    file = segad.save_bank(dataset, "segad", tmp_path / "banks" / "screws.safetensors")
    content = file.read_bytes()
    assert str(tmp_path).encode() not in content, "no paths of this machine"
    expected = scores(run, names(dataset))
    segad.delete_run(dataset, "segad")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = dataset_of([Path(shutil.copy(path, elsewhere / path.name)) for path in pictures])
    for path in pictures:
        path.unlink()
    first = segad.score_new(other[:5], "new", bank=file)
    assert (first.scored, first.normals, first.method) == (5, 4, "reference")
    assert (first.thresholds, first.map_range) == (run.thresholds, run.map_range)
    assert other.last().new_score is None
    assert segad.load_run(other, "new") == first
    later = segad.score_new(other, "new")
    assert scores(later, names(other)) == expected
    again = segad.score_new(other, "new", bank=file)
    assert again.scored == 6
    changed = segad.set_threshold(other, "new", "fpr:0.2")
    assert changed.thresholds == run.thresholds, "the scores of the normals came with the bank"
    copied = segad.save_bank(other, "new", tmp_path / "copied.safetensors")
    assert copied.read_bytes() == content, "a bank that was passed on is the same file"


def test_what_was_marked_as_normal_goes_with_the_bank(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path
) -> None:
    dataset = dataset_of(pictures)
    run = run_on(dataset, **SMALL)
    before = scores(run, names(dataset))
    plain = segad.save_bank(dataset, "segad", tmp_path / "plain.safetensors")
    segad.mark_normal(dataset.to_patches("segad_segments").limit(3), "segad")
    segad.mark_normal(dataset.skip(5), "segad")
    expected = scores(segad.rescore(dataset).run, names(dataset))
    assert expected != before
    file = segad.save_bank(dataset, "segad", tmp_path / "learnt.safetensors")
    other = dataset_of(pictures)
    assert scores(segad.score_new(other, "new", bank=file), names(other)) == expected
    assert segad.save_bank(other, "new", tmp_path / "again.safetensors").read_bytes() == file.read_bytes()
    assert scores(segad.score_new(other, "plain", bank=plain), names(other)) == before
    for key in ("new", "plain"):
        segad.delete_run(other, key)
    segad.delete_run(dataset, "segad")


def test_what_a_run_with_a_bank_can_explain(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path
) -> None:
    """Its neighbours are names: their images are not here."""
    dataset = dataset_of(pictures)
    run_on(dataset, **SMALL)
    file = segad.save_bank(dataset, "segad", tmp_path / "bank")
    segad.score_new(dataset, "new", bank=file)
    last = dataset.last().id
    expected, explained = (segad.explain_sample(dataset, key, last) for key in ("segad", "new"))
    assert [(segment.box, segment.score, segment.level) for segment in explained] == [
        (segment.box, segment.score, segment.level) for segment in expected
    ]
    for segment, other in zip(explained, expected, strict=True):
        assert [near.filepath for near in segment.neighbours] == [Path(n.filepath).name for n in other.neighbours]
        assert [near.distance for near in segment.neighbours] == [near.distance for near in other.neighbours]
        assert all(near.box is None for near in segment.neighbours)


def test_names_without_folders_stay_apart(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path, colour_embedder: Any
) -> None:
    paths = [tmp_path / f"{index}" / "same.png" for index in range(4)]
    for path, source in zip(paths, pictures, strict=False):
        path.parent.mkdir()
        shutil.copy(source, path)
    dataset = dataset_of(paths)
    run_on(dataset)
    bank = BankFile.read(segad.save_bank(dataset, "segad", tmp_path / "bank"))
    assert [image.name for image in bank.header.images] == ["same.png", "same_2.png", "same_3.png", "same_4.png"]
    assert [image.sha256 for image in bank.header.images] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    ]


def test_an_interrupted_new_run_goes_on(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path, colour_embedder: Any
) -> None:
    dataset = dataset_of(pictures)
    run_on(dataset, segments="tiles:0.4:0.2")
    file = segad.save_bank(dataset, "segad", tmp_path / "bank")

    def stop(bar: Any) -> None:
        if bar.iteration >= 5:  # the four normal images, whose scores are in the bank, and one more
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segad.score_new(dataset, "new", bank=file, progress=stop)
    assert segad.list_runs(dataset) == ["segad"] and not dataset.has_sample_field("new_score")
    calls = colour_embedder.calls
    assert segad.score_new(dataset, "new", bank=file).scored == 6
    assert colour_embedder.calls - calls == 1
    assert dataset.values("new_score") == dataset.values("segad_score")


def test_reasons(
    dataset_of: Callable[..., fo.Dataset],
    pictures: list[Path],
    tmp_path: Path,
    colour_embedder: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = dataset_of(pictures)
    run_on(dataset)
    file = segad.save_bank(dataset, "segad", tmp_path / "bank")
    schema = list(dataset.get_field_schema())
    with pytest.raises(ValueError, match=r"bank' exists; pass overwrite=True"):
        segad.save_bank(dataset, "segad", file)
    assert segad.save_bank(dataset, "segad", file, overwrite=True) == file
    with pytest.raises(ValueError, match="is a folder; name a file"):
        segad.save_bank(dataset, "segad", tmp_path)
    with pytest.raises(ValueError, match="has no run 'absent'"):
        segad.save_bank(dataset, "absent", tmp_path / "other")
    segad.compute_segment_anomalies(dataset, key="inside", method="within_image")
    with pytest.raises(ValueError, match="no bank of normal images: its method is 'within_image'"):
        segad.save_bank(dataset, "inside", tmp_path / "other")
    with pytest.raises(ValueError, match="was not made with this bank"):
        segad.score_new(dataset, "segad", bank=file)
    with pytest.raises(ValueError, match="letters, digits"):
        segad.score_new(dataset, "a b", bank=file)
    with pytest.raises(FileNotFoundError, match="no file"):
        segad.score_new(dataset, "new", bank=tmp_path / "absent")
    with pytest.raises(ValueError, match="is not that of the bank, which needs 'efficientnet'"):
        segad.score_new(dataset, "new", bank=file, embedder="fastdup")
    with monkeypatch.context() as patch:
        patch.setattr(colour_embedder, "identity", "colour-2")
        with pytest.raises(segad.RunError, match=r"'colour-1', which is now 'colour-2'; install that one, or save"):
            segad.score_new(dataset, "new", bank=file)
    with pytest.raises(segad.SegadError, match="None of the 1 images could be scored"):
        (tmp_path / "broken.png").write_bytes(b"x")
        segad.score_new(dataset_of([tmp_path / "broken.png"]), "new", bank=file)
    assert set(segad.list_runs(dataset)) == {"segad", "inside"}
    assert [name for name in dataset.get_field_schema() if not name.startswith("inside")] == schema


def test_a_network_by_name_needs_consent(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bank from anywhere must not make this machine load code from anywhere."""
    make_bank(embedder="torchhub:someone/code:model").write(tmp_path / "bank")
    from fiftyone_segad.runs import features

    def loaded(*args: Any) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(features, "get_embedder", loaded)
    dataset = dataset_of(pictures)
    with pytest.raises(ValueError, match="code from anywhere; pass embedder='torchhub:someone/code:model'"):
        segad.score_new(dataset, "new", bank=tmp_path / "bank")
    with pytest.raises(AssertionError, match="it was loaded"):
        segad.score_new(dataset, "new", bank=tmp_path / "bank", embedder="torchhub:someone/code:model")


@pytest.mark.slow
def test_screws_that_come_later(tmp_path: Path) -> None:
    """With a bank that is searched by an inverted file: a run on all, on the first and then the others, a bank file."""
    dataset = segad.load_mvtec(shared("screw"))
    try:
        normals = dataset.match(F("split") == "train").limit(12)
        test = dataset.match(F("split") == "test").take(4, seed=2)
        options: dict[str, Any] = {"reference": normals, "embedder": "efficientnet", "threshold": "fpr:0.1"}
        paths = dict(zip(*dataset.values(["id", "filepath"]), strict=True))  # names come again in each folder
        whole = segad.compute_segment_anomalies(test, key="whole", **options)
        assert sum(len(image.features[0]) for image in whole.store.bank) > EXACT_ROWS
        segad.compute_segment_anomalies(test.limit(2), key="part", **options)
        later = segad.score_new(test, "part")
        expected = scores(whole, paths)
        assert scores(later, paths) == expected
        file = segad.save_bank(dataset, "part", tmp_path / "bank")
        assert file.stat().st_size < 12 * 2**20
        assert scores(segad.score_new(test, "file", bank=file), paths) == expected
        with segad.load_bank(file) as inspector:
            for path in test.values("filepath"):
                result = inspector(path)
                assert (result.score, result.record.scores.tolist()) == expected[path]
    finally:
        for key in segad.list_runs(dataset):
            segad.delete_run(dataset, key)
        dataset.delete()
