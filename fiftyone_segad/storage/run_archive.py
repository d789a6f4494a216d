"""The folder or ZIP file by which a run goes to another machine: one JSON file, and the parts of its store.

    <path>/run.json              the run's record, which images it scored and compares with, and what people marked
    <path>/settings.json, ...    the files of the store by which it goes on, see ``store.py``

Runs of all slices of a grouped dataset go together, each in a folder of its own:

    <path>/slices.json           the names of the slices, and what was decided on parts
    <path>/0/run.json, ...       the run of the first slice, and so on

A ZIP file holds the same, and nothing compressed. Only files of these names are ever read, and each goes to its own
place in the folder of a new run.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..errors import RunError
from ..utils.files import atomic_write, read_json, replaced_folder
from ..utils.values import make_dataclass
from .bank_images import file_state
from .store import RunStore

_RECORD, _FORMAT = "run.json", "fiftyone_segad run 1"
_SLICES, _SLICES_FORMAT = "slices.json", "fiftyone_segad slices 1"

T = TypeVar("T")

_FILE = re.compile(
    r"(settings|copies|groups|left_out|zones)\.json|(levels|families)\.safetensors|zones/[0-9a-f]{16}\.png|"
    r"(bank|marked|defects|features|normals|scores|held_out/[0-9]{1,3})/part-[0-9]{6}\.safetensors"
)
"""Files of a store that are carried; images of maps and masks are made anew."""


@dataclass(frozen=True)
class CarriedImage:
    """An image by its content.

    Attributes:
        id: name under which the store has it: a sample's id, or the path of an image to compare with
        path: its file on the machine that it comes from
        size: bytes, -1 if it could not be read
        sha256: checksum of its content, empty if it could not be read
    """

    id: str
    path: str
    size: int
    sha256: str

    @classmethod
    def of(cls, id: str, path: str) -> CarriedImage:
        """Read size and checksum of an image."""
        state = file_state(path, path)
        return cls(id, path, state.size, state.sha256)


@dataclass(frozen=True)
class CarriedSlice:
    """The slice of a grouped dataset that a run is of.

    Attributes:
        key: the key that stands for the runs of all slices
        slice: name of the slice
        slices: names of all slices
        share: share of good parts that may be flagged in the decisions on parts; None if nothing was decided
    """

    key: str
    slice: str
    slices: list[str]
    share: float | None


@dataclass(frozen=True)
class RunArchive:
    """All that is carried of a run beside the files of its store.

    Attributes:
        run: its record, without what holds on one machine only
        samples: the images that it scored
        normals: the images that it compares with
        marks: what people said of its images
        parts: what was decided on parts; None if nothing was
        slice: the slice that the run is of; None if it is of none
    """

    run: dict[str, Any]
    samples: list[CarriedImage]
    normals: list[CarriedImage]
    marks: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[str, Any] | None = None
    slice: CarriedSlice | None = None


@dataclass(frozen=True)
class SlicesArchive:
    """All that is carried of the runs of slices beside each run.

    Attributes:
        key: the key that stands for them
        slices: names of the slices, in the order of their folders
        reference: name of the dataset of the normal images, empty if it is that of the runs; None if there are none
        notes: slices that were left out, and why
        parts: what was decided on parts; None if nothing was
    """

    key: str
    slices: list[str]
    reference: str | None = None
    notes: list[str] = field(default_factory=list)
    parts: dict[str, Any] | None = None

    def folders(self) -> dict[str, str]:
        """Return the name of the folder of each slice."""
        return {name: str(number) for number, name in enumerate(self.slices)}


def write_archive(target: Path, archive: RunArchive, store: RunStore) -> None:
    """Write a folder, or a ZIP file if its name ends so; one that exists is replaced.

    Raises:
        OSError: if it cannot be written; what was there is as before then
    """
    _write(target, _content(archive, store))


def write_slices(target: Path, slices: SlicesArchive, runs: Sequence[tuple[RunArchive, RunStore]]) -> None:
    """Write the runs of slices, in their order, as ``write_archive`` does one run.

    Raises:
        OSError: if it cannot be written; what was there is as before then
    """
    content: dict[str, str | Path] = {_SLICES: _to_json(_SLICES_FORMAT, slices)}
    for folder, (archive, store) in zip(slices.folders().values(), runs, strict=True):
        content |= {f"{folder}/{name}": file for name, file in _content(archive, store).items()}
    _write(target, content)


def _content(archive: RunArchive, store: RunStore) -> dict[str, str | Path]:
    """Return the text of each file of an exported run, or the file that is copied to it."""
    files = {name: store.folder / name for name in _names(store.folder)}
    return {_RECORD: _to_json(_FORMAT, archive), **files}


def _to_json(format: str, record: RunArchive | SlicesArchive) -> str:
    return json.dumps({"format": format, **asdict(record)}, indent=1)


def _write(target: Path, content: Mapping[str, str | Path]) -> None:
    if target.suffix.lower() != ".zip":
        with replaced_folder(target) as folder:
            for name, file in content.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                if isinstance(file, str):
                    (folder / name).write_text(file)
                else:
                    shutil.copyfile(file, folder / name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as partial, zipfile.ZipFile(partial, "w") as packed:
        for name, file in content.items():
            if isinstance(file, str):
                packed.writestr(name, file)
            else:
                packed.write(file, name)


def is_archive(path: Path) -> bool:
    """Return whether a folder or file is an exported run, or runs of slices."""
    try:
        if read_slices(path) is None:
            read_archive(path)
    except RunError:
        return False
    return True


def read_archive(path: Path, folder: str = "") -> RunArchive:
    """Read what is carried of a run beside its store.

    Args:
        path: the folder or ZIP file
        folder (""): the folder of a slice in it

    Raises:
        FileNotFoundError: if there is no such folder or file
        RunError: if it is no exported run, of another version, or damaged
    """
    record = f"{folder}/{_RECORD}" if folder else _RECORD
    saved = _read_record(path, record, _FORMAT)
    if saved is None:
        raise RunError(f"'{path / folder}' is no run that this version has exported")
    return _parse(RunArchive, saved, path / record)


def read_slices(path: Path) -> SlicesArchive | None:
    """Read what is carried of runs of slices beside each run; None if it is none of theirs.

    Raises:
        FileNotFoundError: if there is no such folder or file
        RunError: if it is damaged
    """
    saved = _read_record(path, _SLICES, _SLICES_FORMAT)
    if saved is None:
        return None
    slices = _parse(SlicesArchive, saved, path / _SLICES)
    if not slices.slices or len(set(slices.slices)) < len(slices.slices):
        raise RunError(f"'{path / _SLICES}' is damaged: its slices are {slices.slices}. Export the run again")
    return slices


def _read_record(path: Path, name: str, format: str) -> dict[str, Any] | None:
    """Read a JSON file of an exported run; None if there is none, or it is of another format."""
    saved = read_json(path / name) if path.is_dir() else _read_packed(path, name)
    return None if saved is None or saved.pop("format", None) != format else saved


def _parse(kind: type[T], saved: dict[str, Any], file: Path) -> T:
    try:
        return make_dataclass(kind, saved)
    except ValueError as error:
        raise RunError(f"'{file}' is damaged: {error}. Export the run again") from error


@contextmanager
def open_store(path: Path, scratch: Path, folder: str = "") -> Iterator[RunStore]:
    """Give the store of an exported run, to be read only.

    Args:
        path: the folder or ZIP file
        scratch: a folder in which a ZIP file is unpacked meanwhile
        folder (""): the folder of a slice in it

    Raises:
        RunError: if it is damaged
        OSError: if the folder cannot be written
    """
    if path.is_dir():
        yield RunStore(path / folder)
        return
    start = f"{folder}/" if folder else ""
    with tempfile.TemporaryDirectory(prefix="import-", dir=scratch) as unpacked, _opened(path) as packed:
        for entry in packed.infolist():
            name = entry.filename.removeprefix(start)
            if entry.filename.startswith(start) and _FILE.fullmatch(name):
                target = Path(unpacked) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(entry) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
        yield RunStore(unpacked)


def _names(folder: Path) -> list[str]:
    """Name the files of a folder that are carried; links are none of them."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    return [name for name in (file.relative_to(folder).as_posix() for file in files) if _FILE.fullmatch(name)]


def _read_packed(path: Path, name: str) -> dict[str, Any] | None:
    with _opened(path) as packed:
        try:
            saved = json.loads(packed.read(name))
        except (KeyError, ValueError, RecursionError):
            return None
    return saved if isinstance(saved, dict) else None


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a ZIP file whose entries are as large as they say.

    Raises:
        RunError: if it is none, is damaged, or was compressed by another program
    """
    try:
        with zipfile.ZipFile(path) as packed:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in packed.infolist()):
                raise RunError(f"'{path}' is compressed, which no exported run is; unpack it first")
            yield packed
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise RunError(f"'{path}' is no exported run, or damaged: {error}") from error
