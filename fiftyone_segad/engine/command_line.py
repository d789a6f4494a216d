"""The command line: score a folder of images against a bank file, without FiftyOne, into a table."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from .._version import __version__
from ..errors import ImageError, SegadError
from ..utils.listing import IMAGE_SUFFIXES, list_images
from ..utils.tables import ENCODING, TableWriter
from ..utils.text import pluralize
from ..utils.threads import prefetch_map
from .inspection import Inspection
from .inspector import Inspector, load_bank

FINE, ALARMS, WRONG_USE, UNREADABLE, STOPPED = 0, 1, 2, 3, 130
"""Exit codes; the last is that of a process that Ctrl-C ends."""

COLUMNS = (
    *("path", "score", "p_value", "decision", "zone", "area", "regions", "family"),
    *("x0", "y0", "x1", "y1", "reason"),
)

_DESCRIPTION = "Score images against a bank file of save_bank. FiftyOne is not needed, and nothing is sent anywhere."

_EPILOG = """\
The table has a row per image, in the order of their paths, written as soon as the image is scored:
  path                the image, from FOLDER on
  score, p_value      anomaly score; share of good images that look as odd
  decision            normal or anomalous
  zone                name of the zone that decides, the one of the highest score, if the bank has
                      zones with names
  area, regions       pixels of the predicted mask, and connected regions of it
  family              kind of defect that the region with the highest peak is like, if the bank
                      knows families; new if it is like none of them
  x0, y0, x1, y1      box, in pixels, of the region with the highest peak
  reason              why the image could not be scored; the others are scored all the same

exit codes:
  0    every image is scored and normal
  1    at least one image is anomalous
  2    wrong use, or a bank, folder or table that cannot be used: nothing is scored
  3    no image is anomalous, but at least one could not be scored
  130  stopped by Ctrl-C; the rows so far are in the table
"""

_THREADS = 2
"""Images that are worked on at once: one is read and compared while another one is in the network."""

_WIDTH = 79
"""Characters of a line of progress, so that it hides a longer one before it."""

_SECONDS = 0.5, 30.0
"""Seconds between two lines of progress, on a terminal and in a log."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code.

    Args:
        arguments (None): what follows the name of the program; by default the process's
    """
    options = _parser().parse_args(arguments)
    count = _Count(quiet=options.quiet)
    try:
        images = _find_images(options.folder)
        with load_bank(options.bank, embedder=options.embedder) as inspector:
            if options.threshold is not None:
                inspector.set_threshold(options.threshold)
            with _open_table(options.csv, options.overwrite) as table:
                _score(inspector, images, options.folder, table, count)
    except KeyboardInterrupt:
        rows = f" after {count}; their rows are in '{options.csv}'" if count.done else "; nothing is scored"
        print(f"\nStopped{rows}", file=sys.stderr)
        return STOPPED
    except (SegadError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE
    return ALARMS if count.flagged else UNREADABLE if count.unreadable else FINE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fiftyone_segad", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"fiftyone_segad {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    score = commands.add_parser(
        "score",
        help="score the images of a folder into a table",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    score.add_argument("bank", metavar="BANK", type=Path, help="file of save_bank")
    score.add_argument("folder", metavar="FOLDER", type=Path, help="folder of images, with all below it; or an image")
    score.add_argument("--csv", metavar="OUT", required=True, help="the table; - for the standard output")
    score.add_argument("--overwrite", action="store_true", help="replace an existing table")
    score.add_argument(
        "--threshold",
        metavar="RULE",
        help="fpr:0.01 (share of good images that may be flagged) or a number, in place of the bank's threshold",
    )
    score.add_argument(
        "--embedder",
        metavar="NAME",
        help="for a bank of a network (timm:, torchhub:, zoo:) its name, to say that you trust it",
    )
    score.add_argument("--quiet", action="store_true", help="show no progress")
    return parser


def _find_images(folder: Path) -> list[Path]:
    """List the images to score.

    Raises:
        FileNotFoundError: if there is no such folder
        ValueError: if it holds no images
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder '{folder}'; name one with images, or an image")
    images = list_images(folder)
    if not images:
        raise ValueError(f"'{folder}' holds no images ({', '.join(IMAGE_SUFFIXES)}); name another folder")
    return images


