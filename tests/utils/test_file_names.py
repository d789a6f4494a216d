"""Names of files: safe on any machine, and unlike each other."""

from __future__ import annotations

import pytest

from fiftyone_segad.utils.file_names import UniqueNames, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("scratch", "scratch"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "_"),
        ("", "_"),
        ("a/b\\c:d", "a_b_c_d"),
        ("Kratzer größer", "Kratzer größer"),
        ("x" * 500, "x" * 120),
        (" dot. ", "dot"),
        ("line\nbreak\0", "line_break_"),
    ],
)
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_names_are_unlike_each_other_in_any_case() -> None:
    names = UniqueNames(["good"])
    assert [names.take(name) for name in ("a", "A", "a", "a_2", "Good")] == ["a", "A_2", "a_3", "a_2_2", "Good_2"]
