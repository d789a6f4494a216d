"""One mongod, one set of small images and one plugin folder for the whole suite."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = "@segad/anomaly"
SHARED_DATA = Path(os.environ.get("SEGAD_SHARED_DATA", ROOT.parent / "shared" / "data"))

os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "true")
os.environ.setdefault("FIFTYONE_DATABASE_VALIDATION", "false")
os.environ.setdefault("FIFTYONE_SHOW_PROGRESS_BARS", "false")
os.environ["FIFTYONE_PLUGINS_DIR"] = str(ROOT)

sys.path.insert(0, str(ROOT / "examples"))


def start_mongod(folder: Path, port: int = 0) -> tuple[subprocess.Popen[bytes], str]:
    """Start FiftyOne's own mongod on a port, a free one by default; return it and its address."""
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    options = ["--dbpath", folder, "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    process = subprocess.Popen([_mongod(), *options], stdout=subprocess.DEVNULL)
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    return process, f"mongodb://127.0.0.1:{port}"


def _mongod() -> Path:
    spec = importlib.util.find_spec("fiftyone")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "db" / "bin" / "mongod"


def pytest_configure(config: pytest.Config) -> None:
    """Start the database before anything imports FiftyOne, which reads its settings once.

    With ``-n`` each worker has a database and folders of its own, and the process that hands out the tests has none.
    """
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        return
    folder = Path(tempfile.mkdtemp(prefix="segad-tests-"))
    os.environ["FIFTYONE_DEFAULT_DATASET_DIR"] = str(folder / "datasets")
    os.environ["FIFTYONE_SEGAD_DIR"] = str(folder / "segad")
    process = None
    if "FIFTYONE_DATABASE_URI" in os.environ:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        os.environ["FIFTYONE_DATABASE_NAME"] = f"segad-tests-{worker}"
    elif _mongod().is_file():
        (folder / "db").mkdir()
        process, os.environ["FIFTYONE_DATABASE_URI"] = start_mongod(folder / "db")
    # FiftyOne's own clean-up at exit is registered later and so runs before: without a database it waits half a minute
    atexit.register(_stop, process, folder)


def _stop(process: subprocess.Popen[bytes] | None, folder: Path) -> None:
    """Stop the database and remove what the suite wrote."""
    if process is not None:
        process.terminate()
        process.wait(30)
    shutil.rmtree(folder, ignore_errors=True)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what tests share: ``--doctest-modules`` would import it, scripts too."""
    return (collection_path.suffix == ".py" and not collection_path.name.startswith("test_")) or None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that take long first, so that no worker is left with one at the end while the others wait."""
    long = {item.path for item in items if any(map(item.get_closest_marker, ("browser", "ray", "slow")))}
    items.sort(key=lambda item: item.path not in long)


needs_fastdup = pytest.mark.skipif(
    importlib.util.find_spec("fastdup") is None,
    reason="fastdup is not installed: pip install --no-deps fastdup==2.54",
)


def shared(name: str) -> Path:
    """A folder of the real images; skips the test where they are absent."""
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real images are not here: {name} (set SEGAD_SHARED_DATA to their folder)")
    return folder


@pytest.fixture(scope="session")
def sample_category(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The category 'brick' of the sample dataset, with few training images."""
    from fiftyone_segad.data.sample_data import make_category

    root = tmp_path_factory.mktemp("sample")
    make_category(root / "brick", "brick")
    for extra in sorted((root / "brick/train/good").iterdir())[10:]:
        extra.unlink()
    return root / "brick"


@contextmanager
def temporary_datasets() -> Iterator[Callable[..., Any]]:
    """Give a function that makes datasets of image files, which are deleted at the end."""
    import fiftyone as fo

    made: list[str] = []

    def make(paths: list[Path], **fields: list[Any]) -> fo.Dataset:
        dataset = fo.Dataset()
        made.append(dataset.name)
        dataset.add_samples([fo.Sample(filepath=str(path)) for path in paths])
        for name, values in fields.items():
            dataset.set_values(name, values)
        return dataset

    yield make
    for name in made:
        if fo.dataset_exists(name):
            fo.delete_dataset(name)


@pytest.fixture
def dataset_of() -> Iterator[Callable[..., Any]]:
    """Make datasets of image files that are deleted after the test."""
    with temporary_datasets() as make:
        yield make


@pytest.fixture
def load() -> Iterator[Callable[..., Any]]:
    """Load folders as ``load_folder`` does; the datasets are deleted after the test."""
    import fiftyone as fo

    import fiftyone_segad as segad

    names: list[str] = []

    def load_folder(*arguments: Any, **options: Any) -> Any:
        dataset = segad.load_folder(*arguments, **options)
        names.append(dataset.name)
        return dataset

    yield load_folder
    for name in names:
        fo.delete_dataset(name)


@pytest.fixture(scope="module")
def module_dataset_of() -> Iterator[Callable[..., Any]]:
    """Make datasets that the tests of a module share: they only read them, or clone them."""
    with temporary_datasets() as make:
        yield make


class ColourEmbedder:
    """A stand-in for a model: mean and spread of the colours of a segment."""

    name = "colour"
    identity = "colour-1"
    calls = 0

    def __init__(self, batch_size: int | None = None) -> None:
        from fiftyone_segad.embedders.base import Level

        self.batch_size = batch_size
        self.levels = (Level("tiles"),)

    def embed(self, image: Any, segments: Any) -> Any:
        type(self).calls += 1
        parts = [image[y0:y1, x0:x1].reshape(-1, 3).astype(float) for x0, y0, x1, y1 in segments.boxes]
        return np.array([[*part.mean(0), *part.std(0), 50.0] for part in parts], np.float32)

    def patches(self, image: Any) -> Any:
        from fiftyone_segad.embedders.base import Patches
        from fiftyone_segad.segments.boxes import tiles

        segments = tiles((image.shape[1], image.shape[0]))
        return [Patches(segments, self.embed(image, segments))]

    def close(self) -> None:
        pass

    def __enter__(self) -> ColourEmbedder:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def use_colour_embedder(patch: pytest.MonkeyPatch) -> type[ColourEmbedder]:
    """Put the stand-in where the names "fastdup" and "efficientnet" (and so "auto") lead."""
    from fiftyone_segad.embedders import factory

    for name in ("fastdup", "efficientnet"):
        patch.setitem(factory.EMBEDDERS, name, ColourEmbedder)
    return ColourEmbedder


@pytest.fixture
def colour_embedder(monkeypatch: pytest.MonkeyPatch) -> type[ColourEmbedder]:
    """Embed with the stand-in."""
    return use_colour_embedder(monkeypatch)


@pytest.fixture(scope="module")
def module_colour_embedder() -> Iterator[type[ColourEmbedder]]:
    """Embed with the stand-in in all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        yield use_colour_embedder(patch)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Save six pictures of smooth noise, 96 x 80 px; the last has a bright square."""
    return save_pictures(tmp_path)


@pytest.fixture(scope="module")
def module_pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Save the pictures once for all tests of a module."""
    return save_pictures(tmp_path_factory.mktemp("pictures"))


def save_pictures(folder: Path) -> list[Path]:
    """Save six pictures of smooth noise, 96 x 80 px; the last has a bright square."""
    random = np.random.default_rng(7)
    paths = []
    for index in range(6):
        coarse = Image.fromarray(random.integers(90, 150, (10, 12, 3), dtype=np.uint8))
        picture = np.asarray(coarse.resize((96, 80), Image.Resampling.BICUBIC)).copy()
        if index == 5:
            picture[30:46, 40:56] = (250, 20, 20)
        paths.append(folder / f"{index}.png")
        Image.fromarray(picture).save(paths[-1])
    return paths


@pytest.fixture
def dataset_with_run(
    dataset_of: Callable[..., Any],
    pictures: list[Path],
    colour_embedder: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Six pictures, of which the last has a spot, and a run that compares them with the first four."""
    import fiftyone as fo

    import fiftyone_segad as segad
    from plugin_calls import plugin_module

    monkeypatch.setitem(plugin_module("embedders.factory").EMBEDDERS, "efficientnet", colour_embedder)
    defects = [fo.Classification(label="good")] * 5 + [fo.Classification(label="spot")]
    dataset = dataset_of(pictures, defect=defects)
    segad.compute_segment_anomalies(dataset, reference=dataset.limit(4), threshold="quantile:0.8")
    return dataset


@pytest.fixture
def dataset_with_kinds(dataset_of: Callable[..., Any], tmp_path: Path, colour_embedder: type[ColourEmbedder]) -> Any:
    """Return pictures with two kinds of defects, and a run that has found them."""
    from kinds_of_defects import compute, make_kinds

    made = make_kinds(dataset_of, tmp_path)
    compute(made)
    return made
