"""The side of anomalib in evaluation.py, in anomalib's own environment: its metrics of maps and masks from files.

    python benchmarks/evaluation_anomalib.py FOLDER

The folder holds ``maps.npy`` (float32 ``[n, height, width]``), ``masks.npy`` (bool, the same shape) and ``scores.npy``
(of images, ``[n]``). Of this repository nothing is imported. The last line printed is a JSON object of the metrics.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

FIELDS = ("anomaly", "truth")
"""Fields of a batch that the metrics are told to compare."""


def main() -> None:
    """Compute the metrics and print them."""
    folder = Path(sys.argv[1])
    anomalib = importlib.import_module("anomalib.metrics")
    maps, masks, scores = (np.load(folder / f"{name}.npy") for name in ("maps", "masks", "scores"))
    start = time.perf_counter()
    images = batch(unit(scores), masks.any(axis=(1, 2)))
    pixels = batch(unit(maps), masks)
    measured: dict[str, Any] = {
        "image_auroc": value(anomalib.AUROC(FIELDS), images),
        "image_ap": value(anomalib.AUPR(FIELDS), images),
        "image_f1max": value(anomalib.F1Max(FIELDS), images),
        "pixel_auroc": value(anomalib.AUROC(FIELDS), pixels),
        "pixel_ap": value(anomalib.AUPR(FIELDS), pixels),
        "pixel_f1max": value(anomalib.F1Max(FIELDS), pixels),
        "aupro_30": value(anomalib.AUPRO(FIELDS, fpr_limit=0.3), pixels),
        "aupro_05": value(anomalib.AUPRO(FIELDS, fpr_limit=0.05), pixels),
        "aupimo_images": aupimo(anomalib.AUPIMO(FIELDS, return_average=False), pixels),
    }
    measured["seconds"] = time.perf_counter() - start
    raw = batch(maps, masks)
    measured["pixel_auroc_raw"] = value(anomalib.AUROC(FIELDS), raw)
    measured["pixel_ap_raw"] = value(anomalib.AUPR(FIELDS), raw)
    measured["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(measured))


def unit(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale scores to [0, 1] all together: outside of it torchmetrics takes them for logits."""
    low, high = float(values.min()), float(values.max())
    scaled = np.empty(values.shape, np.float32)
    for i, each in enumerate(values):
        scaled[i] = (each.astype(np.float64) - low) / (high - low)
    return scaled


def batch(anomaly: NDArray[np.floating], truth: NDArray[np.bool_]) -> SimpleNamespace:
    """Return scores and truth as the metrics take them: they read the fields they were told of a batch."""
    return SimpleNamespace(anomaly=torch.from_numpy(anomaly), truth=torch.from_numpy(truth))


def value(metric: Any, items: SimpleNamespace) -> float:
    """Return what a metric is of all items."""
    metric.update(items)
    return float(metric.compute())


def aupimo(metric: Any, pixels: SimpleNamespace) -> list[float | None]:
    """Return the AUPIMO of each image; None of normal ones."""
    metric.update(pixels)
    _, result = metric.compute()
    return [None if np.isnan(each) else float(each) for each in result.aupimos.tolist()]


if __name__ == "__main__":
    main()
