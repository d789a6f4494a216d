"""Do families of predicted regions find the kinds of defects that people named?

    python benchmarks/families.py [FOLDER ...]

FOLDER is a category in MVTec layout. Its test images are scored with the training images as reference, and families of
the predicted regions are found at several thresholds. Beside them are the same grouping of embeddings of whole images,
and the components that fastdup finds among crops of the regions (needs fastdup: pip install --no-deps fastdup==2.54).
The table goes to families.md beside this file; rows of folders that are not measured stay in it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

import fiftyone_segad as segad
from fiftyone_segad.data.truth import GT_FIELD, Truth, read_truth
from fiftyone_segad.registry.run import load_run
from fiftyone_segad.runs.region_vectors import RunRegion, read_regions
from fiftyone_segad.scoring import families as scoring
from fiftyone_segad.segments.regions import label_regions, match_regions
from fiftyone_segad.storage.families import SavedFamilies, read_families
from fiftyone_segad.storage.store import RunStore
from fiftyone_segad.utils.images import read_image

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDERS = (DATA / "screw", DATA / "magnetic_tile")
TABLE = Path(__file__).with_suffix(".md")

THRESHOLDS = ("f1", "fpr:0.05", "fpr:0.01")
FALSE_ALARM = "false alarm"
NEIGHBOURS = (3, 5, 7)

LEGEND = """Regions are those that the run predicts at the threshold; "hits" are those that match a region of the ground
truth, whose kind they then have. NMI (normalised mutual information) and purity (share of the regions that are of the
most frequent kind of their family) are of the hits, grouped together with the false alarms; each single region counts
as a family of its own, which flatters NMI and purity where most are single: AMI is NMI adjusted for chance, 0 for
families that say nothing. "NMI with false alarms" is that of all regions, false alarms being one kind, which they are
not: there are several. "Whole images" are the mean features of the images instead of the regions', grouped by the same
rule; "fastdup" are the components of fastdup 2.54 among crops of the regions, at its own threshold of 0.96.
"k = 3, 5, 7" is the NMI with as many neighbours in the rule by which the number of families is found; 5 is the
default. The threshold `f1` has seen the truth, and flags most defects; the others have not, and at `fpr:0.01` few
regions are left, which say little."""

COLUMNS = (
    "folder",
    "threshold",
    "regions",
    "hits",
    "kinds",
    "grouped by",
    "families",
    "single",
    "NMI",
    "AMI",
    "purity",
    "NMI with false alarms",
    "NMI at k = 3, 5, 7",
)


def main() -> None:
    """Measure, and print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", default=FOLDERS)
    arguments = parser.parse_args()
    if missing := [str(folder) for folder in arguments.folders if not folder.is_dir()]:
        parser.error(f"no such folder: {', '.join(missing)}")
    fo.config.show_progress_bars = False
    head = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    kept = TABLE.read_text().splitlines() if TABLE.is_file() else []
    print("\n".join(head))
    for folder in arguments.folders:
        rows = []
        for row in measure(folder):
            rows.append(f"| {' | '.join(row)} |")
            print(rows[-1], flush=True)
        kept = [line for line in kept if not line.startswith(f"| {folder.name} |")] + rows
        table = [line for line in kept if any(line.startswith(f"| {name.name} |") for name in (*FOLDERS, folder))]
        title = f"# Do families find the kinds of defects?\n\nMade by `python benchmarks/families.py`.\n\n{LEGEND}\n\n"
        TABLE.write_text(title + "\n".join([*head, *table]) + "\n")


def measure(folder: Path) -> list[list[str]]:
    """Score a folder and return the rows of its thresholds."""
    dataset = segad.load_mvtec(folder)
    try:
        test, train = (dataset.match(F("split") == split) for split in ("test", "train"))
        segad.compute_segment_anomalies(test, reference=train, threshold=THRESHOLDS[0])
        rows = []
        for threshold in THRESHOLDS:
            segad.set_threshold(dataset, "segad", threshold)
            run = load_run(dataset, "segad")
            Path(run.folder, "families.safetensors").unlink(missing_ok=True)
            segad.find_families(dataset, "segad")
            saved = read_families(Path(run.folder))
            assert saved is not None
            regions = {region.id: region for region in read_regions(dataset, run)}
            rows += rows_of(dataset, run.store, folder.name, threshold, saved, [regions[id] for id in saved.ids])
        return rows
    finally:
        segad.delete_run(dataset, "segad")
        dataset.delete()


