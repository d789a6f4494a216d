"""Networks by name, against their own forward passes. All have random weights, and none is downloaded."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock
from urllib.error import URLError

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.embedders.torch_loading import is_torch_name
from fiftyone_segad.embedders.torch_models import TorchEmbedder
from fiftyone_segad.errors import MissingDependencyError
from fiftyone_segad.segments.boxes import Segments, from_boxes

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.torch

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


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as torch hub wants it, whose networks "download" their weights from files beside it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "hub"
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


@pytest.fixture(scope="module")
def timm() -> Any:
    """timm; where torchvision is absent, with a stand-in for it, which timm needs for reading images alone."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    if "timm" in sys.modules or importlib.util.find_spec("torchvision") is not None:
        return pytest.importorskip("timm")
    misc = MagicMock(FrozenBatchNorm2d=type("FrozenBatchNorm2d", (torch.nn.Module,), {}))
    parts = ("datasets", "ops", "transforms", "transforms.functional", "models", "models.feature_extraction", "utils")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("torchvision", *(f"torchvision.{part}" for part in parts)):
            patch.setitem(sys.modules, name, MagicMock())
        patch.setitem(sys.modules, "torchvision.ops.misc", misc)
        return importlib.import_module("timm")


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
    for given, wanted in zip(patches, expected, strict=True):
        assert given.features.dtype == np.float32
        assert given.segments.shape is not None
        assert len(given.segments) == np.prod(given.segments.shape) == len(given.features)
        np.testing.assert_allclose(given.features, wanted, rtol=1e-4, atol=1e-5)


# Features


def test_a_transformer_gives_the_tokens_of_its_middle_and_last_block(hub: Path) -> None:
    name = f"torchhub:{hub}:transformer"
    image = picture(64, 64)
    with torch.inference_mode():
        tokens = trained(hub, "transformer").get_intermediate_layers(as_input(image), [1, 3])
    with TorchEmbedder(name, 64, pooling=1, weights=str(hub / "transformer.pth")) as embedder:
        assert embedder.name == name
        assert [level.name for level in embedder.levels] == ["blocks.1, stride 8", "blocks.3, stride 8"]
        assert {(level.weight, level.components) for level in embedder.levels} == {(1.0, 64)}
        check_features(embedder, image, [level[0].numpy() for level in tokens])


def test_a_convolutional_network_gives_its_last_maps_at_each_stride(hub: Path) -> None:
    image = picture(96, 96)
    with torch.inference_mode():
        maps = trained(hub, "convolutional").maps(as_input(image))
    name = f"torchhub:{hub}:convolutional"
    with TorchEmbedder(name, 96, pooling=1, weights=str(hub / "convolutional.pth"), components=None) as embedder:
        assert [level.name for level in embedder.levels] == [
            "stage2, stride 8",
            "stage3, stride 16",
            "stage4, stride 32",
        ]
        assert {level.components for level in embedder.levels} == {None}
        check_features(embedder, image, [as_rows(level) for level in maps])


def test_pooling_averages_the_neighbours_there_are(hub: Path) -> None:
    name, weights, image = f"torchhub:{hub}:convolutional", str(hub / "convolutional.pth"), picture(64, 64)
    plain = TorchEmbedder(name, 64, ["stage2"], 1, weights).patches(image)[0].features.reshape(8, 8, -1)
    pooled = TorchEmbedder(name, 64, ["stage2"], 3, weights).patches(image)[0].features.reshape(8, 8, -1)
    for y in range(8):
        for x in range(8):
            around = plain[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].reshape(-1, plain.shape[2])
            np.testing.assert_allclose(pooled[y, x], around.mean(0), rtol=1e-4, atol=1e-6)


