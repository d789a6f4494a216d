"""Runs the real fastdup. Started as a script by ``fastdup_native``; never imported.

Reads one JSON request a line, ``{"job": "features" | "outliers", "folder": ...}``, and answers with one
JSON line, ``{"result": ...}`` or ``{"error": ...}``. The segments are ``<folder>/segments/<number>.png``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    # fastdup prints to stdout, from Python and from C++; the answers keep a descriptor of their own
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    os.environ["SENTRY_OPT_OUT"] = "1"
    sys.path.pop(0)  # this script's folder, where the module that runs fastdup's model is named like the package
    try:
        import fastdup
    except Exception as error:
        answers.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
        return
    answers.write(json.dumps({"result": "ready"}) + "\n")
    jobs = {"features": features, "outliers": outliers}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": jobs[request["job"]](fastdup, Path(request["folder"]))}
        except Exception as error:  # for the parent, which raises it
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


def features(fastdup: Any, folder: Path) -> list[list[float]]:
    """The features of every segment, in the order of their numbers."""
    work = folder / "work"
    fastdup.run(input_dir=str(folder / "segments"), work_dir=str(work), run_mode=1)
    names, values = fastdup.load_binary_feature(str(work / "atrain_features.dat"))
    order = sorted(range(len(names)), key=lambda i: int(Path(names[i]).stem))
    return [values[i].tolist() for i in order]


def outliers(fastdup: Any, folder: Path) -> list[tuple[int, float]]:
    """fastdup's own outliers as (segment number, its ``distance``), most outlying first."""
    segments = fastdup.create(input_dir=str(folder / "segments"), work_dir=str(folder / "work"))
    segments.run(overwrite=True, print_summary=False)
    table = segments.outliers().sort_values("distance", kind="stable")
    numbers = [int(Path(name).stem) for name in table["filename_outlier"]]
    return list(zip(numbers, table["distance"].astype(float).tolist(), strict=True))


if __name__ == "__main__":
    main()