def rows_of(
    dataset: fo.Dataset,
    store: RunStore,
    folder: str,
    threshold: str,
    saved: SavedFamilies,
    regions: Sequence[RunRegion],
) -> list[list[str]]:
    """Return the rows of one threshold: families, whole images, and fastdup."""
    kinds = kinds_of(dataset, regions)
    hits = np.array([kind != FALSE_ALARM for kind in kinds])
    facts = [folder, threshold, str(len(regions)), str(hits.sum()), str(len(set(kinds) - {FALSE_ALARM}))]
    usual = scoring.NEIGHBOURS
    others = []
    for scoring.NEIGHBOURS in NEIGHBOURS:
        others.append(f"{figures(kinds, hits, scoring.group_regions(saved.vectors))[0]:.2f}")
    scoring.NEIGHBOURS = usual
    groupings = {
        "families": saved.families,
        "whole images": scoring.group_regions(image_vectors(store, regions)),
        "fastdup": fastdup_components(regions),
    }
    rows = []
    for name, families in groupings.items():
        nmi, ami, purity, nmi_all = figures(kinds, hits, families)
        counts = [str(families.max() + 1), str((families < 0).sum())]
        more = ", ".join(others) if name == "families" else ""
        rows.append([*facts, name, *counts, f"{nmi:.2f}", f"{ami:.2f}", f"{purity:.2f}", f"{nmi_all:.2f}", more])
    return rows


def figures(kinds: Sequence[str], hits: NDArray[np.bool_], families: NDArray[np.int64]) -> tuple[float, ...]:
    """Return NMI, AMI and purity of the hits, and the NMI of all."""
    alone = np.where(families < 0, families.max() + 1 + np.arange(len(families)), families)
    names = np.array(kinds)
    of_hits, families_of_hits = names[hits], alone[hits]
    purest = sum(
        np.unique(of_hits[families_of_hits == family], return_counts=True)[1].max()
        for family in np.unique(families_of_hits)
    )
    return (
        float(normalized_mutual_info_score(of_hits, families_of_hits)),
        float(adjusted_mutual_info_score(of_hits, families_of_hits)),
        float(purest / max(hits.sum(), 1)),
        float(normalized_mutual_info_score(names, alone)),
    )


def kinds_of(dataset: fo.Dataset, regions: Sequence[RunRegion]) -> list[str]:
    """Return the kind of defect that each region matches, or that it is a false alarm."""
    truths = read_truth(dataset, GT_FIELD)
    labels = dict(zip(*dataset.values(["id", "defect.label"]), strict=True))
    return [labels[region.sample] if is_hit(region, truths[region.sample]) else FALSE_ALARM for region in regions]


def is_hit(region: RunRegion, truth: Truth) -> bool:
    """Return whether a region matches one of the ground truth."""
    with Image.open(region.path) as image:
        size = image.size
    mask = truth.read(size)
    if mask is None or not mask.any():
        return False
    x0, y0, x1, y1 = region.pixels(size)
    predicted = np.zeros(size[::-1], np.int32)
    predicted[y0:y1, x0:x1] = region.mask
    defects, count = label_regions(mask)
    return bool(match_regions(predicted, defects, (1, count)).true[0])


def image_vectors(store: RunStore, regions: Sequence[RunRegion]) -> NDArray[np.float32]:
    """Describe the image of each region by the mean features of all of its segments, scaled to length 1 per level."""
    means = {
        image.path: [np.asarray(rows, np.float32).mean(axis=0) for rows in image.features] for image in store.features
    }
    levels: list[NDArray[np.float32]] = []
    for level in zip(*(means[region.sample] for region in regions), strict=True):
        rows = np.array(level)  # [regions, d]
        rows = rows - np.mean([image[len(levels)] for image in means.values()], axis=0)
        levels.append(rows / np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(len(means[regions[0].sample])))
    return np.hstack(levels).astype(np.float32)


def fastdup_components(regions: Sequence[RunRegion]) -> NDArray[np.int64]:
    """Return the components of fastdup among crops of the regions; -1 for a crop in none."""
    os.environ["SENTRY_OPT_OUT"] = "1"
    import fastdup

    with tempfile.TemporaryDirectory() as folder:
        crops = Path(folder, "crops")
        crops.mkdir()
        for number, region in enumerate(regions):
            pixels = read_image(region.path)
            x0, y0, x1, y1 = region.pixels((pixels.shape[1], pixels.shape[0]))
            # fastdup takes no image with a side of less than 10 pixels
            x0, y0 = max(min(x0, pixels.shape[1] - 16), 0), max(min(y0, pixels.shape[0] - 16), 0)
            Image.fromarray(pixels[y0 : max(y1, y0 + 16), x0 : max(x1, x0 + 16)]).save(crops / f"{number}.png")
        images = fastdup.create(work_dir=str(Path(folder, "work")), input_dir=str(crops))
        with contextlib.redirect_stdout(None):
            images.run(overwrite=True, print_summary=False)
        table = images.connected_components()[0]
    components = np.full(len(regions), -1)
    for _, group in table.groupby("component_id"):
        if len(group) > 1:
            components[[int(Path(name).stem) for name in group["filename"]]] = components.max() + 1
    return components


if __name__ == "__main__":
    main()
