"""Single images against a bank file: the figures of ``score_new`` to the last bit, without FiftyOne."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from conftest import needs_fastdup
from small_runs import save_stripes

SMALL: dict[str, Any] = {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}}

OPTIONS = [
    pytest.param(SMALL, id="levels"),
    pytest.param({**SMALL, "bank_size": 40, "clean": True, "groups": None}, id="coreset, clean"),
    pytest.param({"embedder": "efficientnet", "segments": "grid:3"}, id="grid"),
    pytest.param({"embedder": "fastdup"}, id="fastdup", marks=needs_fastdup),
    pytest.param({"embedder": "fastdup+efficientnet"}, id="fused", marks=needs_fastdup),
]


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return save_stripes(tmp_path)


def make_bank(dataset: fo.Dataset, file: Path, **options: Any) -> Path:
    settings = {"reference": dataset.limit(6), "threshold": "fpr:0.3", **options}
    segad.compute_segment_anomalies(dataset.limit(7), **settings)
    return segad.save_bank(dataset, "segad", file)


def assert_same(dataset: fo.Dataset, run: segad.Run, inspector: segad.Inspector) -> int:
    """Compare all that a run wrote with what the inspector says of the same files; return the number of alarms."""
    records = {record.id: record for record in run.store.scores}
    for sample in dataset:
        result = inspector(sample.filepath)
        assert result.score == sample[run.field("score")] == records[sample.id].image_score
        np.testing.assert_array_equal(result.record.scores, records[sample.id].scores)
        prediction = sample[run.field("pred")]
        assert (result.p_value, result.anomalous) == (prediction.p_value, prediction.label == "anomalous")
        mask = Image.open(sample[run.field("mask")].mask_path).convert("L")
        np.testing.assert_array_equal(result.mask, np.asarray(mask))
        detections = sample[run.field("regions")].detections
        assert [(region.score, region.area) for region in result.regions] == [
            (detection.anomaly_score, detection.area) for detection in detections
        ]
        assert all(
            (region.mask == detection.mask).all() for region, detection in zip(result.regions, detections, strict=True)
        )
        low, high = run.map_range
        shown = np.asarray(Image.open(sample[run.field("map")].map_path))
        np.testing.assert_array_equal(np.rint(np.clip((result.map - low) / (high - low), 0, 1) * 255), shown)
    return sum(label == "anomalous" for label in dataset.values(f"{run.field('pred')}.label"))


@pytest.mark.parametrize("options", OPTIONS)
def test_the_figures_are_those_of_score_new(
    dataset_of: Callable[..., fo.Dataset], paths: list[Path], tmp_path: Path, options: dict[str, Any]
) -> None:
    """Of copies, some of them of images of the bank, at the bank's threshold and at others."""
    file = make_bank(dataset_of(paths), tmp_path / "bank.safetensors", **options)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = dataset_of([Path(shutil.copy(path, elsewhere / f"new {path.name}")) for path in paths])
    run = segad.score_new(other, "new", bank=file)
    with segad.load_bank(file) as inspector:
        assert inspector.thresholds == run.thresholds
        assert inspector.false_alarm_share == run.false_alarm_share
        alarms = assert_same(other, run, inspector)
        assert 2 <= alarms < len(paths), "decisions of both kinds are compared"
        for threshold in ("fpr:0.15", 0.5 * run.thresholds.image):
            run = segad.set_threshold(other, "new", threshold)
            assert inspector.set_threshold(threshold) == run.thresholds
            assert assert_same(other, run, inspector) != alarms or threshold == "fpr:0.15"


def test_what_was_learnt_from_marks_counts(
    dataset_of: Callable[..., fo.Dataset], paths: list[Path], tmp_path: Path
) -> None:
    dataset = dataset_of(paths)
    plain = make_bank(dataset, tmp_path / "plain.safetensors", **SMALL)
    segad.score_new(dataset)
    segad.mark_normal(dataset.match({"segad_pred.label": "anomalous"}).to_patches("segad_regions"), "segad")
    run = segad.rescore(dataset).run
    learnt = segad.save_bank(dataset, "segad", tmp_path / "learnt.safetensors")
    with segad.load_bank(learnt) as inspector, segad.load_bank(plain) as before:
        assert_same(dataset.reload() or dataset, run, inspector)
        assert inspector(paths[-1]).score < before(paths[-1]).score