@contextmanager
def _open_table(name: str, overwrite: bool) -> Iterator[TableWriter]:
    """Open the table.

    Raises:
        ValueError: if it exists and is not to be replaced
        OSError: if it cannot be written
    """
    if name == "-":
        sys.stdout.reconfigure(newline="")  # type: ignore[union-attr] # the writer ends lines itself
        yield TableWriter(sys.stdout, COLUMNS)
        return
    file = Path(name)
    if file.exists() and not overwrite:
        raise ValueError(f"'{file}' exists; pass --overwrite to replace it, or name another file")
    with file.open("w", encoding=ENCODING, newline="") as target:
        yield TableWriter(target, COLUMNS)


def _score(inspector: Inspector, images: list[Path], folder: Path, table: TableWriter, count: _Count) -> None:
    def work(path: Path) -> dict[str, Any]:
        try:
            return _cells(inspector(path))
        except ImageError as error:
            return {"reason": str(error)}

    count.begin(len(images))
    for path, row in prefetch_map(work, images, _THREADS):
        shown = path.relative_to(folder) if path != folder else Path(path.name)
        table.write({"path": shown.as_posix(), **row})
        count.add(row)
    count.finish()


def _cells(result: Inspection) -> dict[str, Any]:
    """Return the cells of a row on an image."""
    x0, y0, x1, y1 = result.regions[0].box if result.regions else (None,) * 4
    return {
        "score": result.score,
        "p_value": result.p_value,
        "decision": "anomalous" if result.anomalous else "normal",
        "zone": result.zone,
        "area": sum(region.area for region in result.regions),
        "regions": len(result.regions),
        "family": next(iter(result.families), None),
        **{"x0": x0, "y0": y0, "x1": x1, "y1": y1},
    }


@dataclass
class _Count:
    """Counts the images, and shows how far they are on the standard error.

    Attributes:
        quiet: whether nothing is shown
        total: images there are
        done: images so far
        flagged: those of them that are anomalous
        unreadable: those that could not be scored
    """

    quiet: bool
    total: int = 0
    done: int = 0
    flagged: int = 0
    unreadable: int = 0
    _start: float = 0.0
    _shown: float = 0.0
    _stream: TextIO = field(default_factory=lambda: sys.stderr)

    def begin(self, total: int) -> None:
        """Begin to measure the time, of so many images."""
        self.total, self._start = total, time.monotonic()

    def add(self, row: dict[str, Any]) -> None:
        """Count the row of an image."""
        self.done += 1
        self.flagged += row.get("decision") == "anomalous"
        if "reason" in row:
            self.unreadable += 1
            print(f"{row['reason']:<{_WIDTH}}", file=self._stream)
        now, on_terminal = time.monotonic(), self._stream.isatty()
        if not self.quiet and now - self._shown >= _SECONDS[not on_terminal]:
            self._shown = now
            self._show("" if on_terminal else "\n")

    def finish(self) -> None:
        """Show the last line."""
        if not self.quiet:
            self._show("\n")

    def _show(self, end: str) -> None:
        """Write the line, on a terminal over the one before."""
        line = f"\r{self!s:<{_WIDTH}}" if self._stream.isatty() else str(self)
        print(line, end=end, file=self._stream, flush=True)

    def __str__(self) -> str:
        per_second = self.done / max(time.monotonic() - self._start, 1e-9)
        unread = f", {self.unreadable:,} could not be scored" if self.unreadable else ""
        return (
            f"{self.done:,} of {pluralize(self.total, 'image')}, {self.flagged:,} anomalous{unread}, "
            f"{per_second:.1f} per second"
        )