def test_layers_are_chosen_by_name(hub: Path) -> None:
    image = picture(64, 64)
    network = trained(hub, "convolutional")
    with torch.inference_mode():
        stage1 = network.stage1(network.stem(as_input(image)))
        expected = [as_rows(network.maps(as_input(image))[1]), as_rows(stage1)]
    name, weights = f"torchhub:{hub}:convolutional", str(hub / "convolutional.pth")
    embedder = TorchEmbedder(name, 64, ["stage3", "stage1"], pooling=1, weights=weights)
    assert [level.name for level in embedder.levels] == ["stage3, stride 16", "stage1, stride 4"]
    check_features(embedder, image, expected)


@pytest.mark.parametrize(
    ("entry", "asked", "side"),
    [("transformer", 70, 72), ("convolutional", 90, 96), ("convolutional", 33, 32)],
)
def test_the_input_size_is_rounded_so_that_the_grid_is_even(hub: Path, entry: str, asked: int, side: int) -> None:
    embedder = TorchEmbedder(f"torchhub:{hub}:{entry}", asked, weights=str(hub / f"{entry}.pth"))
    first = embedder.patches(picture(50, 40))[0].segments
    assert first.shape == (side // 8, side // 8)


@pytest.mark.parametrize("entry", ["transformer", "convolutional"])
def test_a_spot_is_found_where_it_is(hub: Path, entry: str) -> None:
    embedder = TorchEmbedder(f"torchhub:{hub}:{entry}", 64, weights=str(hub / f"{entry}.pth"), pooling=1)
    plain = np.full((120, 320, 3), 90, np.uint8)
    spotted = plain.copy()
    spotted[80:90, 50:70] = (250, 250, 20)
    before, after = embedder.patches(plain)[0], embedder.patches(spotted)[0]
    most = np.linalg.norm(after.features - before.features, axis=1).argmax()
    x0, y0, x1, y1 = after.segments.boxes[most]
    assert x0 <= 60 < x1
    assert y0 <= 85 < y1


def test_a_fine_pattern_shrinks_to_its_mean(hub: Path) -> None:
    embedder = TorchEmbedder(f"torchhub:{hub}:convolutional", 64, ["stage2"], 1, str(hub / "convolutional.pth"))
    checks = np.indices((512, 512)).sum(0)[..., None] % 2 * np.array([200, 200, 200])
    grey = np.full((512, 512, 3), 100, np.uint8)
    fine, even = (embedder.patches(image)[0].features for image in (checks.astype(np.uint8), grey))
    np.testing.assert_allclose(fine, even, atol=0.02 * np.abs(even).max())


@pytest.mark.parametrize(("width", "height"), [(640, 480), (101, 67), (8, 300)])
def test_boxes_are_centred_on_their_patches_and_twice_as_large(hub: Path, width: int, height: int) -> None:
    embedder = TorchEmbedder(f"torchhub:{hub}:transformer", 64, weights=str(hub / "transformer.pth"))
    segments = embedder.patches(picture(width, height))[0].segments
    assert segments.size == (width, height)
    assert segments.overlap
    for index, box in enumerate(segments.boxes):
        row, column = divmod(index, 8)
        for place, length, low, high in ((column, width, box[0], box[2]), (row, height, box[1], box[3])):
            stride = length / 8
            assert abs(low - max(0, (place - 0.5) * stride)) <= 1
            assert abs(high - min(length, (place + 1.5) * stride)) <= 1


@pytest.mark.parametrize("entry", ["transformer", "convolutional"])
def test_the_same_image_gives_the_same_features(hub: Path, entry: str) -> None:
    name, weights, image = f"torchhub:{hub}:{entry}", str(hub / f"{entry}.pth"), picture(130, 70)
    one, other = TorchEmbedder(name, 64, weights=weights), TorchEmbedder(name, 64, weights=weights)
    first = one.patches(image)
    one.patches(picture(64, 64))
    for again in (one.patches(image), other.patches(image)):
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a.features, b.features)


@pytest.mark.parametrize("entry", ["transformer", "convolutional"])
def test_half_precision_is_close_to_full(hub: Path, entry: str) -> None:
    name, weights, image = f"torchhub:{hub}:{entry}", str(hub / f"{entry}.pth"), picture(64, 64)
    full = TorchEmbedder(name, 64, weights=weights, device="cpu")
    half = TorchEmbedder(name, 64, weights=weights, device="cpu", half=True)
    for a, b in zip(full.patches(image), half.patches(image), strict=True):
        assert b.features.dtype == np.float32
        assert np.abs(a.features - b.features).max() > 0
        assert np.linalg.norm(a.features - b.features) < 0.03 * np.linalg.norm(a.features)


