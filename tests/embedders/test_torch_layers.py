"""What counts as a feature map of a network, and which modules are its levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fiftyone_segad.embedders.torch_layers import ModuleTrace, as_map, choose_layers, patch_side

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

# Feature maps [1, d, n, n] of 3 features on 4 x 4 places
MAP = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)
CHANNELS_LAST = MAP.transpose(0, 2, 3, 1)
TOKENS = CHANNELS_LAST.reshape(1, 16, 3)
EXTRA = np.full((1, 5, 3), -1, np.float32)


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(torch.tensor(MAP), id="map"),
        pytest.param(torch.tensor(CHANNELS_LAST.copy()), id="channels last, as in Swin"),
        pytest.param(torch.tensor(TOKENS.copy()), id="tokens"),
        pytest.param(torch.tensor(np.concatenate([EXTRA, TOKENS], axis=1)), id="after [CLS] and registers"),
        pytest.param((torch.tensor(MAP), "attention"), id="the first of several outputs"),
    ],
)
def test_outputs_that_are_maps(output: Any) -> None:
    features = as_map(output, side=32, patch=8)
    assert features is not None
    np.testing.assert_array_equal(features.numpy(), MAP)


@pytest.mark.parametrize(
    ("output", "patch"),
    [
        pytest.param(torch.zeros(1, 3, 4, 5), 8, id="not square"),
        pytest.param(torch.zeros(1, 3, 1, 1), 8, id="pooled"),
        pytest.param(torch.zeros(1, 3, 5, 5), 8, id="5 does not divide 32"),
        pytest.param(torch.zeros(2, 3, 4, 4), 8, id="two images"),
        pytest.param(torch.zeros(1, 15, 3), 8, id="fewer tokens than patches"),
        pytest.param(torch.zeros(1, 32, 3), 8, id="as many other tokens as patches"),
        pytest.param(torch.zeros(1, 16, 3), None, id="tokens of a network without patches"),
        pytest.param(torch.zeros(1, 10), 8, id="classes"),
        pytest.param((), 8, id="nothing"),
        pytest.param(None, 8, id="None"),
    ],
)
def test_outputs_that_are_no_maps(output: Any, patch: int | None) -> None:
    assert as_map(output, 32, patch) is None


@pytest.mark.parametrize(
    ("kernel", "stride", "side"), [(16, 16, 16), pytest.param(7, 4, None, id="patches that overlap")]
)
def test_side_of_patches(kernel: int, stride: int, side: int | None) -> None:
    assert patch_side(torch.nn.Sequential(torch.nn.Conv2d(3, 8, kernel, stride))) == side


def test_default_layers_of_a_convolutional_network_end_before_what_leads_to_the_next_stride() -> None:
    traces = {
        "stem": ModuleTrace("Conv2d", False, None, 4),
        "stage1": ModuleTrace("Stage", False, 4, 8),
        "stage2.conv": ModuleTrace("Conv2d", False, 8, 8),  # within the stage that leads to 16
        "stage2": ModuleTrace("Stage", False, 8, 16),
        "pool": ModuleTrace("AvgPool2d", False, 16, None),
    }
    assert choose_layers("net", traces, None) == ["stage1", "stage2"]


def test_default_layers_of_a_transformer_are_its_middle_and_last_block() -> None:
    blocks = {f"blocks.{i}": ModuleTrace("Block", True, None, 8) for i in range(6)}
    traces = {"patch_embed": ModuleTrace("Conv2d", False, None, 8), **blocks, "norm": ModuleTrace("Norm", True, 8, 8)}
    assert choose_layers("net", traces, None) == ["blocks.2", "blocks.5"]
    one = {"blocks.0": blocks["blocks.0"]}
    assert choose_layers("net", one, None) == ["blocks.0"]
