"""One category in MVTec layout, from folder to report.

    python examples/mvtec_category.py FOLDER [--name NAME] [--sheet contact_sheet.png]

Without --name the dataset is gone when the script ends; with it, it stays for the App and for the next time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fiftyone as fo
from fiftyone import ViewField as F

import fiftyone_segad as segad

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("--name", help="keeps the dataset under this name")
parser.add_argument("--sheet", type=Path, default=Path("contact_sheet.png"))
arguments = parser.parse_args()

if arguments.name and fo.dataset_exists(arguments.name):
    dataset = fo.load_dataset(arguments.name)
else:
    dataset = segad.load_mvtec(arguments.folder, name=arguments.name, persistent=bool(arguments.name))

normals = dataset.match(F("split") == "train")
test = dataset.match(F("split") == "test")

if "segad" not in segad.list_runs(dataset):
    segad.compute_segment_anomalies(test, key="segad", method="reference", reference=normals)
print(segad.load_run(dataset, "segad"))

results = segad.evaluate_anomalies(test, key="segad", gt_field="defect_mask")
print(results.report())

worst = test.sort_by("segad_score", reverse=True)
segad.contact_sheet(worst, key="segad", path=arguments.sheet)
print(f"Saved the highest scores with maps, masks and ground truth: {arguments.sheet}")
