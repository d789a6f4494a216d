"""Do turned copies of normal images bring others nearer only where parts lie at any angle?

    python benchmarks/rotations.py [FOLDER ...]

By default on the shared folders, and on the screws laid straight. The table goes to rotations.md beside this file.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiftyone_segad.embedders.aligned import align
from fiftyone_segad.embedders.efficientnet import EfficientNetEmbedder
from fiftyone_segad.engine.job import Job, JobContext, JobImage, JobSpec
from fiftyone_segad.engine.passes import fit_levels
from fiftyone_segad.engine.rotations import HELPFUL, nearness_of_copies
from fiftyone_segad.storage.store import RunStore

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDERS = (DATA / "screw", DATA / "magnetic_tile")
TABLE = Path(__file__).with_suffix(".md")

COUNTS = (6, 16)
DRAWS = 3

LEGEND = f"""Each figure is of a draw of normal images: the distance of half of them to the other half and to copies of
these turned by quarters, relative to that without the copies (the highest 2 % of each image). From {HELPFUL} down the
parts are laid straight if the figure is above it then, as that of the screws is; else the bank gets turned copies."""


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", default=FOLDERS)
    sets = {folder.resolve().name: sorted((folder / "train/good").iterdir()) for folder in parser.parse_args().folders}
    lines = [f"| folder | {' | '.join(f'{count} images' for count in COUNTS)} |", "|" + " --- |" * (len(COUNTS) + 1)]
    with EfficientNetEmbedder() as embedder, tempfile.TemporaryDirectory() as scratch:
        if "screw" in sets:
            sets["screw, laid straight"] = [straight(file, Path(scratch)) for file in sets["screw"]]
        for name, files in sets.items():
            figures = (
                ", ".join(f"{nearness(embedder, files, count, i):.2f}" for i in range(DRAWS)) for count in COUNTS
            )
            lines.append(f"| {name} | {' | '.join(figures)} |")
            print(lines[-1], flush=True)
    title = "# Turned copies\n\nMade by `python benchmarks/rotations.py`."
    TABLE.write_text("\n\n".join([title, LEGEND, "\n".join(lines)]) + "\n")


def straight(file: Path, folder: Path) -> Path:
    """Write a picture of the same size with the part laid across it, the heavy end to the left."""
    pixels = np.asarray(Image.open(file).convert("RGB"))
    part = align(pixels).pixels[: pixels.shape[0], : pixels.shape[1]]
    picture: NDArray[np.uint8] = np.empty_like(pixels)
    picture[:] = np.median(pixels.reshape(-1, 3), axis=0)
    top, left = (np.array(picture.shape[:2]) - part.shape[:2]) // 2
    picture[top : top + part.shape[0], left : left + part.shape[1]] = part
    target = folder / f"{file.stem}.png"
    Image.fromarray(picture).save(target)
    return target


def nearness(embedder: EfficientNetEmbedder, files: list[Path], count: int, seed: int) -> float:
    """Return the ratio for a draw of the files."""
    drawn = [files[i] for i in np.sort(np.random.default_rng(seed).permutation(len(files))[:count])]
    normals = [JobImage(str(file), str(file)) for file in drawn]
    with tempfile.TemporaryDirectory() as scratch:
        spec = JobSpec(normals[:1], normals, "reference", None)
        job = Job(spec, JobContext(embedder, RunStore(Path(scratch) / "store"), workers=2))
        return nearness_of_copies(job, fit_levels(job, normals))


if __name__ == "__main__":
    main()
