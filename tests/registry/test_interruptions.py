"""What ends a run early costs nothing: neither what was computed, nor the run before, nor what belongs to others."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from conftest import ROOT, start_mongod
from fiftyone_segad.errors import RunBusyError, RunError
from fiftyone_segad.registry.folders import dataset_folder, runs_folder
from fiftyone_segad.registry.keys import FIELD_NAMES, field_name
from fiftyone_segad.registry.locks import run_lock

pytestmark = pytest.mark.usefixtures("colour_embedder")

SCRIPT = ROOT / "tests" / "interrupted_run.py"


@pytest.fixture
def made(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> Callable[[], fo.Dataset]:
    """Makes datasets of four normal images and eight others."""
    for i in range(6):
        pictures.append(pictures[i].with_name(f"turned-{i}.png"))
        Image.open(pictures[i]).transpose(Image.Transpose.ROTATE_180).save(pictures[-1])

    def make() -> fo.Dataset:
        dataset = dataset_of(pictures)
        dataset.limit(4).tag_samples("good")
        return dataset

    return make


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    settings = {"reference": dataset.match_tags("good"), "segments": "tiles:0.4:0.2", "embedder": "efficientnet"}
    return segad.compute_segment_anomalies(dataset.skip(4), **{**settings, **options})


def new_run(dataset: fo.Dataset) -> segad.Run:
    """The run that interrupted_run.py computes."""
    return compute(dataset, threshold="quantile:0.7", overwrite=True)


def old_run(dataset: fo.Dataset) -> segad.Run:
    return compute(dataset, segments="grid:3", threshold="quantile:0.5", overwrite=True)


def seen(dataset: fo.Dataset) -> dict[str, Any]:
    """All that a person sees of a run: labels, and the pixels of maps and masks."""
    dataset.reload()
    labels: dict[str, Any] = {}
    for sample in dataset:
        for name in FIELD_NAMES:
            label = sample[field_name("segad", name)]
            if name in ("map", "mask") and label is not None:
                labels[sample.filepath, name] = np.asarray(Image.open(label[f"{name}_path"])).tolist()
            elif name in ("segments", "regions") and label is not None:
                labels[sample.filepath, name] = [
                    (item.label, item.bounding_box, item.anomaly_score) for item in label.detections
                ]
            else:
                labels[sample.filepath, name] = getattr(label, "label", label)
    return labels


def child(dataset: fo.Dataset, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), dataset.name, "segad", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def leftovers(dataset: fo.Dataset) -> list[str]:
    """Files of the dataset that are not of the registered run."""
    run = segad.load_run(dataset, "segad")
    current = Path(run.folder)
    files = [file for file in dataset_folder(dataset).rglob("*") if file.is_file()]
    return [
        str(file)
        for file in files
        if current not in file.parents
        or file.suffix == ".partial"
        or (file.parent.name.startswith("masks-") and file.parent.name != run.masks)
    ]


@pytest.mark.parametrize("part", [slice(4), pytest.param(slice(4, 20), marks=pytest.mark.slow)], ids=["few", "many"])
def test_killed_at_any_moment(made: Callable[[], fo.Dataset], part: slice) -> None:
    """kill -9 at random moments: before it is resumed the old run is complete, or the new one; after it the new one."""
    dataset = made()
    new_run(dataset)
    new = seen(dataset)
    old_run(dataset)
    old = seen(dataset)
    assert old != new
    code, out, err = finished(child(dataset))
    assert code == 0, err
    total = int(out.splitlines()[-1])
    assert seen(dataset) == new, "the process computes the same run"
    # Half of the moments in the last quarter, where the new run takes the place of the old one
    generator = random.Random(8)
    moments = [generator.randrange(total) if i % 2 else generator.randrange(3 * total // 4, total) for i in range(20)][
        part
    ]

    def kill(moments: list[int]) -> list[str]:
        """Kill a run at each of some moments; return which run was complete then."""
        mine = made()
        outcomes = []
        for moment in moments:
            old_run(mine)
            process = child(mine, signal.SIGKILL.value, moment)
            code, _, err = finished(process)
            assert code == -signal.SIGKILL, err
            mine.reload()
            segad.load_run(mine, "segad")  # as whoever looks at the run does
            at = seen(mine)
            outcomes.append("old" if at == old else "new" if at == new else f"broken at {moment} of {total}")
            new_run(mine)
            assert seen(mine) == new, f"killed at {moment} of {total}"
            assert not [name for name in mine.get_field_schema() if "pending" in name]
            assert leftovers(mine) == []
        segad.delete_run(mine, "segad")
        assert not dataset_folder(mine).exists()
        return outcomes

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(kill, [moments[::2], moments[1::2]])
    assert {*first, *second} == {"old", "new"}, (first, second)


def test_a_killed_first_run_can_be_removed(made: Callable[[], fo.Dataset]) -> None:
    dataset = made()
    before = list(dataset.get_field_schema())
    total = int(finished(child(dataset))[1].splitlines()[-1])
    segad.delete_run(dataset, "segad")
    assert finished(child(dataset, signal.SIGKILL.value, total // 2))[0] == -signal.SIGKILL
    assert dataset_folder(dataset).exists()
    dataset.reload()
    segad.delete_run(dataset, "segad")
    assert list(dataset.get_field_schema()) == before
    assert not dataset_folder(dataset).exists()
    with pytest.raises(ValueError, match="no run 'segad'"):
        segad.delete_run(dataset, "segad")


def test_ctrl_c_ends_the_process_and_the_next_one_goes_on(made: Callable[[], fo.Dataset]) -> None:
    dataset = made()
    old_run(dataset)
    old = seen(dataset)
    code, _, err = finished(child(dataset, signal.SIGINT.value, "part"))
    assert code in (1, -signal.SIGINT, 130)
    assert "KeyboardInterrupt" in err
    assert seen(dataset) == old
    code, _, err = finished(child(dataset))
    assert code == 0, err
    finished_by_child = seen(dataset)
    new_run(dataset)
    assert finished_by_child == seen(dataset)


def test_the_same_key_is_refused_at_once(made: Callable[[], fo.Dataset]) -> None:
    dataset = made()
    process = child(dataset, "pause", 8, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "paused\n"
    dataset.reload()
    for write in (
        lambda: compute(dataset),
        lambda: segad.set_threshold(dataset, "segad", 0.5),
        lambda: segad.rescore(dataset, "segad"),
        lambda: segad.score_new(dataset, "segad"),
        lambda: segad.delete_run(dataset, "segad"),
    ):
        with pytest.raises(RunBusyError, match=f"process {process.pid} on .*wait for it, cancel it"):
            write()
    other = compute(dataset, key="other")
    assert other.scored == len(dataset) - 4
    _, err = process.communicate("go on\n", timeout=300)
    assert process.returncode == 0, err
    dataset.reload()
    assert set(segad.list_runs(dataset)) == {"other", "segad"}
    first = dataset.last()
    assert first.segad_score == first.other_score, "neither has disturbed the other"


def test_the_lock_of_a_dead_process_is_no_hindrance(
    made: Callable[[], fo.Dataset], caplog: pytest.LogCaptureFixture
) -> None:
    dataset = made()
    process = child(dataset, signal.SIGKILL.value, 8)
    finished(process)
    assert (dataset_folder(dataset) / "segad.lock").is_file()
    with caplog.at_level("INFO", logger="fiftyone_segad.registry.locks"):
        assert new_run(dataset).scored == len(dataset) - 4
    assert f"left by process {process.pid}" in caplog.text
    assert not (dataset_folder(dataset) / "segad.lock").exists()


def test_a_lock_that_was_removed_while_it_was_waited_for(made: Callable[[], fo.Dataset]) -> None:
    """One process at a time holds it, although its file goes with each that lets it go."""
    dataset = made()
    inside: list[int] = []

    def enter(number: int) -> bool:
        try:
            with run_lock(dataset, "segad"):
                inside.append(number)
                assert len(inside) == 1
                inside.remove(number)
            return True
        except RunBusyError:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert any(threads.map(enter, range(400)))
    assert not dataset_folder(dataset).exists()


def test_a_dataset_that_is_deleted_meanwhile(made: Callable[[], fo.Dataset]) -> None:
    for moment in (6, 14):  # while images are scored, and while fields are written
        dataset = made()
        folder = runs_folder(dataset, "segad")
        count = [0]

        def advance(bar: Any, moment: int = moment, dataset: fo.Dataset = dataset, count: list[int] = count) -> None:
            count[0] += 1
            if count[0] == moment:
                fo.delete_dataset(dataset.name)

        with pytest.raises(RunError, match="was deleted while its run 'segad' was being written"):
            compute(dataset, progress=advance)
        assert not folder.parent.exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk(made: Callable[[], fo.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        monkeypatch.setenv("FIFTYONE_SEGAD_DIR", str(disk))
        dataset = made()
        before = list(dataset.get_field_schema())
        with pytest.raises(OSError, match="Free the disk"):
            new_run(dataset)
        assert list(dataset.get_field_schema()) == before
        assert not list(disk.rglob("*.partial"))
        parts = list(disk.rglob("part-*.safetensors"))
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        run = new_run(dataset)
        assert parts and all(file.is_file() for file in parts), "what was written is used"
        assert run.scored == len(dataset) - 4
        segad.delete_run(dataset, "segad")
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.6, 0.8], ids=["scoring", "writing", "putting in force"])
def test_a_database_that_is_restarted(pictures: list[Path], tmp_path: Path, share: float) -> None:
    """What the process wants of it meanwhile is asked again."""
    (tmp_path / "db").mkdir()
    mongod, uri = start_mongod(tmp_path / "db")
    environment = {**os.environ, "FIFTYONE_DATABASE_URI": uri}

    def python(code: str) -> str:
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        python(
            "import fiftyone as fo; dataset = fo.Dataset('restarted', persistent=True); "
            f"dataset.add_samples([fo.Sample(filepath=path) for path in {list(map(str, pictures))}]); "
            "dataset.limit(4).tag_samples('good')"
        )
        command = [sys.executable, str(SCRIPT), "restarted", "segad"]
        uninterrupted = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        moment = int(int(uninterrupted.stdout.splitlines()[-1]) * share)
        process = subprocess.Popen(
            [*command, "pause", str(moment)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "paused\n"
        mongod.terminate()
        mongod.wait()
        mongod, _ = start_mongod(tmp_path / "db", int(uri.rsplit(":", 1)[1]))
        _, err = process.communicate("go on\n", timeout=300)
        assert process.returncode == 0, err
        scores = python(
            "import fiftyone as fo, fiftyone_segad as segad; dataset = fo.load_dataset('restarted'); "
            "print(segad.load_run(dataset, 'segad').scored, dataset.count('segad_score'), dataset.count('segad_mask'))"
        )
        assert scores.split() == ["2", "2", "2"]
    finally:
        mongod.kill()
        mongod.wait()