def test_an_image_of_a_few_pixels_is_refused(hub: Path) -> None:
    embedder = TorchEmbedder(f"torchhub:{hub}:transformer", 64, weights=str(hub / "transformer.pth"))
    with pytest.raises(ValueError, match="40 x 7 px is too small"):
        embedder.patches(picture(40, 7))


# Segments of the user's own


def mean_within(features: NDArray[np.float32], segments: Segments, box: NDArray[np.int64]) -> NDArray[np.float64]:
    """The definition: patches whose centre lies in the box, and along an axis without any the nearest."""
    assert segments.shape is not None
    chosen = []
    for low, high, length, count in zip(box[:2], box[2:], segments.size, segments.shape[::-1], strict=True):
        centres = (np.arange(count) + 0.5) * length / count
        inside = np.flatnonzero((centres >= low) & (centres < high))
        chosen.append(inside if inside.size else [np.abs(centres - (low + high) / 2).argmin()])
    return np.mean([features[y * segments.shape[1] + x] for y in chosen[1] for x in chosen[0]], axis=0, dtype=float)


def test_embed_averages_the_patches_within_each_box(hub: Path) -> None:
    name, weights, image = f"torchhub:{hub}:convolutional", str(hub / "convolutional.pth"), picture(200, 120)
    embedder = TorchEmbedder(name, 96, weights=weights)
    boxes = [
        (0, 0, 200, 120),
        (20, 30, 95, 75),
        (0, 0, 3, 3),
        (197, 117, 200, 120),
        (115, 5, 119, 118),
        (50, 40, 51, 41),
    ]
    embedded = embedder.embed(image, from_boxes((200, 120), boxes))
    assert embedded.dtype == np.float32
    for row, box in zip(embedded, np.array(boxes), strict=True):
        parts = [mean_within(level.features, level.segments, box) for level in embedder.patches(image)]
        expected = np.concatenate([part / np.linalg.norm(part) for part in parts])
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-6)


def test_no_boxes_give_no_features(hub: Path) -> None:
    embedder = TorchEmbedder(f"torchhub:{hub}:convolutional", 64, weights=str(hub / "convolutional.pth"))
    assert embedder.embed(picture(64, 64), from_boxes((64, 64), [])).shape == (0, 10 + 12 + 14)


# Weights and identity


@pytest.mark.parametrize("entry", ["transformer", "convolutional"])
def test_a_download_and_a_local_file_give_the_same(hub: Path, entry: str) -> None:
    name, image = f"torchhub:{hub}:{entry}", picture(64, 64)
    moved = (hub / f"{entry}.pth").rename(hub / "weights.pth")  # so that at first there is nothing to download
    local = TorchEmbedder(name, 64, weights=str(moved))
    moved.rename(hub / f"{entry}.pth")
    downloaded = TorchEmbedder(name, 64)
    assert downloaded.identity == local.identity
    for a, b in zip(downloaded.patches(image), local.patches(image), strict=True):
        np.testing.assert_array_equal(a.features, b.features)


def test_identity_changes_with_what_changes_features(hub: Path) -> None:
    name, weights = f"torchhub:{hub}:convolutional", hub / "convolutional.pth"
    changed = torch.load(weights, weights_only=True)
    changed["stage1.conv1.bias"][0] += 1e-3
    torch.save(changed, hub / "changed.pth")
    settings: list[dict[str, Any]] = [
        {},
        {"input_size": 96},
        {"layers": ["stage2"]},
        {"layers": ["stage3"]},
        {"pooling": 1},
        {"half": True},
        {"weights": str(hub / "changed.pth")},
    ]
    identities = [TorchEmbedder(name, **{"input_size": 64, "weights": str(weights), **s}).identity for s in settings]
    assert len(set(identities)) == len(settings)


