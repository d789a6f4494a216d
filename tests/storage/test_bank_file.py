"""Banks as files: the same scores on another dataset, and a reason for every file that cannot be used."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone import ViewField as F
from fiftyone.operators.executor import ExecutionError

import fiftyone_segad as segad
from conftest import needs_fastdup, shared
from fiftyone_segad.embedders.base import Level
from fiftyone_segad.scoring.neighbors import EXACT_ROWS
from fiftyone_segad.segments.boxes import from_boxes, grid
from fiftyone_segad.storage.bank_file import BankFile, FileState, bank_copies
from fiftyone_segad.storage.records import ImageScores
from fiftyone_segad.storage.store import RunStore
from fiftyone_segad.utils.tensor_file import read_tensors, write_tensors

SMALL: dict[str, Any] = {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}}


def make_bank(**changed: Any) -> BankFile:
    """A bank of two levels, the first with components, of three images."""
    random = np.random.default_rng(0)
    fitted = {
        "mean0": random.random(5, np.float32),
        "matrix0": random.random((5, 4), np.float32),
        **{f"scale{i}": np.array([0.1, 2.0]) for i in range(2)},
        **{f"damping{i}": np.ones((32, 32), np.float32) for i in range(2)},
    }
    segments = [grid((40, 30), 3), from_boxes((50, 40), [[3, 4, 9, 30], [0, 0, 50, 40]]), grid((9, 9), 2)]
    records = [
        ImageScores(name, own, random.random(len(own), np.float32), np.zeros(len(own), bool), float(i))
        for i, (name, own) in enumerate(zip(("a.png", "b.png", "ü c.png"), segments, strict=True))
    ]
    bank = BankFile(
        embedder="efficientnet",
        settings={
            "method": "reference",
            "embedder": "lite2",
            "segments": None,
            "defects": "any",
            "embedder_kwargs": {},
            "bank_size": None,
            "seed": 0,
        },
        thresholds={"rule": "fpr:0.01", "image": 1.5, "pixel": 0.5},
        map_range=(0.0, 2.0),
        levels=["stride 8", "stride 16"],
        fitted=fitted,
        images=[FileState(record.id, 10 + i, f"{i:064x}") for i, record in enumerate(records)],
        rows=[random.random((7, 4)).astype(np.float16), random.random((3, 6), np.float32)],
        ends=[np.array([3, 3, 7]), np.array([1, 2, 3])],
        calibration=records,
    )
    return replace(bank, **changed)


LEVELS = (Level("stride 8", components=4), Level("stride 16"))


def test_a_bank_is_read_as_it_was_written(tmp_path: Path) -> None:
    bank = make_bank()
    bank.write(tmp_path / "bank")
    found = BankFile.read(tmp_path / "bank")
    assert list(tmp_path.iterdir()) == [tmp_path / "bank"], "nothing else is left"
    for name in ("embedder", "settings", "thresholds", "map_range", "levels", "images"):
        assert getattr(found, name) == getattr(bank, name), name
    for arrays, expected in ((found.rows, bank.rows), (found.ends, bank.ends)):
        for array, other in zip(arrays, expected, strict=True):
            np.testing.assert_array_equal(array, other)
            assert array.dtype == other.dtype
    assert set(found.fitted) == set(bank.fitted)
    for name, array in bank.fitted.items():
        np.testing.assert_array_equal(found.fitted[name], array)
    for record, expected_record in zip(found.calibration, bank.calibration, strict=True):
        assert (record.id, record.image_score) == (expected_record.id, expected_record.image_score)
        np.testing.assert_array_equal(record.scores, expected_record.scores)
        np.testing.assert_array_equal(record.segments.boxes, expected_record.segments.boxes)
    assert found.checksum == hashlib.sha256((tmp_path / "bank").read_bytes()[:-32]).hexdigest()
    found.check_levels(LEVELS)


def test_any_reader_of_safetensors_can_open_it(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    make_bank().write(tmp_path / "bank.safetensors")
    arrays = numpy.load_file(tmp_path / "bank.safetensors")
    np.testing.assert_array_equal(arrays["rows.0"], make_bank().rows[0])


def test_unpacked_it_is_the_store_of_a_run(tmp_path: Path) -> None:
    bank = make_bank()
    store = RunStore.create(tmp_path / "run", {})
    bank.unpack(store)
    bank.unpack(store)
    images = list(store.bank)
    assert [image.path for image in images] == ["a.png", "b.png", "ü c.png"]
    assert [[len(rows) for rows in image.rows] for image in images] == [[3, 1], [0, 1], [4, 1]]
    np.testing.assert_array_equal(np.concatenate([image.rows[0] for image in images]), bank.rows[0])
    assert [record.id for record in store.normals] == ["a.png", "b.png", "ü c.png"]
    assert set(store.levels()) == set(bank.fitted)


def test_copies_are_known_by_content(tmp_path: Path) -> None:
    (tmp_path / "somewhere.png").write_bytes(b"the first")
    (tmp_path / "as_long.png").write_bytes(b"the other")
    state = FileState("a.png", 9, hashlib.sha256(b"the first").hexdigest())
    bank = make_bank(images=[state, *make_bank().images[1:]])
    store = RunStore.create(tmp_path / "run", {})
    bank.unpack(store)
    paths = [str(tmp_path / name) for name in ("somewhere.png", "as_long.png", "absent.png")]
    assert bank_copies(store, paths) == {paths[0]: "a.png"}


# Files that are damaged: not one of them may be taken, crash, or ask for more memory than the file has


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("bank") / "bank"
    make_bank().write(file)
    return file.read_bytes()


def refused(file: Path, content: bytes, match: str = "") -> None:
    file.write_bytes(content)
    with pytest.raises(segad.BankError, match=match) as caught:
        BankFile.read(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("share", np.linspace(0, 0.999, 40))
def test_truncated(whole: bytes, tmp_path: Path, share: float) -> None:
    refused(tmp_path / "bank", whole[: int(share * len(whole))])


@pytest.mark.parametrize("seed", range(100))
def test_altered_bytes(whole: bytes, tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    content = bytearray(whole)
    place = int(random.integers(len(whole))) if seed >= 10 else seed  # the first ten are the length and "{"
    content[place] ^= int(random.integers(1, 256))
    refused(tmp_path / "bank", bytes(content), "checksum|not a bank file")


def sealed(content: bytes) -> bytes:
    """A file with a checksum that fits, as somebody who means harm would make it."""
    return content + hashlib.sha256(content).digest()


def rebuilt(whole: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    change(header)
    encoded = json.dumps(header).encode()
    return sealed(len(encoded).to_bytes(8, "little") + encoded + whole[8 + length : -32])


@pytest.mark.parametrize("seed", range(60))
def test_altered_headers_whose_checksum_fits(whole: bytes, tmp_path: Path, seed: int) -> None:
    """Numbers of the header changed: too large, negative, of another type."""
    random = np.random.default_rng(seed)
    values: list[Any] = [-1, 0, 1, 10**9, 10**18, 10**400, 1.5, None, "x", [], {}, True]

    def change(header: dict[str, Any]) -> None:
        name = sorted(name for name in header if name not in ("__metadata__", "sha256"))[seed % (len(header) - 2)]
        value = values[int(random.integers(len(values)))]
        part = ("dtype", "shape", "data_offsets")[int(random.integers(3))]
        if part == "dtype" or random.random() < 0.3:
            header[name][part] = value
        else:
            header[name][part][int(random.integers(len(header[name][part])))] = value

    content = rebuilt(whole, change)
    if content == rebuilt(whole, lambda header: None):
        return  # the value that was there
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path / "bank", content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "KiB"


def described(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    def changed(header: dict[str, Any]) -> None:
        bank = json.loads(header["__metadata__"]["bank"])
        change(bank)
        header["__metadata__"]["bank"] = json.dumps(bank)

    return changed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header: header["__metadata__"].update(format="other"), "not of a bank"),
        (lambda header: header["__metadata__"].update(version="3"), "version 3 of the format.*update fiftyone_segad"),
        (lambda header: header["__metadata__"].update(version="x"), "version x"),
        (lambda header: header["__metadata__"].pop("bank"), "no bank that can be used"),
        (lambda header: header["__metadata__"].update(bank="{"), "no bank that can be used"),
        (lambda header: header["__metadata__"].update(bank="[" * 100_000), "no bank that can be used"),
        (lambda header: header.pop("rows.0"), "not where it should be"),
        (described(lambda bank: bank.update(levels=["stride 8"] * 3)), "rows.2"),
        (described(lambda bank: bank.update(levels=[])), "no levels"),
        (described(lambda bank: bank["images"].pop()), "images of level 0"),
        (described(lambda bank: bank["images"][0].__setitem__(0, "../a.png")), "not the name of a file"),
        (described(lambda bank: bank["images"][0].__setitem__(0, "b.png")), "two of one name"),
        (described(lambda bank: bank["thresholds"].update(image=float("nan"))), "threshold is no number"),
        (described(lambda bank: bank["thresholds"].update(image="1")), "threshold is no number"),
        (described(lambda bank: bank["thresholds"].pop("pixel")), "pixel"),
        (described(lambda bank: bank.update(map_range=[2, 0])), "range of heatmaps"),
        (described(lambda bank: bank["settings"].pop("seed")), "seed"),
        (described(lambda bank: bank["settings"].update(bank_size="many")), "bank_size"),
        (described(lambda bank: bank["settings"].update(segments=7)), "segments"),
        (described(lambda bank: bank["normals"].pop()), "scores of its normal images"),
        (described(lambda bank: bank.update(embedder=3)), "embedder"),
        (described(lambda bank: bank.update(marked=["c.png"])), "marked.0"),
        (described(lambda bank: bank.update(marked="c.png")), "what was marked has no names"),
        (described(lambda bank: bank.update(marked=["../c.png"])), "a mark is of no file"),
    ],
)
def test_a_file_that_contradicts_itself(
    whole: bytes, tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    refused(tmp_path / "bank", rebuilt(whole, change), reason)


def with_array(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays.__setitem__(name, change(arrays[name]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_array("rows.0", lambda a: np.where(np.arange(4) == 1, np.float16(np.nan), a)), "not finite"),
        (with_array("rows.0", lambda a: a[:, :3]), "components of level 0 do not fit"),
        (with_array("rows.1", lambda a: a[:0]), "no table"),
        (with_array("rows.1", lambda a: a.ravel()), "no table"),
        (with_array("ends.0", lambda a: a[::-1].copy()), "overlap"),
        (with_array("ends.0", lambda a: a - 5), "overlap"),
        (with_array("ends.1", lambda a: a + 1), "overlap"),
        (with_array("fitted.mean0", lambda a: a[:-1]), "do not fit"),
        (with_array("fitted.scale1", lambda a: a * 0), "not positive"),
        (with_array("fitted.damping1", lambda a: a[:5]), "shape"),
        (with_array("fitted.damping0", lambda a: a * np.float32(np.inf)), "not finite"),
        (lambda arrays: arrays.pop("fitted.damping0"), "scale of level 0 is not complete"),
        (lambda arrays: arrays.pop("fitted.mean0"), "components of level 0 are not complete"),
        # Few intervals that stand for a million times a million boxes
        (with_array("normals.shapes", lambda a: a * 10**6), "no segments"),
        (with_array("normals.shapes", lambda a: -a), "no segments"),
        (with_array("normals.score_ends", lambda a: a + 1), "no segments"),
        (with_array("normals.geometry_ends", lambda a: a[::-1].copy()), "no segments"),
        (with_array("normals.geometry", lambda a: a[:-1]), "other segments than boxes"),
        (with_array("normals.scores", lambda a: a[:-1]), "other segments than scores"),
        (with_array("normals.image_scores", lambda a: a + np.nan), "not finite"),
        (with_array("normals.sizes", lambda a: a * 0), "no size"),
        (with_array("normals.sizes", lambda a: a.ravel()), "scores of its normal images|no sizes"),
    ],
)
def test_arrays_that_do_not_fit(
    whole: bytes, tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    (tmp_path / "whole").write_bytes(whole)
    arrays, metadata, _ = read_tensors(tmp_path / "whole")
    change(arrays)
    write_tensors(tmp_path / "changed", arrays, metadata)
    refused(tmp_path / "changed", (tmp_path / "changed").read_bytes(), reason)


def test_other_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", rows=np.zeros(3))
    refused(tmp_path / "arrays.npz", (tmp_path / "arrays.npz").read_bytes(), "not a bank file")
    refused(tmp_path / "empty", b"", "not a bank file")
    with pytest.raises(FileNotFoundError, match="no file"):
        BankFile.read(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        BankFile.read(tmp_path)


@pytest.mark.parametrize(
    "levels", [LEVELS[:1], (*LEVELS, Level("c")), (Level("stride 8"), LEVELS[1]), (Level("other", 1, 4), LEVELS[1])]
)
def test_an_embedder_of_other_levels(levels: tuple[Level, ...]) -> None:
    with pytest.raises(segad.BankError, match="the embedder gives"):
        make_bank().check_levels(levels)


def test_a_bank_without_scales_does_not_fit_levels_that_need_them() -> None:
    fitted = {name: array for name, array in make_bank().fitted.items() if not name.startswith(("scale", "damping"))}
    with pytest.raises(segad.BankError):
        make_bank(fitted=fitted).check_levels(LEVELS)


# From one dataset to another


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
    versions = [read_tensors(each)[1]["version"] for each in (plain, file)]
    assert versions == ["1", "2"], "an older package must not read the marks over"
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
    own, found = (segad.explain_sample(dataset, key, last) for key in ("segad", "new"))
    assert [(each.box, each.score, each.level) for each in found] == [
        (each.box, each.score, each.level) for each in own
    ]
    for segment, other in zip(found, own, strict=True):
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
    assert [image.name for image in bank.images] == ["same.png", "same_2.png", "same_3.png", "same_4.png"]
    assert [image.sha256 for image in bank.images] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


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


@needs_fastdup
def test_the_operator(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path) -> None:
    operator = "@segad/anomaly/save_bank"
    dataset = dataset_of(pictures)

    def run(**params: Any) -> Any:
        return foo.execute_operator(operator, {"dataset": dataset, "params": params})

    with pytest.raises((ExecutionError, ValueError), match="no_runs"):
        run(path=str(tmp_path / "bank")).raise_exceptions()
    segad.compute_segment_anomalies(dataset, key="inside", method="within_image")
    run_on(dataset, **SMALL)
    done = run(path=str(tmp_path / "bank")).result
    assert done["file"] == str(tmp_path / "bank")
    assert len(BankFile.read(tmp_path / "bank").images) == 4
    for params, reason in (
        ({"path": str(tmp_path / "bank")}, "exists; tick the box"),
        ({"path": "relative"}, "full path"),
        ({"path": str(tmp_path)}, "is a folder"),
        ({}, "path"),
        ({"path": str(tmp_path / "x"), "key": "inside"}, "key"),
    ):
        with pytest.raises((ExecutionError, ValueError), match=reason):
            run(**params).raise_exceptions()
    assert run(path=str(tmp_path / "bank"), overwrite=True).result["file"]


def test_screws_that_come_later(tmp_path: Path) -> None:
    """With a bank that is searched by an inverted file: a run on all, on the first and then the others, a bank file."""
    dataset = segad.load_mvtec(shared("screw"))
    try:
        normals = dataset.match(F("split") == "train").limit(12)
        test = dataset.match(F("split") == "test").take(4, seed=2)
        options: dict[str, Any] = {"reference": normals, "embedder": "efficientnet", "threshold": "fpr:0.1"}
        whole = segad.compute_segment_anomalies(test, key="whole", **options)
        assert sum(len(image.rows[0]) for image in whole.store.bank) > EXACT_ROWS
        segad.compute_segment_anomalies(test.limit(2), key="part", **options)
        later = segad.score_new(test, "part")
        expected = scores(whole, names(dataset))
        assert scores(later, names(dataset)) == expected
        file = segad.save_bank(dataset, "part", tmp_path / "bank")
        assert file.stat().st_size < 12 * 2**20
        assert scores(segad.score_new(test, "file", bank=file), names(dataset)) == expected
    finally:
        for key in segad.list_runs(dataset):
            segad.delete_run(dataset, key)
        dataset.delete()
