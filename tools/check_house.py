"""Check what ruff does not: sizes of files and functions, and docstrings that begin with a verb.

    python tools/check_house.py [FOLDER ...]

Prints each offence as ``file:line: what``, and ends with status 1 if there is one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("fiftyone_segad", "tests", "benchmarks", "examples", "tools")

ROOT_FILES = {"__init__.py", "__init__.pyi", "__main__.py", "_version.py", "errors.py", "py.typed"}
"""All that lies in the package's root besides its rooms."""

MAX_FILE_LINES = 350
MAX_BODY_LINES = 60
"""Lines of a function without its docstring."""

NO_VERBS = {
    *("a", "all", "an", "as", "at", "by", "each", "from", "how", "if", "in", "it", "its", "no", "none", "of", "on"),
    *("one", "only", "some", "that", "the", "their", "these", "this", "those", "to", "what", "when", "where"),
    *("whether", "which", "who", "whose", "with"),
}
"""First words of docstrings that are no verb. ``ruff`` (D401) tells verbs in another mood."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def offences(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each offence in a file."""
    text = file.read_text()
    lines = text.count("\n")
    if lines > MAX_FILE_LINES:
        yield 1, f"{lines} lines, {MAX_FILE_LINES} at most: is there a second idea that wants its own file?"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Function):
            yield from _offences_of_function(node, in_package="fiftyone_segad" in file.parts)


def _offences_of_function(node: Function, in_package: bool) -> Iterator[tuple[int, str]]:
    docstring = ast.get_docstring(node)
    first = node.body[1] if docstring is not None and len(node.body) > 1 else node.body[0]
    length = (node.end_lineno or node.lineno) - first.lineno + 1
    if length > MAX_BODY_LINES:
        yield node.lineno, f"{node.name} has {length} lines, {MAX_BODY_LINES} at most"
    properties = {"property", "cached_property"}
    is_property = any(
        isinstance(decorator, ast.Name) and decorator.id in properties for decorator in node.decorator_list
    )
    if docstring and in_package and not is_property and docstring.split()[0].strip("`,:;").lower() in NO_VERBS:
        yield node.lineno, f"the docstring of {node.name} does not begin with a verb: {docstring.splitlines()[0]!r}"


def main() -> None:
    """Print the offences of all files below the folders."""
    folders = (
        [ROOT / name for name in FOLDERS] if len(sys.argv) < 2 else [Path(name).resolve() for name in sys.argv[1:]]
    )
    count = 0
    for path in sorted((ROOT / "fiftyone_segad").iterdir()):
        if path.is_file() and path.name not in ROOT_FILES:
            print(f"{path.relative_to(ROOT)}: it belongs in a room, not in the package's root")
            count += 1
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            for line, what in offences(file):
                print(f"{file.relative_to(ROOT)}:{line}: {what}")
                count += 1
    sys.exit(bool(count))


if __name__ == "__main__":
    main()
