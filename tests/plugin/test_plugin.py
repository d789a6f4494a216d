"""The plugin as FiftyOne loads it: from a folder, a symlink, a download; with and without what it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, needs_fastdup

LIST = """
import sys
import fiftyone.operators as foo
names = sorted(o.name for o in foo.list_operators() if o.plugin_name == "@segad/anomaly")
print(",".join(names))
print(",".join(m for m in ("torch", "fastdup", "faiss", "onnx", "onnxruntime") if m in sys.modules))
"""

_LISTED = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
NAMES = ",".join(sorted([*_LISTED["operators"], *_LISTED["panels"]]))

PLUGIN_FILES = ("fiftyone.yml", "fiftyone_segad", "app", "requirements.txt", "README.md")


def python(code: str, plugins: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FIFTYONE_PLUGINS_DIR": str(plugins), **variables}
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=plugins, check=False)


def copy_plugin(folder: Path) -> Path:
    for name in PLUGIN_FILES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        elif source.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    return folder


@pytest.mark.parametrize("how", ["folder", "symlink", "copy"])
def test_it_loads_light(how: str, tmp_path: Path) -> None:
    """From a clone, a symlink and a copy, without importing a model, a runtime or fastdup."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    if how == "folder":
        plugins = ROOT
    elif how == "symlink":
        (plugins / "segad").symlink_to(ROOT)
    else:
        copy_plugin(plugins / "segad")
    done = python(LIST, plugins)
    assert done.stdout.splitlines()[-2:] == [NAMES, ""], done.stderr


def test_it_loads_where_the_package_is_not_installed(tmp_path: Path) -> None:
    """The copy of the plugin is all there is: its imports are relative."""
    copy_plugin(tmp_path / "plugins" / "segad")
    block = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("fiftyone_segad", "fastdup", "torch"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
"""
    done = python(block + LIST, tmp_path / "plugins")
    assert done.stdout.splitlines()[-2:] == [NAMES, ""], done.stderr


def test_fiftyone_can_download_it(tmp_path: Path) -> None:
    """FiftyOne's own download, from an archive as a repository host serves it; from there the plugin loads."""
    copy_plugin(tmp_path / "source" / "segad")
    shutil.make_archive(str(tmp_path / "www" / "segad"), "zip", tmp_path / "source")
    (tmp_path / "plugins").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/segad.zip"
        code = f"import fiftyone.plugins as fop; fop.download_plugin({address!r})\n" + LIST
        done = python(code, tmp_path / "plugins")
        server.shutdown()
    assert done.stdout.splitlines()[-2:] == [NAMES, ""], done.stderr
    assert list((tmp_path / "plugins").rglob("fiftyone.yml"))


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    code = """
import sys, fiftyone_segad
print(sorted(m for m in ("fiftyone", "numpy", "onnxruntime", "torch", "fastdup", "scipy") if m in sys.modules))
print(sorted(set(fiftyone_segad.__all__) - set(dir(fiftyone_segad))))
"""
    done = python(code, ROOT)
    assert done.stdout.splitlines() == ["[]", "[]"], done.stderr


def test_the_array_core_does_not_know_fiftyone() -> None:
    code = """
import sys
import fiftyone_segad.engine.single_image, fiftyone_segad.engine.job, fiftyone_segad.metrics.curves
import fiftyone_segad.scoring.thresholds
import fiftyone_segad.storage.store, fiftyone_segad.segments.maps
import fiftyone_segad.curation.groups, fiftyone_segad.curation.parts
print("fiftyone" in sys.modules)
"""
    done = python(code, ROOT)
    assert done.stdout.strip() == "False", done.stderr


@needs_fastdup
def test_a_copy_and_the_installed_package_share_runs(tmp_path: Path, sample_category: Path) -> None:
    """A run made by the plugin's copy is read by the installed package: they meet only through data."""
    copy_plugin(tmp_path / "plugins" / "segad")
    code = f"""
import fiftyone.operators as foo
import fiftyone_segad as segad
dataset = segad.load_mvtec({str(sample_category)!r})
foo.execute_operator("@segad/anomaly/compute_segment_anomalies",
    {{"view": dataset.limit(2), "params": {{"method": "within_image", "grid": 2}}}})
run = segad.load_run(dataset, "segad")
print(run.scored, segad.list_runs(dataset), type(run).__module__)
segad.delete_run(dataset, "segad")
"""
    done = python(code, tmp_path / "plugins")
    assert done.stdout.splitlines()[-1] == "2 ['segad'] fiftyone_segad.registry.run", done.stderr