def test_identity_does_not_change_with_the_head(hub: Path) -> None:
    name = f"torchhub:{hub}:convolutional"
    tensors = torch.load(hub / "convolutional.pth", weights_only=True)
    other = {**tensors, "fc.weight": torch.zeros(1000, 14), "fc.bias": torch.zeros(1000)}
    without = {key: tensor for key, tensor in tensors.items() if not key.startswith("fc.")}
    identities = set()
    for index, content in enumerate(
        [tensors, other, without, {"state_dict": {f"module.{k}": t for k, t in tensors.items()}}]
    ):
        path = hub / f"{index}.pt"
        torch.save(content, path)
        identities.add(TorchEmbedder(name, 64, weights=str(path)).identity)
    assert len(identities) == 1


def test_weights_may_be_safetensors(hub: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    tensors = torch.load(hub / "transformer.pth", weights_only=True)
    safetensors.save_file(tensors, hub / "transformer.safetensors")
    name = f"torchhub:{hub}:transformer"
    one, other = (TorchEmbedder(name, 64, weights=str(hub / f"transformer.{end}")) for end in ("pth", "safetensors"))
    assert one.identity == other.identity


def test_weights_of_another_network_are_refused(hub: Path) -> None:
    name = f"torchhub:{hub}:convolutional"
    tensors = torch.load(hub / "convolutional.pth", weights_only=True)
    missing = {key: tensor for key, tensor in tensors.items() if not key.startswith("stage3.conv")}
    torch.save(missing, hub / "missing.pth")
    with pytest.raises(
        ValueError, match=r"missing\.pth does not hold .*convolutional: 4 tensors .*stage3\.conv1\.weight"
    ):
        TorchEmbedder(name, weights=str(hub / "missing.pth"))
    torch.save({**tensors, "stage1.conv1.weight": torch.zeros(8, 7, 1, 1)}, hub / "shape.pth")
    with pytest.raises(ValueError, match=r"1 tensors .*stage1\.conv1\.weight"):
        TorchEmbedder(name, weights=str(hub / "shape.pth"))
    torch.save({**tensors, "stage5.conv1.weight": torch.zeros(1)}, hub / "deeper.pth")
    with pytest.raises(ValueError, match=r"1 tensors .*stage5\.conv1\.weight"):
        TorchEmbedder(name, weights=str(hub / "deeper.pth"))


class Touch:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_a_file_of_weights_cannot_run_code(hub: Path, tmp_path: Path) -> None:
    torch.save({"stem.weight": Touch(tmp_path / "touched")}, hub / "evil.pth")
    with pytest.raises(ValueError, match="must hold tensors alone"):
        TorchEmbedder(f"torchhub:{hub}:convolutional", weights=str(hub / "evil.pth"))
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("end", ["pth", "safetensors"])
def test_a_damaged_file_of_weights_is_named(hub: Path, end: str) -> None:
    if end == "safetensors":
        pytest.importorskip("safetensors")
    (hub / f"damaged.{end}").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=rf"damaged\.{end} cannot be read"):
        TorchEmbedder(f"torchhub:{hub}:convolutional", weights=str(hub / f"damaged.{end}"))


def test_weights_must_be_a_file_of_a_known_kind(hub: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        TorchEmbedder(f"torchhub:{hub}:convolutional", weights=str(hub / "absent.pth"))
    with pytest.raises(ValueError, match=r"must be a \.safetensors"):
        TorchEmbedder(f"torchhub:{hub}:convolutional", weights=str(hub / "hubconf.py"))


# Names and parameters


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm:resnet18", True),
        ("torchhub:a/b:c", True),
        ("zoo:x", True),
        ("timm:", False),
        ("fastdup", False),
        ("x:y", False),
    ],
)
def test_names_of_networks(name: str, expected: bool) -> None:
    assert is_torch_name(name) is expected
    if not expected:
        with pytest.raises(ValueError, match=r"is not known; .*timm:"):
            TorchEmbedder(name)


