"""The side of anomalib in patchcore.py, in anomalib's own environment: fits PatchCore, scores images, saves the maps.

    python benchmarks/patchcore_anomalib.py TASK.json

Of this repository nothing is imported. The last line printed is a JSON object of what was measured; the anomaly maps
go to the file that the task names, float16 ``[n, size, size]``, in the order of its test images.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

BACKBONE = "tf_efficientnet_lite2"
LAYERS = ("blocks.2", "blocks.4")
"""The stages that the embedder `efficientnet` joins at a stride of 8."""

CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")
"""Prefixes of the tensors behind the last block, in the file of the weights."""

BATCH = 4
"""Images that go through the network at once: the fastest of 1, 2, 4, 8 and 32 on two cores, where 32 takes half the
speed and 0.6 GiB more."""


def main() -> None:
    """Measure, and print the figures."""
    task: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    patchcore = importlib.import_module("anomalib.models.image.patchcore.torch_model").PatchcoreModel
    torch.set_num_threads(task["threads"])
    torch.manual_seed(task["seed"])
    imported = peak_mib()
    start, start_cpu = time.perf_counter(), time.process_time()
    model = patchcore(layers=list(LAYERS), backbone=BACKBONE, pre_trained=False)
    copied = copy_weights(model.feature_extractor.feature_extractor, task["weights"])
    with torch.inference_mode():
        model.train()
        for images in batches(task["normals"], task["size"], task["threads"]):
            model(images)
        model.subsample_embedding(task["coreset"])
        fitted, fitted_cpu = time.perf_counter(), time.process_time()
        model.eval()
        scores: list[float] = []
        maps: list[NDArray[np.float16]] = []
        for images in batches(task["test"], task["size"], task["threads"]):
            found = model(images)
            scores += found.pred_score.flatten().tolist()
            maps.append(found.anomaly_map[:, 0].numpy().astype(np.float16))
        np.save(task["maps"], np.concatenate(maps))
    end, end_cpu = time.perf_counter(), time.process_time()
    measured = {
        "bank_rows": len(model.memory_bank),
        "tensors_copied": copied,
        "fit_seconds": fitted - start,
        "fit_cpu": fitted_cpu - start_cpu,
        "predict_seconds": end - fitted,
        "predict_cpu": end_cpu - fitted_cpu,
        "imported_mib": imported,
        "peak_mib": peak_mib(),
        "scores": scores,
    }
    print(json.dumps(measured))


def copy_weights(network: torch.nn.Module, file: str) -> int:
    """Copy the weights tensor by tensor, in order: the names differ, order and shapes do not.

    Returns:
        how many tensors were copied: all of the network's

    Raises:
        ValueError: if number or shapes differ
    """
    weights = torch.load(file, map_location="cpu", weights_only=True)
    given = {name: tensor for name, tensor in weights.items() if not name.startswith(CLASSIFIER)}
    own = network.state_dict()
    if [tensor.shape for tensor in given.values()] != [tensor.shape for tensor in own.values()]:
        raise ValueError(f"The {len(given)} tensors of '{file}' do not fit the {len(own)} of {BACKBONE}")
    network.load_state_dict(dict(zip(own, given.values(), strict=True)))
    return len(own)


def batches(paths: Sequence[str], size: int, threads: int) -> Iterator[torch.Tensor]:
    """Yield the images as the network takes them; threads decode ahead."""
    with ThreadPoolExecutor(threads) as pool:
        decoded = pool.map(lambda path: read(path, size), paths)
        for start in range(0, len(paths), BATCH):
            pixels = np.stack([next(decoded) for _ in paths[start : start + BATCH]])
            yield (torch.from_numpy(pixels).float() - 127).div_(128).permute(0, 3, 1, 2)


def read(path: str, size: int) -> NDArray[np.uint8]:
    """Decode an image and resize it as the embedder `efficientnet` does: to means of areas where it shrinks."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    shrinks = size <= min(image.size)
    # The gap lets Pillow average in one pass: in two, it would round twice
    resized = image.resize((size, size), Image.Resampling.BOX, reducing_gap=1.0) if shrinks else None
    return np.array(resized or image.resize((size, size), Image.Resampling.BILINEAR), np.uint8)


def peak_mib() -> float:
    """Return the most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
