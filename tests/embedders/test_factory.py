"""Embedders by name: what a name stands for, and what is passed on."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import needs_fastdup
from fiftyone_segad.embedders.base import Embedder, Level, Patches
from fiftyone_segad.embedders.factory import CHOICES, EMBEDDERS, check_installed, get_embedder, resolve_name
from fiftyone_segad.embedders.fused import FusedEmbedder
from fiftyone_segad.errors import MissingDependencyError
from fiftyone_segad.segments.boxes import Segments, get_proposer, grid


class Fake(Embedder):
    """Gives numbers that tell it from others, and remembers what it was given."""

    def __init__(self, name: str, width: int, batch_size: int | None = None, **options: Any) -> None:
        if options.get("flavour") == "bad":
            raise MissingDependencyError("no such flavour")
        self.name, self.identity = name, f"{name}-1"
        self.width, self.batch_size, self.options, self.closed = width, batch_size, options, False
        self.levels = (Level(f"{name} fine"), Level(f"{name} coarse", weight=2))

    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        return np.full((len(segments), self.width), self.width, np.float32)

    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        grids = [grid((image.shape[1], image.shape[0]), n) for n in (4, 2)]
        return [Patches(segments, self.embed(image, segments)) for segments in grids]

    def close(self) -> None:
        self.closed = True


def test_focus_is_refused_where_there_are_no_levels_to_leave_out() -> None:
    with pytest.raises(ValueError, match=r"defects='small' is for \['efficientnet', 'fastdup'\]"):
        get_embedder("timm:resnet18", defects="small")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Fake]:
    """Stand-ins for the two embedders, in the order in which they are made."""
    fakes: list[Fake] = []

    def maker(name: str, width: int) -> Callable[..., Fake]:
        def make(levels: Any = None, tiles: Any = None, flavour: str = "", batch_size: int | None = None) -> Fake:
            arguments = {"levels": levels, "tiles": tiles, "flavour": flavour}
            options = {option: value for option, value in arguments.items() if value}
            fakes.append(Fake(name, width, batch_size, **options))
            return fakes[-1]

        return make

    monkeypatch.setitem(EMBEDDERS, "fastdup", maker("fastdup", 3))
    monkeypatch.setitem(EMBEDDERS, "efficientnet", maker("efficientnet", 5))
    return fakes


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("method", "has_fastdup", "expected"),
    [
        ("reference", True, "efficientnet"),
        ("reference", False, "efficientnet"),
        ("within_image", True, "fastdup"),
        ("within_image", False, "efficientnet"),
    ],
)
def test_auto_is_what_suits_the_method_and_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str, has_fastdup: bool, expected: str
) -> None:
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)]) if has_fastdup else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert resolve_name("auto", method) == expected


@pytest.mark.parametrize("name", ["efficientnet", "fastdup"])
def test_error_without_onnxruntime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    fastdup = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", {"fastdup": fastdup}.get)
    for call in (check_installed, get_embedder):
        with pytest.raises(MissingDependencyError, match=r"pip install onnxruntime$"):
            call(name)


@pytest.mark.parametrize("name", [*CHOICES[1:], "timm:resnet18", "fastdup+timm:resnet18", "torchhub:a/b:c"])
def test_other_names_stand_for_themselves(name: str) -> None:
    assert resolve_name(name) == resolve_name(name, "within_image") == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fastdub", r"'fastdub' is not known \(did you mean 'fastdup'\?\)"),
        ("EfficientNet", r"did you mean 'efficientnet'"),
        ("fastdup+eficientnet", r"'fastdup\+eficientnet' is not known \(did you mean 'efficientnet'\?\)"),
        ("xyz", r"'xyz' is not known; use one of \['auto', 'efficientnet'"),
        ("", "'' is not known"),
        ("fastdup+", "is not known"),
        ("fastdup+auto", "is not known"),  # what auto is may be fastdup
        ("timm:", "is not known.*'timm:NAME'"),
    ],
)
def test_error_of_an_unknown_name(name: str, message: str) -> None:
    for call in (resolve_name, get_embedder):
        with pytest.raises(ValueError, match=message):
            call(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "fastdup", "batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"name": "fastdup", "defects": "tiny"}, r"defects='tiny' is not known.*'any', 'small', 'large'"),
        ({"name": "fastdup+fastdup"}, "twice"),
        ({"name": "fastdup", "options": {"flavor": 1}}, "embedder_kwargs of 'fastdup'.*'flavor'"),
        ({"name": "efficientnet+fastdup", "options": {"fastdup": {"flavor": 1}}}, "of 'fastdup'.*'flavor'"),
        ({"name": "efficientnet+fastdup", "options": {"flavour": 1}}, r"\['flavour'\].*'efficientnet', 'fastdup'"),
    ],
)
def test_error_of_a_wrong_argument(made: list[Fake], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_embedder(**arguments)
    assert all(fake.closed for fake in made)


@needs_fastdup
def test_error_of_an_argument_that_fastdup_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"embedder_kwargs of 'fastdup'.*'input_size'"):
        get_embedder("fastdup", options={"input_size": 512})


def test_error_of_an_argument_that_efficientnet_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"embedder_kwargs of 'efficientnet'.*'tiles'"):
        get_embedder("efficientnet", options={"tiles": {"tiles": 1.0}})


def test_arguments_are_passed_on(made: list[Fake]) -> None:
    assert get_embedder("fastdup", 7, options={"flavour": "sweet"}) is made[0]
    assert made[0].batch_size == 7 and made[0].options == {"flavour": "sweet"}


def test_fused_embedders_get_their_own_arguments(made: list[Fake]) -> None:
    options = {"efficientnet": {"flavour": "sour"}}
    fused = get_embedder("fastdup+efficientnet", 3, options=options)
    assert isinstance(fused, FusedEmbedder) and list(fused.parts) == made
    assert [fake.options for fake in made] == [{}, {"flavour": "sour"}]
    assert [fake.batch_size for fake in made] == [3, 3]
    assert options == {"efficientnet": {"flavour": "sour"}}


def test_defects_choose_levels_unless_they_are_given(made: list[Fake]) -> None:
    for defects, levels in (("any", None), ("small", (8,)), ("large", (16, 32))):
        get_embedder("efficientnet", defects=defects)
        assert made[-1].options.get("levels") == levels
    get_embedder("efficientnet", defects="small", options={"levels": (32,)})
    assert made[-1].options == {"levels": (32,)}
    get_embedder("fastdup+efficientnet", defects="small")
    assert [fake.options for fake in made[-2:]] == [{"tiles": {"tiles": 1.0}}, {"levels": (8,)}]


@needs_fastdup
def test_small_and_large_defects_change_the_tiles_of_fastdup() -> None:
    def mean_side(defects: str) -> float:
        with get_embedder("fastdup", defects=defects) as model:
            levels = [get_proposer(level.name)((400, 400)) for level in model.levels]
        assert all(isinstance(segments, Segments) for segments in levels)
        return float(np.mean([segments.boxes[0, 2] for segments in levels]))  # type: ignore[union-attr]

    assert mean_side("small") < mean_side("any") < mean_side("large")


def test_small_and_large_defects_change_the_levels_of_efficientnet() -> None:
    names = {}
    for defects in ("any", "small", "large"):
        with get_embedder("efficientnet", defects=defects, options={"input_size": 64}) as model:
            names[defects] = [level.name for level in model.levels]
            assert len(model.patches(np.zeros((64, 64, 3), np.uint8))) == len(model.levels)
    # Which are fine and which coarse, in pixels of the network's input
    assert names["any"] == names["small"] + names["large"]
    assert names["small"] == ["stride 8"] and names["large"] == ["stride 16", "stride 32"]


def test_a_fused_embedder_has_the_levels_of_its_parts(made: list[Fake]) -> None:
    fused = get_embedder("fastdup+efficientnet")
    assert fused.name == "fastdup+efficientnet"
    assert fused.identity != get_embedder("efficientnet+fastdup").identity
    assert all(part.identity in fused.identity for part in made)
    assert fused.levels == made[0].levels + made[1].levels
    levels = fused.patches(np.zeros((40, 40, 3), np.uint8))
    assert [level.features.shape for level in levels] == [(16, 3), (4, 3), (16, 5), (4, 5)]


def test_each_part_of_a_fused_feature_counts_the_same(made: list[Fake]) -> None:
    features = get_embedder("fastdup+efficientnet").embed(np.zeros((40, 40, 3), np.uint8), grid((40, 40), 3))
    assert features.shape == (9, 8)
    np.testing.assert_allclose(np.linalg.norm(features[:, :3], axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features[:, 3:], axis=1), 1, rtol=1e-6)


def test_a_fused_embedder_closes_its_parts(made: list[Fake]) -> None:
    with get_embedder("fastdup+efficientnet"):
        assert not any(fake.closed for fake in made)
    assert [fake.closed for fake in made] == [True, True]


def test_a_part_that_cannot_be_loaded_closes_those_before(made: list[Fake]) -> None:
    with pytest.raises(MissingDependencyError, match="no such flavour"):
        get_embedder("fastdup+efficientnet", options={"efficientnet": {"flavour": "bad"}})
    assert [fake.closed for fake in made] == [True]


@needs_fastdup
def test_patches_of_fastdup_equal_its_exact_features() -> None:
    random = np.random.default_rng(5)
    image = random.integers(0, 256, (90, 130, 3), dtype=np.uint8)
    image[:, 60:] = random.integers(0, 256, 3)
    with get_embedder("fastdup") as model:
        levels = model.patches(image)
        assert [level.name for level in model.levels] == ["tiles", "tiles:0.25:0.125"]
        assert [level.weight for level in model.levels] == [2, 1]
        for level, patches in zip(model.levels, levels, strict=True):
            expected = get_proposer(level.name)((130, 90))
            assert isinstance(expected, Segments)
            np.testing.assert_array_equal(patches.segments.boxes, expected.boxes)
            exact = unit(model.embed(image, patches.segments))
            np.testing.assert_allclose(unit(patches.features), exact, atol=1e-5)
            assert np.linalg.norm(exact[0] - exact[-1]) > 0.1  # tiles differ
