"""What the runs load: nothing that draws, before something is drawn."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import builtins
import sys

import fiftyone_segad.runs

assert not {"fiftyone", "matplotlib", "plotly"} & set(sys.modules), "the room itself loads nothing"

load, loaded_by_us = builtins.__import__, set()

def note(name, globals=None, *args, **kwargs):
    if (globals or {}).get("__name__", "").startswith("fiftyone_segad"):
        loaded_by_us.add(name.partition(".")[0])
    return load(name, globals, *args, **kwargs)

builtins.__import__ = note  # FiftyOne loads plotly and matplotlib, whoever imports it
import fiftyone_segad.runs.compute, fiftyone_segad.runs.rescore, fiftyone_segad.runs.save_bank
import fiftyone_segad.runs.score_new, fiftyone_segad.runs.thresholds

assert "numpy" in loaded_by_us
assert not {"faiss", "matplotlib", "onnxruntime", "plotly", "ray", "torch"} & loaded_by_us, loaded_by_us
assert not any(name.startswith("fiftyone_segad.visualization") for name in sys.modules)
"""


def test_runs_load_nothing_that_draws_and_no_model() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=300)
