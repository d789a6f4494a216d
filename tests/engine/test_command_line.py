"""``python -m fiftyone_segad score``: tables, exit codes and what is told, as a shell sees them."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import fiftyone_segad as segad
from conftest import ROOT, temporary_datasets
from small_runs import save_stripes

KWARGS = {"input_size": 128}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a bank, and one with pictures of which two are anomalous."""
    root = tmp_path_factory.mktemp("line")
    (root / "made").mkdir()
    (root / "parts" / "later").mkdir(parents=True)
    pictures = save_stripes(root / "made")
    with temporary_datasets() as dataset_of:
        dataset = dataset_of(pictures)
        segad.compute_segment_anomalies(
            dataset.skip(10), reference=dataset.limit(8), embedder="efficientnet", embedder_kwargs=KWARGS, threshold=1.6
        )
        segad.save_bank(dataset, "segad", root / "bank.safetensors")
    for number in (8, 9):
        shutil.copy(pictures[number], root / "parts" / f"={number}.png")
    shutil.copy(pictures[10], root / "parts" / "later" / "ä, b.png")
    (root / "parts" / "notes.txt").write_text("no image")
    return root


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "fiftyone_segad", *map(str, arguments)]


def run(*arguments: str | Path, code: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def rows(file: Path) -> list[dict[str, str]]:
    content = file.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf"), "Excel needs the mark"
    assert content.count(b"\n") == content.count(b"\r\n")
    with file.open(encoding="utf-8-sig", newline="") as source:
        return list(csv.DictReader(source))


def test_a_folder_becomes_a_table(line: Path, tmp_path: Path) -> None:
    done = run("score", line / "bank.safetensors", line / "parts", "--csv", tmp_path / "out.csv", code=1)
    assert "3 of 3 images, 1 anomalous" in done.stderr and done.stdout == ""
    table = {row["path"]: row for row in rows(tmp_path / "out.csv")}
    assert list(table) == ["'=8.png", "'=9.png", "later/ä, b.png"], "a name is no formula"
    with segad.load_bank(line / "bank.safetensors") as inspector:
        for name, path in zip(table, ("=8.png", "=9.png", "later/ä, b.png"), strict=True):
            result, row = inspector(line / "parts" / path), table[name]
            assert (float(row["score"]), float(row["p_value"])) == (result.score, result.p_value)
            assert row["decision"] == ("anomalous" if result.anomalous else "normal")
            assert int(row["area"]) == (result.mask > 0).sum() and int(row["regions"]) == len(result.regions)
            box = [int(row[name]) for name in ("x0", "y0", "x1", "y1") if row[name]]
            assert box == (list(result.regions[0].box) if result.regions else [])
            assert row["family"] == row["reason"] == ""


def test_a_threshold_and_the_standard_output(line: Path) -> None:
    done = run(
        "score", line / "bank.safetensors", line / "parts", "--csv", "-", "--threshold", "1e6", "--quiet", code=0
    )
    assert done.stderr == "" and done.stdout.startswith("path,score")
    assert done.stdout.count("normal") == 3


def test_an_image_and_an_unreadable_one(line: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    shutil.copy(line / "parts" / "=8.png", folder / "b.png")
    (folder / "a.png").write_bytes(b"")
    done = run("score", line / "bank.safetensors", folder, "--csv", tmp_path / "out.csv", code=3)
    assert "a.png' is empty (0 bytes)" in done.stderr and "1 could not be scored" in done.stderr
    unread, read = rows(tmp_path / "out.csv")
    assert "is empty" in unread["reason"] and unread["score"] == unread["decision"] == ""
    assert read["decision"] == "normal"
    run("score", line / "bank.safetensors", folder / "b.png", "--csv", tmp_path / "one.csv", code=0)
    assert [row["path"] for row in rows(tmp_path / "one.csv")] == ["b.png"]


def test_wrong_use_tells_the_remedy(line: Path, tmp_path: Path) -> None:
    bank, parts, out = line / "bank.safetensors", line / "parts", tmp_path / "out.csv"
    (tmp_path / "empty").mkdir()
    out.write_text("of yesterday")
    cases: list[tuple[list[str | Path], str]] = [
        ([], "required: COMMAND"),
        (["score", bank, parts], "required: --csv"),
        (["score", tmp_path / "absent", parts, "--csv", "-"], "absent"),
        (["score", parts / "notes.txt", parts, "--csv", "-"], "notes.txt"),
        (["score", bank, tmp_path / "absent", "--csv", "-"], "name one with images"),
        (["score", bank, tmp_path / "empty", "--csv", "-"], "holds no images"),
        (["score", bank, parts, "--csv", out], "pass --overwrite"),
        (["score", bank, parts, "--csv", out, "--overwrite", "--threshold", "alarms:3"], "use 'fpr:0.01'"),
        (["score", bank, parts, "--csv", tmp_path / "no" / "out.csv"], "No such file or directory"),
        (["score", bank, parts, "--csv", "-", "--embedder", "timm:resnet18"], "is not that of the bank"),
    ]
    for arguments, remedy in cases:
        assert remedy in run(*arguments, code=2).stderr
    assert out.read_text() == "of yesterday"
    run("score", bank, parts, "--csv", out, "--overwrite", code=1)
    assert len(rows(out)) == 3


def test_help_tells_columns_and_exit_codes() -> None:
    text = run("score", "--help", code=0).stdout
    assert "exit codes:" in text and "x0, y0, x1, y1" in text


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_keeps_what_was_done(line: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(400):
        shutil.copy(line / "parts" / "=8.png", folder / f"{number:03}.png")
    out = tmp_path / "out.csv"
    process = subprocess.Popen(
        command("score", line / "bank.safetensors", folder, "--csv", out),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    for _ in range(600):
        if out.is_file() and out.read_bytes().count(b"\n") > 5:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Stopped after" in said and "Traceback" not in said
    table = rows(out)
    assert 5 <= len(table) < 400
    assert all(row["decision"] == "normal" for row in table)
