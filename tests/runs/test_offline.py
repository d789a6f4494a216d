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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the loopback is raised with Linux's calls"),
]


def test_a_whole_run_reaches_nothing_and_a_leak_is_seen(sample_category: Path, tmp_path: Path) -> None:
    """The two requests that the script adds at its end are all that there is.

    It runs in a network namespace with nothing but a loopback, where neither C code nor a subprocess finds a way out,
    and with a database of its own.
    """
    if not shutil.which("unshare") or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here: " + " ".join(UNSHARE))
    variables = {name: value for name, value in os.environ.items() if name != "FIFTYONE_DATABASE_URI"}
    variables |= {"FIFTYONE_SEGAD_DIR": str(tmp_path / "segad"), "FIFTYONE_DATABASE_NAME": "offline"}
    variables |= {"FIFTYONE_DEFAULT_DATASET_DIR": str(tmp_path / "datasets")}
    command = [*UNSHARE, sys.executable, "-W", "ignore", str(SCRIPT), str(sample_category), str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=variables, cwd=tmp_path, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr[-3000:]
    reached = json.loads(done.stdout.splitlines()[-1])
    assert reached == ["socket.connect 192.0.2.1", "socket.getaddrinfo telemetry.example"]
