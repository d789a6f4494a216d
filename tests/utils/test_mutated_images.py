"""Damaged and hostile images: each is read, or an error names it, soon and within the memory that is stated."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from conftest import ROOT
from fiftyone_segad.errors import ImageError
from fiftyone_segad.utils import images
from fiftyone_segad.utils.images import BYTES_PER_PIXEL, MAX_PIXELS, MAX_SCANS, read_image
from fiftyone_segad.utils.masks import read_mask_pixels
from mutations import MUTATED, hostile_images, mutated_images

BESIDES = 16 * 2**20
"""Bytes that decoding may take besides those of the pixels."""

TIME = 100
"""Seconds for all files together, ten times what they take: enough to tell a hang, not to measure."""

READ_ALL = """
import json, re, sys
from pathlib import Path
from fiftyone_segad.errors import ImageError
from fiftyone_segad.utils.images import read_header, read_image
from fiftyone_segad.utils.masks import read_mask_pixels

def memory(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

def pixels(file):
    width, height = read_header(file).size
    return width * height

bytes_a_pixel, besides = map(int, sys.argv[2:])
files = sorted(Path(sys.argv[1]).iterdir())
errors = {}
for file in files:
    size = 0
    for read in (pixels, read_image, read_mask_pixels):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = memory("VmRSS")
        try:
            image = read(str(file))
        except ImageError as error:
            errors[file.name] = str(error)
            assert str(file) in str(error), error
        except BaseException as error:
            sys.exit(f"{file.name}: {read.__name__} raised {error!r}")
        else:
            size = image if read is pixels else size
        image = None
        excess = memory("VmHWM") - before - bytes_a_pixel * size - besides
        if excess > 0:
            sys.exit(f"{file.name}: {read.__name__} took {excess / 2**20:.0f} MB more than its size allows")
print(json.dumps({"files": len(files), "errors": errors}))
"""


@pytest.fixture(autouse=True)
def _memory_is_measured() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of memory is read from Linux's /proc")


def read_all(folder: Path) -> dict[str, str]:
    """Read all files of a folder in another process; return the errors by name of the file."""
    command = [sys.executable, "-W", "ignore", "-c", READ_ALL, folder, str(BYTES_PER_PIXEL), str(BESIDES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["files"] == len(list(folder.iterdir()))
    return result["errors"]


@pytest.fixture(scope="module")
def mutated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutated")
    for name, content in mutated_images():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.slow
def test_each_is_read_or_refused_by_name(mutated: Path) -> None:
    errors = read_all(mutated)
    # What was made by hand but is a picture all the same
    harmless = {"idat.png", "frames.png", "exif.jpg", "frames.gif", "frames.webp", "count.tif"}
    assert set(hostile_images()) - set(errors) == harmless
    # Not all are refused, or nothing but the first check would be tested
    assert 300 < len(errors) < 900
    assert len(list(mutated.iterdir())) == MUTATED


def test_the_check_of_memory_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (2000, 2000)).save(tmp_path / "a.png")
    monkeypatch.setattr(sys.modules[__name__], "BYTES_PER_PIXEL", 3)  # what the result alone takes
    monkeypatch.setattr(sys.modules[__name__], "BESIDES", 0)
    with pytest.raises(AssertionError, match=r"a\.png: read_image took \d+ MB more"):
        read_all(tmp_path)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("png", "RGBA", {}),
        ("jpeg", "CMYK", {}),
        ("jpeg", "RGB", {"progressive": True, "subsampling": 0}),
        ("webp", "RGBA", {"save_all": True, "append_images": [Image.new("RGBA", (2000, 2000))]}),
        ("tiff", "RGBA", {"compression": "tiff_lzw"}),
        ("jpeg2000", "RGB", {}),
    ],
)
def test_memory_a_pixel(tmp_path: Path, kind: str, mode: str, options: dict[str, object]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (250, 250, 3), dtype=np.uint8)
    Image.fromarray(picture).resize((2000, 2000)).convert(mode).save(tmp_path / "a", kind, **options)
    assert read_all(tmp_path) == {}


@pytest.mark.slow
def test_a_run_reports_each(
    mutated: Path, dataset_of: Callable[..., fo.Dataset], colour_embedder: object, pictures: list[Path]
) -> None:
    files = sorted(mutated.iterdir())
    dataset = dataset_of(files)
    normals = dataset_of(pictures)
    run = segad.compute_segment_anomalies(dataset, method="reference", reference=normals, embedder="efficientnet")
    skipped = {entry["filepath"]: entry["reason"] for entry in run.skipped}
    scored = set(dataset.exists("segad_score").values("filepath"))
    assert scored | set(skipped) == {str(file) for file in files}
    assert not scored & set(skipped)
    assert set(dataset.match_tags("segad_skipped").values("filepath")) == set(skipped)
    assert all(reason for reason in skipped.values())
    for name in ("iccp.png", "huge.png", "scans.jpg", "program.png", "deflate.tif"):
        assert name in skipped[str(mutated / name)]


def test_scans_of_a_jpeg(tmp_path: Path) -> None:
    """A usual progressive JPEG is read; one that repeats its last scan too often is not, whatever reads it."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (9, 200, 30)).save(file, "JPEG", progressive=True)
    jpeg = file.getvalue()
    scan = jpeg.rindex(b"\xff\xda")
    usual = jpeg.count(b"\xff\xda")
    for name, scans in {"most.jpg": MAX_SCANS, "more.jpg": MAX_SCANS + 1}.items():
        repeated = jpeg[scan:-2] * (scans - usual + 1)
        (tmp_path / name).write_bytes(jpeg[:scan] + repeated + b"\xff\xd9")
    assert read_image(str(tmp_path / "most.jpg")).shape == (48, 64, 3)
    for read in (read_image, read_mask_pixels):
        with pytest.raises(ImageError, match=r"more\.jpg' has more than 100 scans"):
            read(str(tmp_path / "more.jpg"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "I;16", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3), (257, 300)])
def test_rows_that_are_converted_at_once_do_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, size: tuple[int, int]
) -> None:
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    if mode == "I;16":
        picture = Image.fromarray(random.integers(0, 65536, (size[1], size[0]), dtype=np.uint16))
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / "a.tif")
    intact = read_image(str(tmp_path / "a.tif"))
    assert intact.shape == (size[1], size[0], 3)
    monkeypatch.setattr(images, "_PIXELS_AT_ONCE", 1000)
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.tif")), intact)


def test_the_largest_image_fits_into_a_laptop() -> None:
    assert BYTES_PER_PIXEL * MAX_PIXELS < 4 * 2**30
