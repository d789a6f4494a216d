"""Are the pictures of one physical part found? Texture beside embeddings of whole images, on the magnetic tiles.

    python benchmarks/duplicates.py [FOLDER] [--sheet groups.png]

FOLDER holds images named ``exp<exposure>_num<number>``, as those of the magnetic tiles. The names tell most pictures of
one part: taken one after the other at rising exposure, they have numbers that follow closely. The methods do not see
them. The table goes to duplicates.md beside this file; the sheet shows each group in a row, with the files' names.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

import cv2
import fiftyone as fo
import numpy as np
from PIL import Image, ImageDraw

import fiftyone_segad as segad
from fiftyone_segad.utils.images import read_header, read_image

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TABLE = Path(__file__).with_suffix(".md")

APART = 120
"""Numbers of two pictures of one part, taken one after the other, differ by at most this."""

THRESHOLDS = (0.9, 0.93, 0.95, 0.96, 0.97, 0.98)

LEGEND = """Pairs of images that are in one group, by the names of the files. A pair counts as right if the names say
that it shows one part, so that precision is a lower bound: parts that were pictured again later have names that do not
tell."""

COLUMNS = ("method", "groups", "largest", "pairs", "precision", "recall")

_TILE = 150

Pair = tuple[str, str]


def main() -> None:
    """Measure, and print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", default=DATA / "magnetic_tile/train/good")
    parser.add_argument("--sheet", metavar="FILE", type=Path)
    arguments = parser.parse_args()
    fo.config.show_progress_bars = False
    files = sorted(arguments.folder.iterdir(), key=number)
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=str(file)) for file in files])
    names = dict(zip(dataset.values("id"), (file.name for file in files), strict=True))
    expected = pairs(named_groups(files))
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    parts = segad.find_duplicates(dataset, kind="part")
    rows = [("part", parts)]
    rows += [(f"near, {t}", segad.find_duplicates(dataset, kind="near", threshold=t)) for t in THRESHOLDS]
    for name, found in rows:
        groups = [[names[id] for id in group] for group in found.groups]
        together = pairs(groups)
        right = len(together & expected)
        figures = (right / max(len(together), 1), right / len(expected))
        counts = (len(groups), max(map(len, groups), default=0), len(together))
        cells = [name, *map(str, counts), *(f"{value:.3f}" for value in figures)]
        lines.append(f"| {' | '.join(cells)} |")
    dataset.delete()
    text = f"{LEGEND}\n\n{len(files)} images, {len(expected)} pairs of one part by name.\n\n" + "\n".join(lines)
    print(text)
    TABLE.write_text(f"# Duplicates\n\nMade by `python benchmarks/duplicates.py`.\n\n{text}\n")
    if arguments.sheet is not None:
        paths = {file.name: file for file in files}
        draw([[paths[names[id]] for id in group] for group in parts.groups], arguments.sheet)


def number(file: Path) -> int:
    """Return the number in a file's name."""
    return int(file.stem.split("_")[-1])


def named_groups(files: Sequence[Path]) -> list[list[str]]:
    """Return the pictures of one part by the names of the files, which are in the order of their numbers."""
    groups = [[files[0].name]]
    for before, file in itertools.pairwise(files):
        sizes = [np.array(read_header(str(each)).size) for each in (before, file)]
        near = number(file) - number(before) <= APART and file.stem[:4] > before.stem[:4]
        if near and np.abs(sizes[0] / sizes[1] - 1).max() < 0.08:
            groups[-1].append(file.name)
        else:
            groups.append([file.name])
    return groups


def pairs(groups: Sequence[Sequence[str]]) -> set[Pair]:
    """Return all pairs that are in one group."""
    return {(min(pair), max(pair)) for group in groups for pair in itertools.combinations(group, 2)}


def draw(groups: Sequence[Sequence[Path]], file: Path) -> None:
    """Draw each group side by side at one contrast, several groups per row."""
    across = 10
    rows: list[list[tuple[int, Path]]] = [[]]
    for i, group in enumerate(groups):
        if len(rows[-1]) + len(group) > across:
            rows.append([])
        rows[-1] += [(i, path) for path in group]
    sheet = Image.new("RGB", (across * _TILE, len(rows) * _TILE), "white")
    pen = ImageDraw.Draw(sheet)
    for row, places in enumerate(rows):
        for column, (group_number, path) in enumerate(places):
            grey = cv2.equalizeHist(cv2.cvtColor(read_image(str(path)), cv2.COLOR_RGB2GRAY))
            picture = Image.fromarray(grey)
            picture.thumbnail((_TILE - 8, _TILE - 18))
            sheet.paste(picture, (column * _TILE, row * _TILE + 14))
            colour = "red" if group_number % 2 else "blue"
            pen.text((column * _TILE, row * _TILE), f"{group_number} {path.stem[-12:]}", colour)
    sheet.save(file)


if __name__ == "__main__":
    main()
