"""Networks of timm and of FiftyOne's model zoo, against their own forward passes. None is downloaded."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from fiftyone_segad.embedders.torch_models import TorchEmbedder
from fiftyone_segad.errors import MissingDependencyError
from torch_networks import IMAGENET, as_input, as_rows, check_features, make_hub, network_of, picture, trained

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_hub(tmp_path, monkeypatch)


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


def test_timm_transformer(timm: Any, tmp_path: Path) -> None:
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, dynamic_img_size=True).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    image, config = picture(64, 64), network.pretrained_cfg
    with torch.inference_mode():
        tokens = network.get_intermediate_layers(as_input(image, config["mean"], config["std"]), n=[5, 11], norm=True)
    weights = str(tmp_path / "weights.pth")
    embedder = TorchEmbedder("timm:vit_tiny_patch16_224", 64, pooling=1, weights=weights)
    assert [level.name for level in embedder.levels] == ["blocks.5, stride 16", "blocks.11, stride 16"]
    assert tuple(config["mean"]) != IMAGENET[0]
    check_features(embedder, image, [level[0].numpy() for level in tokens])


def test_timm_resnet(timm: Any, tmp_path: Path) -> None:
    network = timm.create_model("resnet10t", pretrained=False).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    image, config = picture(96, 96), network.pretrained_cfg
    with torch.inference_mode():
        maps = network.forward_intermediates(as_input(image, config["mean"], config["std"]), intermediates_only=True)
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
