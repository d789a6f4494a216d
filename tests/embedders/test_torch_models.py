"""Features of networks by name, against their own forward passes. All have random weights."""

from __future__ import annotations

import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.embedders.torch_models import TorchEmbedder
from fiftyone_segad.segments.boxes import Segments, from_boxes
from torch_networks import as_input, as_rows, check_features, make_hub, picture, trained

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_hub(tmp_path, monkeypatch)


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
