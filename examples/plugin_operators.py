"""The plugin's operators driven from Python, as the App drives them.

    FIFTYONE_PLUGINS_DIR=. python examples/plugin_operators.py FOLDER

FOLDER is in any usual layout, e.g. from examples/make_sample_dataset.py. Run it where FiftyOne finds the plugin:
with the variable above from the root of this repository, or after `fiftyone plugins download`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone import ViewField as F

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
arguments = parser.parse_args()

PLUGIN = "@segad/anomaly"

loaded = foo.execute_operator(
    f"{PLUGIN}/load_folder",
    params={"dataset_dir": str(arguments.folder.absolute()), "persistent": False},
).result
dataset = fo.load_dataset(loaded["dataset"])
print(f"Loaded {loaded['samples']} samples with {loaded['problems']} problems")

test = dataset.match(F("split") == "test")
scored = foo.execute_operator(
    f"{PLUGIN}/compute_segment_anomalies",
    {"view": test, "params": {"key": "segad", "normals": "split", "normals_value": "train"}},
).result
print(f"{scored['flagged']} of {scored['scored']} images are anomalous above {scored['threshold']:.3f}")

evaluated = foo.execute_operator(f"{PLUGIN}/evaluate_anomalies", {"view": test, "params": {"key": "segad"}}).result
print(evaluated["report"])

original = foo.execute_operator(
    f"{PLUGIN}/compute_segment_anomalies",
    {"view": test.limit(3), "params": {"key": "original", "method": "within_image", "grid": 7}},
).result
print(f"The original method scored {original['scored']} images by themselves")

foo.execute_operator(f"{PLUGIN}/delete_run", {"dataset": dataset, "params": {"key": "original"}})
print(f"Fields left: {[name for name in dataset.get_field_schema() if name.startswith(('segad', 'original'))]}")
