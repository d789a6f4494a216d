"""Images of a bank are known by their content, wherever they lie."""

from __future__ import annotations

import hashlib
from pathlib import Path

from banks import make_bank
from fiftyone_segad.storage.bank_images import FileState, bank_copies, bank_images, file_state
from fiftyone_segad.storage.store import RunStore


def test_copies_are_known_by_content(tmp_path: Path) -> None:
    (tmp_path / "somewhere.png").write_bytes(b"the first")
    (tmp_path / "as_long.png").write_bytes(b"the other")
    state = FileState("a.png", 9, hashlib.sha256(b"the first").hexdigest())
    store = RunStore.create(tmp_path / "run", {})
    make_bank(images=[state, *make_bank().header.images[1:]]).unpack(store)
    assert bank_images(store)["a.png"] == state
    paths = [str(tmp_path / name) for name in ("somewhere.png", "as_long.png", "absent.png")]
    assert bank_copies(store, paths) == {paths[0]: "a.png"}


def test_a_run_with_a_bank_of_its_own_knows_none(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run", {})
    assert bank_images(store) == {} and bank_copies(store, [__file__]) == {}


def test_a_file_that_cannot_be_read_has_no_checksum(tmp_path: Path) -> None:
    assert file_state(tmp_path, "a folder") == FileState("a folder", -1, "")