@pytest.mark.parametrize(
    ("entry", "settings", "message"),
    [
        ("convolutional", {"pooling": 2}, "pooling must be an odd number"),
        ("convolutional", {"input_size": 8}, "input_size must be at least 32"),
        ("convolutional", {"layers": ["stage9"]}, "no 'stage9' .*'stage2'"),
        ("convolutional", {"layers": ["fc"]}, "no 'fc' that gives a feature map"),
        ("convolutional", {"layers": []}, "layers must be"),
        ("convolutional", {"layers": ["stage2", "stage2"]}, "layers must be"),
        ("flat", {}, "takes no images of 96 x 96 px; try another input_size"),
        ("flat", {"input_size": 64}, "gives no patch tokens and no feature maps"),
        ("unknown", {}, "'torchhub:.*unknown' is not known"),
        ("stubborn", {}, "must take pretrained=True and False"),
    ],
)
def test_wrong_parameters_are_named(hub: Path, entry: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchEmbedder(f"torchhub:{hub}:{entry}", **{"input_size": 96, **settings})


def test_a_repository_is_a_folder_or_on_github() -> None:
    with pytest.raises(ValueError, match="neither a folder nor OWNER/REPO"):
        TorchEmbedder("torchhub:dinov2_vits14")


def test_code_that_torch_does_not_trust_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("builtins.input", MagicMock(side_effect=EOFError))
    with pytest.raises(ValueError, match="trust the code of nobody/nothing"):
        TorchEmbedder("torchhub:nobody/nothing:main:network")


# What is not there


def test_a_failed_download_says_how_to_do_without(hub: Path) -> None:
    (hub / "transformer.pth").unlink()
    with pytest.raises(MissingDependencyError, match="could not be downloaded") as caught:
        TorchEmbedder(f"torchhub:{hub}:transformer")
    assert f"torchhub:{hub}:transformer" in str(caught.value)
    assert 'embedder_kwargs={"weights": "/path/to/file"}' in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_repository_out_of_reach_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", MagicMock(side_effect=URLError("no route")))
    with pytest.raises(MissingDependencyError, match=r"could not be downloaded .*torchhub:/path/to/clone:ENTRY"):
        TorchEmbedder("torchhub:facebookresearch/dinov2:dinov2_vits14")


@pytest.mark.parametrize(
    ("package", "name", "command"),
    [
        ("torch", "timm:resnet18", r"pip install 'fiftyone_segad\[torch\]'"),
        ("timm", "timm:resnet18", "pip install timm"),
    ],
)
def test_a_missing_package_comes_with_its_command(
    monkeypatch: pytest.MonkeyPatch, package: str, name: str, command: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=command):
        TorchEmbedder(name)


def test_the_module_imports_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import fiftyone_segad.embedders.torch_models"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# timm


def test_timm_transformer(timm: Any, tmp_path: Path) -> None:
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, dynamic_img_size=True).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    image, own = picture(64, 64), network.pretrained_cfg
    with torch.inference_mode():
        tokens = network.get_intermediate_layers(as_input(image, own["mean"], own["std"]), n=[5, 11], norm=True)
    weights = str(tmp_path / "weights.pth")
    embedder = TorchEmbedder("timm:vit_tiny_patch16_224", 64, pooling=1, weights=weights)
    assert [level.name for level in embedder.levels] == ["blocks.5, stride 16", "blocks.11, stride 16"]
    assert tuple(own["mean"]) != IMAGENET[0]
    check_features(embedder, image, [level[0].numpy() for level in tokens])


def test_timm_resnet(timm: Any, tmp_path: Path) -> None:
    network = timm.create_model("resnet10t", pretrained=False).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    image, own = picture(96, 96), network.pretrained_cfg
    with torch.inference_mode():
        maps = network.forward_intermediates(as_input(image, own["mean"], own["std"]), intermediates_only=True)
    embedder = TorchEmbedder("timm:resnet10t", 96, pooling=1, weights=str(tmp_path / "weights.pth"))
    assert [level.name for level in embedder.levels] == ["layer2, stride 8", "layer3, stride 16", "layer4, stride 32"]
    check_features(embedder, image, [as_rows(level) for level in maps[-3:]])


