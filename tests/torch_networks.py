"""Small networks with random weights, to be loaded by name, and their own forward passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.embedders.torch_models import TorchEmbedder

torch = pytest.importorskip("torch")

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

HUBCONF = '''
import torch
from torch import nn

dependencies = ["torch"]


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(d), nn.MultiheadAttention(d, 2, batch_first=True)
        self.norm2, self.mlp = nn.LayerNorm(d), nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y)[0]
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """As DINOv2: a [CLS] token and two registers, then the patches."""

    def __init__(self, d=16, depth=4, classes=5):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, d, 8, 8)
        self.extra = nn.Parameter(torch.randn(1, 3, d))
        self.blocks = nn.ModuleList(Block(d) for _ in range(depth))
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, classes)

    def get_intermediate_layers(self, x, n):
        x = torch.cat([self.extra, self.patch_embed(x).flatten(2).transpose(1, 2)], 1)
        given = []
        for block in self.blocks:
            x = block(x)
            given.append(self.norm(x)[:, 3:])
        return [given[i] for i in n]

    def forward(self, x):
        x = torch.cat([self.extra, self.patch_embed(x).flatten(2).transpose(1, 2)], 1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Stage(nn.Module):
    """As in a bottleneck, the first convolution still has the stride of the stage before."""

    def __init__(self, before, d):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(before, d, 1), nn.Conv2d(d, d, 3, 2, 1)
        self.norm = nn.BatchNorm2d(d)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.norm(self.conv2(self.act(self.conv1(x)))))


class Convolutional(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.stage1, self.stage2 = Stage(6, 8), Stage(8, 10)
        self.stage3, self.stage4 = Stage(10, 12), Stage(12, 14)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(14, classes)

    def maps(self, x):
        x8 = self.stage2(self.stage1(self.stem(x)))
        x16 = self.stage3(x8)
        return [x8, x16, self.stage4(x16)]

    def forward(self, x):
        return self.fc(self.pool(self.maps(x)[-1]).flatten(1))


def load(network, pretrained, url):
    if pretrained:
        network.load_state_dict(torch.hub.load_state_dict_from_url(url, progress=False))
    return network


def transformer(pretrained=True):
    return load(Transformer(), pretrained, "{url}/transformer.pth")


def convolutional(pretrained=True):
    return load(Convolutional(), pretrained, "{url}/convolutional.pth")


def flat(pretrained=True):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4))


def stubborn():
    return Convolutional()
'''


def make_hub(parent: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder as torch hub wants it, whose networks "download" their weights from files beside it."""
    monkeypatch.setenv("TORCH_HOME", str(parent / "home"))
    folder = parent / "hub"
    folder.mkdir()
    (folder / "hubconf.py").write_text(HUBCONF.replace("{url}", folder.as_uri()))
    for entry in ("transformer", "convolutional"):
        torch.save(network_of(folder, entry).state_dict(), folder / f"{entry}.pth")
    return folder


def network_of(folder: Path, entry: str) -> Any:
    """One of the hub's networks; its batch norms, too, do something."""
    torch.manual_seed(3)
    network = torch.hub.load(str(folder), entry, source="local", pretrained=False).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
    return network


def trained(folder: Path, entry: str) -> Any:
    network = network_of(folder, entry)
    network.load_state_dict(torch.load(folder / f"{entry}.pth", weights_only=True))
    return network


def picture(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_input(image: NDArray[np.uint8], mean: Any = IMAGENET[0], std: Any = IMAGENET[1]) -> Any:
    tensor = torch.tensor(image).permute(2, 0, 1).float().div(255)
    return ((tensor - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])[None]


def as_rows(feature_map: Any) -> NDArray[np.float32]:
    """The features of a map ``[1, d, rows, columns]``, row by row."""
    return np.stack(
        [feature_map[0, :, y, x].numpy() for y in range(feature_map.shape[2]) for x in range(feature_map.shape[3])]
    )


def check_features(embedder: TorchEmbedder, image: NDArray[np.uint8], expected: list[NDArray[np.float32]]) -> None:
    patches = embedder.patches(image)
    assert len(patches) == len(expected) == len(embedder.levels)
    for level, features in zip(patches, expected, strict=True):
        assert level.features.dtype == np.float32
        assert level.segments.shape is not None
        assert len(level.segments) == np.prod(level.segments.shape) == len(level.features)
        np.testing.assert_allclose(level.features, features, rtol=1e-4, atol=1e-5)
