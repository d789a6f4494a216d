"""The examples, run from top to bottom as a reader runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT, needs_fastdup

EXAMPLES = ROOT / "examples"


def run(name: str, *arguments: str | Path, cwd: Path) -> str:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_sample_dataset_is_seeded_and_its_masks_are_exact(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        run("make_sample_dataset.py", tmp_path / folder, "--categories", "gravel", "--seed", "3", cwd=tmp_path)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.png"))
    assert files == sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*.png"))
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    masks = sorted((tmp_path / "a/gravel/ground_truth").rglob("*.png"))
    assert len(masks) == 20
    for mask in masks:
        values = np.asarray(Image.open(mask))
        assert set(np.unique(values)) == {0, 255}, "every defect is there, and masks are 0 or 255"
        assert (values > 0).mean() < 0.3


@needs_fastdup
def test_original_method(sample_category: Path, tmp_path: Path) -> None:
    picture = sample_category / "test/foreign_object/000.png"
    printed = run("original_method.py", picture, "--grid", "5", "--out", "red.png", cwd=tmp_path)
    assert "of 25 segments are outliers" in printed
    pixels = np.asarray(Image.open(tmp_path / "red.png")).astype(int)
    assert ((pixels[..., 0] == 255) & (pixels[..., 1] == 0)).any(), "red boxes are drawn"


@pytest.mark.slow
@needs_fastdup
def test_mvtec_category(sample_category: Path, tmp_path: Path) -> None:
    printed = run("mvtec_category.py", sample_category, "--sheet", "sheet.png", cwd=tmp_path)
    for defect in ("scratch", "hole", "stain", "foreign_object", "displaced"):
        assert defect in printed
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
    total = next(line for line in printed.splitlines() if line.split()[:2] == ["all", "all"])
    assert float(total.split()[4]) > 0.9, "image AUROC: the defects of the sample are found"


@pytest.mark.slow
@needs_fastdup
def test_plugin_operators(sample_category: Path, tmp_path: Path) -> None:
    printed = run("plugin_operators.py", sample_category, cwd=tmp_path)
    assert "32 images are anomalous" in printed
    assert "The original method scored 3 images" in printed
    assert "segad_score" in printed.splitlines()[-1]
    assert "original_" not in printed.splitlines()[-1]


@pytest.mark.parametrize("name", ["original_method.py", "mvtec_category.py", "plugin_operators.py"])
def test_a_wrong_path_is_told(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / name), str(tmp_path / "absent.png")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert "absent.png" in done.stderr
