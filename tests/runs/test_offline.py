"""Nothing is sent anywhere: a whole run with the network cut off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

SCRIPT = ROOT / "tests" / "offline_run.py"
UNSHARE = ["unshare", "--net", "--map-root-user"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the loopback is raised with Linux's calls")


def run(category: Path, folder: Path, *arguments: str, before: tuple[str, ...] = ()) -> list[str]:
    """What a whole run tried to reach; it has a database of its own."""
    variables = {name: value for name, value in os.environ.items() if name != "FIFTYONE_DATABASE_URI"}
    variables |= {"FIFTYONE_SEGAD_DIR": str(folder / "segad"), "FIFTYONE_DEFAULT_DATASET_DIR": str(folder / "datasets")}
    variables |= {"FIFTYONE_DATABASE_NAME": "offline", "FIFTYONE_DO_NOT_TRACK": "true"}
    command = [*before, sys.executable, "-W", "ignore", str(SCRIPT), str(category), str(folder), *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=600,
        env=variables,
        cwd=folder,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    reached: list[str] = json.loads(done.stdout.splitlines()[-1])
    return reached


def test_a_whole_run_reaches_nothing_and_a_leak_is_seen(sample_category: Path, tmp_path: Path) -> None:
    """The two requests that the script adds at its end are all that there is."""
    reached = run(sample_category, tmp_path, "leak")
    assert reached == ["socket.connect 192.0.2.1", "socket.getaddrinfo telemetry.example"]


def test_it_needs_no_network(sample_category: Path, tmp_path: Path) -> None:
    """In a network namespace with nothing but a loopback, where neither C code nor a subprocess finds a way out."""
    works = shutil.which("unshare") and subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0
    if not works:
        pytest.skip("no network namespace can be made here: " + " ".join(UNSHARE))
    assert run(sample_category, tmp_path, before=tuple(UNSHARE)) == []
