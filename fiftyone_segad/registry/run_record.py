"""What the database holds of a run, checked before it is believed: it names folders that are written and removed."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

_MASKS = re.compile(r"masks-[0-9a-f]{8}\Z")

_KINDS: dict[str, type | tuple[type, ...]] = {
    "key": str,
    "method": str,
    "embedder": str,
    "settings": dict,
    "thresholds": dict,
    "map_range": list,
    "folder": str,
    "masks": str,
    "scored": int,
    "normals": int,
    "skipped": list,
    "warnings": list,
    "seconds": dict,
    "owns_color_scheme": bool,
    "pending": list,
    "obsolete": list,
}
_REQUIRED = list(_KINDS)[:10]
_SETTINGS = ("method", "embedder", "segments", "defects", "embedder_kwargs", "bank_size", "seed")


def check_record(record: Any, key: str) -> None:
    """Check what is stored of a run.

    Args:
        record: JSON values
        key: the key that it is stored under

    Raises:
        ValueError: if it is not what a run stores; the message names the value
    """
    if not isinstance(record, dict):
        raise ValueError("it is no dictionary")
    missing = [name for name in _REQUIRED if name not in record]
    unknown = sorted(set(record) - set(_KINDS))
    if missing or unknown:
        raise ValueError(f"it lacks {missing}" if missing else f"it has {unknown}")
    for name, value in record.items():
        if not isinstance(value, _KINDS[name]):
            raise ValueError(f"its {name} is {value!r}")
    if record["key"] != key:
        raise ValueError(f"its key is {record['key']!r}")
    _check_lists(record)
    _check_numbers(record)
    _check_folders(record)


def _check_lists(record: dict[str, Any]) -> None:
    for name in ("warnings", "pending", "obsolete"):
        if not all(isinstance(each, str) for each in record.get(name, [])):
            raise ValueError(f"its {name} are no texts")
    for entry in record.get("skipped", []):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(n), str) for n in ("id", "filepath", "reason")):
            raise ValueError(f"what it skipped is {entry!r}")
    absent = [name for name in _SETTINGS if name not in record["settings"]]
    if absent:
        raise ValueError(f"its settings lack {absent}")


def _check_numbers(record: dict[str, Any]) -> None:
    thresholds = record["thresholds"]
    if set(thresholds) != {"rule", "image", "pixel"} or not isinstance(thresholds["rule"], str):
        raise ValueError(f"its thresholds are {thresholds!r}")
    numbers = [thresholds["image"], *record["map_range"]]
    numbers += [] if thresholds["pixel"] is None else [thresholds["pixel"]]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise ValueError(f"{number!r} is no threshold")
    if len(record["map_range"]) != 2:
        raise ValueError(f"its range of heatmaps is {record['map_range']!r}")


def _check_folders(record: dict[str, Any]) -> None:
    """Below the folder masks are written, and removed when the threshold changes."""
    folder = Path(record["folder"])
    if not folder.is_absolute() or ".." in folder.parts or folder.parent.name != record["key"]:
        raise ValueError(f"its folder is {record['folder']!r}")
    if not _MASKS.match(record["masks"]):
        raise ValueError(f"its folder of masks is {record['masks']!r}")
