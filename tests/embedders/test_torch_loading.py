"""Networks by name: their weights and identity, and messages where something is missing. None is downloaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from urllib.error import URLError

import numpy as np
import pytest

from fiftyone_segad.embedders.torch_loading import is_torch_name
from fiftyone_segad.embedders.torch_models import TorchEmbedder
from fiftyone_segad.errors import MissingDependencyError
from torch_networks import make_hub, picture

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_hub(tmp_path, monkeypatch)


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


# What is not there


def test_a_repository_is_a_folder_or_on_github() -> None:
    with pytest.raises(ValueError, match="neither a folder nor OWNER/REPO"):
        TorchEmbedder("torchhub:dinov2_vits14")


def test_code_that_torch_does_not_trust_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("builtins.input", MagicMock(side_effect=EOFError))
    with pytest.raises(ValueError, match="trust the code of nobody/nothing"):
        TorchEmbedder("torchhub:nobody/nothing:main:network")


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