def test_what_was_taught_of_defects_counts(
    dataset_of: Callable[..., fo.Dataset], paths: list[Path], tmp_path: Path
) -> None:
    dataset = dataset_of(paths)
    plain = make_bank(dataset, tmp_path / "plain.safetensors", **SMALL)
    segad.score_new(dataset)
    segad.mark_anomalous(dataset.match({"segad_pred.label": "anomalous"}).to_patches("segad_regions"), "segad")
    segad.rescore(dataset)
    taught = segad.save_bank(dataset, "segad", tmp_path / "taught.safetensors")
    other = dataset_of(paths)
    run = segad.score_new(other, "new", bank=taught)
    with segad.load_bank(taught) as inspector, segad.load_bank(plain) as before:
        assert "defects" in inspector.bank.fitted
        assert_same(other, run, inspector)
        assert inspector(paths[-1]).score != before(paths[-1]).score


@pytest.fixture
def inspector(dataset_of: Callable[..., fo.Dataset], paths: list[Path], tmp_path: Path) -> Iterator[segad.Inspector]:
    with segad.load_bank(make_bank(dataset_of(paths), tmp_path / "bank", **SMALL)) as made:
        yield made


def test_files_their_content_and_arrays_are_alike(inspector: segad.Inspector, paths: list[Path]) -> None:
    expected = inspector(paths[-1])
    pixels = np.asarray(Image.open(paths[-1]))
    for source in (str(paths[-1]), paths[-1].read_bytes(), pixels, pixels.astype(np.uint16) * 257):
        result = inspector(source)
        np.testing.assert_array_equal(result.record.scores, expected.record.scores)
        assert result.p_value == expected.p_value
    grey = pixels[..., 0]
    np.testing.assert_array_equal(inspector(grey).record.scores, inspector(np.stack([grey] * 3, axis=2)).record.scores)
    of_bank = inspector(paths[0].read_bytes())
    assert of_bank.score == inspector(paths[0]).score
    assert inspector(np.asarray(Image.open(paths[0]))).score < of_bank.score, "an array is not known to be in the bank"


def test_arrays_of_more_bits_are_scaled_as_the_files_of_the_run(
    dataset_of: Callable[..., fo.Dataset], paths: list[Path], tmp_path: Path
) -> None:
    deep = []
    for path in paths:
        deep.append(path.with_suffix(".tif"))
        Image.fromarray(np.asarray(Image.open(path))[..., 0].astype(np.uint16) << 4).save(deep[-1])
    dataset = dataset_of(deep)
    file = make_bank(dataset, tmp_path / "bank", **SMALL)
    run = segad.score_new(dataset, "segad")
    with segad.load_bank(file) as inspector:
        assert_same(dataset, run, inspector)
        assert inspector(np.asarray(Image.open(deep[-1]))).score == inspector(deep[-1]).score


def test_threads_may_call_it_at_once(inspector: segad.Inspector, paths: list[Path]) -> None:
    expected = [inspector(path) for path in paths]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(inspector, paths * 3))
    for result, one in zip(results, expected * 3, strict=True):
        np.testing.assert_array_equal(result.record.scores, one.record.scores)
        np.testing.assert_array_equal(result.mask, one.mask)


def test_a_result_keeps_the_threshold_that_it_was_made_with(inspector: segad.Inspector, paths: list[Path]) -> None:
    result = inspector(paths[-1])
    inspector.set_threshold(result.score)
    assert result.anomalous and result.regions and result.mask.any()
    assert not inspector(paths[-1]).anomalous and not inspector(paths[-1]).mask.any()


def test_too_few_normals_for_a_share_are_told(inspector: segad.Inspector, caplog: pytest.LogCaptureFixture) -> None:
    inspector.set_threshold("fpr:0.001")
    assert "cannot support a false-alarm share of 0.001" in caplog.text


LINE = """
import sys
import fiftyone_segad as segad

inspector = segad.load_bank(sys.argv[1])
result = inspector(sys.argv[2])
inspector.set_threshold("fpr:0.2")
print(result.score, result.p_value, len(result.regions), result.map.shape)
loaded = {"fiftyone", "plotly", "pymongo", "matplotlib", "torch", "ray"} & set(sys.modules)
assert not loaded, loaded
"""


def test_fiftyone_is_not_imported(dataset_of: Callable[..., fo.Dataset], paths: list[Path], tmp_path: Path) -> None:
    file = make_bank(dataset_of(paths), tmp_path / "bank", **SMALL)
    command = [sys.executable, "-c", LINE, str(file), str(paths[-1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    with segad.load_bank(file) as inspector:
        assert float(done.stdout.split()[0]) == inspector(paths[-1]).score
