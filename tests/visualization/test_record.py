"""What an audit finds in a report, and that the same run gives the same file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from fiftyone_segad.metrics.bounds import upper_bound
from mistaken_dataset import ALL_FLAGGED, NONE_FLAGGED, evaluated, mistaken_dataset
from report_page import saved

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path], colour_embedder: type) -> fo.Dataset:
    return mistaken_dataset(dataset_of, pictures)


def test_the_same_run_gives_the_same_file(dataset: fo.Dataset, tmp_path: Path) -> None:
    segad.mark_normal(dataset.limit(1), "segad")
    first, _ = saved(evaluated(dataset, ALL_FLAGGED), tmp_path)
    again, _ = saved(segad.evaluate_anomalies(dataset), tmp_path)
    assert first == again
    other, _ = saved(evaluated(dataset, NONE_FLAGGED), tmp_path)
    assert other != first


def test_settings_versions_and_checksums(dataset: fo.Dataset, tmp_path: Path) -> None:
    results = evaluated(dataset, ALL_FLAGGED)
    _, page = saved(results, tmp_path)
    assert results.run is not None

    def after(name: str) -> str:
        last = len(page.texts) - 1 - page.texts[::-1].index(name)
        return page.texts[last + 1]

    assert after("segments") == "tiles:0.4:0.2" and after("seed") == str(results.run.settings["seed"])
    assert after("threshold rule") == "-100" and after("fiftyone") == fo.__version__
    assert after("numpy") == np.__version__
    lines = []
    for path in dataset.values("filepath"):
        name = f"{Path(path).parent.name}/{Path(path).name}"
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        assert after(name) == digest
        lines.append(f"{digest}  {name}")
    assert after("images, all of them") == hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    bank = after("features of the normal images")
    assert len(bank) == 64
    segad.compute_segment_anomalies(dataset, reference=dataset.limit(3), segments="tiles:0.4:0.2", overwrite=True)
    _, page = saved(evaluated(dataset, ALL_FLAGGED), tmp_path)
    assert after("features of the normal images") != bank, "another bank"


def test_a_run_with_a_bank_file_names_its_checksum(dataset: fo.Dataset, tmp_path: Path) -> None:
    file = segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")
    segad.score_new(dataset, "line", bank=file)
    _, page = saved(segad.evaluate_anomalies(dataset, "line"), tmp_path)
    assert page.texts[page.texts.index("bank file") + 1] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_who_marked_what(dataset: fo.Dataset, tmp_path: Path) -> None:
    (mark,) = segad.mark_anomalous(dataset.limit(1), "segad", why="a <b>hair</b>", by="ada")
    _, page = saved(evaluated(dataset, ALL_FLAGGED), tmp_path)
    assert "Who marked what (1)" in page.texts
    row = page.texts.index("ada")
    assert page.texts[row - 1] == f"{mark.at:%Y-%m-%d %H:%M} UTC"
    assert page.texts[row + 1 : row + 3] == ["anomalous", "sample"]
    assert page.texts[row + 4] == "a <b>hair</b>"


def test_what_may_be_missed_at_most(dataset: fo.Dataset, tmp_path: Path) -> None:
    text = saved(evaluated(dataset, NONE_FLAGGED), tmp_path)[1].text
    assert "at most 100.0 % of such defective images are missed, 95 %" in text
    assert f"at most {100 * upper_bound(0, 4):.1f} % of such good images raise an alarm, 95 %" in text
    text = saved(evaluated(dataset, ALL_FLAGGED), tmp_path)[1].text
    assert f"at most {100 * upper_bound(0, 2):.1f} % of such defective images are missed, 95 %" in text


def test_what_is_gone_is_left_out(dataset: fo.Dataset, tmp_path: Path) -> None:
    results = evaluated(dataset, ALL_FLAGGED)
    Path(dataset.last().filepath).unlink()
    assert "cannot be read" in saved(results, tmp_path)[1].texts
    segad.delete_run(dataset, "segad")
    dataset.delete()
    _, page = saved(results, tmp_path)
    assert "Checksums (SHA-256)" not in page.texts and "Settings and versions" in page.texts
