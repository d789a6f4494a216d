"""The steps of docs/architecture.md, taken on a copy of the package: what is added so works from end to end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

PAGE = ROOT / "docs" / "architecture.md"

SCRIPT = """
import json
import os
import sys

import fiftyone as fo
import fiftyone.operators as foo

import fiftyone_segad as segad

dataset = fo.Dataset()
dataset.add_samples([fo.Sample(filepath=path) for path in sys.argv[2:]])
labels = ["good"] * 5 + ["blot"]
dataset.set_values("defect", [fo.Classification(label=label) for label in labels])
masks = [None] * 5 + [fo.Detections(detections=[fo.Detection(label="blot", bounding_box=[0.42, 0.38, 0.17, 0.2])])]
dataset.set_values("truth", masks)

run = segad.compute_segment_anomalies(dataset, "toy", reference=dataset.limit(4), embedder="mean_colour")
segad.compute_segment_anomalies(
    dataset, "bright", method="brightest", embedder="mean_colour", threshold="quantile:0.8", segments="grid:4"
)
results = segad.evaluate_anomalies(dataset, "bright", gt_field="truth")
results.save_report(sys.argv[1])
counted = foo.execute_operator("@segad/anomaly/count_flagged", {"dataset": dataset, "params": {"key": "bright"}})
print(json.dumps({
    "package": segad.__file__,
    "identity": run.settings["embedder"],
    "fields": [name for name in dataset.get_field_schema() if name.startswith("toy")],
    "last of": {key: dataset.sort_by(f"{key}_score").last().defect.label for key in ("toy", "bright")},
    "accuracy": results.metrics()["accuracy"],
    "flagged": counted.result["flagged"],
}))
"""


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Language and lines of each block of code."""
    return [(kind, body.splitlines()) for kind, body in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.M)]


def changed(text: str, hunk: list[str]) -> str:
    """The text of a file after a hunk of lines that stay (" "), go ("-") and come ("+")."""
    before = "".join(f"{line[1:]}\n" for line in hunk if line[0] in " -")
    after = "".join(f"{line[1:]}\n" for line in hunk if line[0] in " +")
    assert text.count(before) == 1, f"docs/architecture.md names lines that are not there:\n{before}"
    return text.replace(before, after)


def take_steps(root: Path) -> None:
    """Do with a copy of the repository what the page says."""
    for kind, lines in blocks(PAGE.read_text()):
        hunks = "\n".join(lines).split("\n\n") if kind == "diff" else ["\n".join(lines)]
        for hunk in map(str.splitlines, hunks):
            if hunk[0].startswith("# "):
                file = root / hunk.pop(0).removeprefix("# ")
            if kind == "diff":
                file.write_text(changed(file.read_text(), hunk))
            else:
                assert not file.exists()
                file.write_text("\n".join(hunk) + "\n")


def test_what_the_page_adds_works(tmp_path: Path, pictures: list[Path]) -> None:
    copy = tmp_path / "plugins" / "segad"
    shutil.copytree(ROOT / "fiftyone_segad", copy / "fiftyone_segad", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "fiftyone.yml", copy)
    take_steps(copy)
    (copy / "script.py").write_text(SCRIPT)
    report = tmp_path / "report.html"
    command = [sys.executable, "script.py", str(report), *map(str, pictures)]
    environment = {**os.environ, "FIFTYONE_PLUGINS_DIR": str(tmp_path / "plugins"), "PYTHONPATH": str(copy)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=copy, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["package"].startswith(str(copy))
    assert "mean_colour-1" in said["identity"]
    assert set(said["fields"]) >= {"toy_score", "toy_pred", "toy_map", "toy_mask", "toy_segments", "toy_regions"}
    assert said["last of"] == {"toy": "blot", "bright": "blot"}
    assert said["flagged"] == 1
    assert said["accuracy"] == 1
    assert "Share of the images that are on the right side of the threshold." in report.read_text()


def test_the_page_names_every_room() -> None:
    page = PAGE.read_text()
    rooms = {path.name for path in (ROOT / "fiftyone_segad").iterdir() if path.is_dir() and path.name[0] != "_"}
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.M)) == rooms


def test_the_way_of_one_image_leads_through_files_that_exist() -> None:
    way = PAGE.read_text().split("## The way of one image")[1].split("\n## ")[0]
    files = re.findall(r"^ +(\w+)/(\w+\.py)", way, re.M)
    assert len(files) > 10
    for room, file in files:
        assert (ROOT / "fiftyone_segad" / room / file).is_file(), file