def test_timm_names_close_to_a_wrong_one(timm: Any) -> None:
    with pytest.raises(ValueError, match=r"'timm:resnet19' is not known; .*'resnet18'"):
        TorchEmbedder("timm:resnet19")


@pytest.mark.parametrize("error", [ConnectionError("no route"), RuntimeError("No pretrained weights exist")])
def test_timm_without_a_network(timm: Any, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(timm, "create_model", MagicMock(side_effect=error))
    with pytest.raises(
        MissingDependencyError, match=r"weights of timm:resnet18 could not be downloaded .*embedder_kwargs"
    ):
        TorchEmbedder("timm:resnet18")


# FiftyOne's model zoo


def test_a_zoo_model_gives_its_network_and_its_normalisation(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fiftyone.zoo as foz

    config = SimpleNamespace(image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.1])
    load = MagicMock(return_value=SimpleNamespace(_model=trained(hub, "convolutional"), config=config))
    monkeypatch.setattr(foz, "load_zoo_model", load)
    image = picture(64, 64)
    with torch.inference_mode():
        maps = trained(hub, "convolutional").maps(as_input(image, config.image_mean, config.image_std))
    embedder = TorchEmbedder("zoo:resnet18-imagenet-torch", 64, pooling=1)
    load.assert_called_once_with("resnet18-imagenet-torch", cache=False)
    check_features(embedder, image, [as_rows(level) for level in maps])


def test_a_zoo_model_with_local_weights_is_not_downloaded(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fiftyone.zoo as foz

    build = MagicMock(return_value=network_of(hub, "convolutional"))
    monkeypatch.setattr(torch.hub, "build_for_the_test", build, raising=False)
    entry = {"entrypoint_fcn": "torch.hub.build_for_the_test", "entrypoint_args": {"weights": "DEFAULT", "width": 2}}
    monkeypatch.setattr(
        foz, "get_zoo_model", lambda _: SimpleNamespace(default_deployment_config_dict={"config": entry})
    )
    monkeypatch.setattr(foz, "load_zoo_model", MagicMock(side_effect=AssertionError))
    image = picture(64, 64)
    with torch.inference_mode():
        maps = trained(hub, "convolutional").maps(as_input(image))
    weights = str(hub / "convolutional.pth")
    embedder = TorchEmbedder("zoo:resnet18-imagenet-torch", 64, pooling=1, weights=weights)
    build.assert_called_once_with(weights=None, width=2)
    check_features(embedder, image, [as_rows(level) for level in maps])


def test_zoo_models_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import fiftyone.zoo as foz

    with pytest.raises(ValueError, match=r"is not known; .*'resnet18-imagenet-torch'"):
        TorchEmbedder("zoo:resnet19-imagenet-torch")
    monkeypatch.setattr(foz, "load_zoo_model", MagicMock(return_value=object()))
    with pytest.raises(ValueError, match="not built around one PyTorch network"):
        TorchEmbedder("zoo:resnet18-imagenet-torch")
    monkeypatch.setattr(foz, "load_zoo_model", MagicMock(side_effect=ConnectionError("no route")))
    with pytest.raises(MissingDependencyError, match="weights of zoo:resnet18-imagenet-torch could not be downloaded"):
        TorchEmbedder("zoo:resnet18-imagenet-torch")


def test_close_drops_the_network(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fiftyone.zoo as foz

    models = [SimpleNamespace(_model=trained(hub, "transformer"))]
    network = weakref.ref(models[0]._model)
    monkeypatch.setattr(foz, "load_zoo_model", lambda name, cache: models.pop())
    embedder = TorchEmbedder("zoo:dinov2-vits14-torch", 64)
    embedder.patches(picture(64, 64))
    assert not any(module._forward_hooks for module in network().modules())
    embedder.close()
    assert network() is None
