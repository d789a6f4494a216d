"""No message of the package gives advice in Python to somebody who sits before a form."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from conftest import ROOT
from fiftyone_segad.plugin import wording
from fiftyone_segad.plugin.wording import in_app_words
from plugin_calls import plugin_module

PYTHON = re.compile(r"overwrite=|=\.\.\.|\b\w+\(\)|\bdataset\.\w+\(|\bsegad\.|\bF\(|delete_run\(")


def text_of(node: ast.expr) -> str | None:
    """A text as it may come out, with a name for each value in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "value" for part in node.values)
    if isinstance(node, ast.BinOp):
        parts = text_of(node.left), text_of(node.right)
        return None if None in parts else "".join(map(str, parts))
    return None


def messages() -> Iterator[tuple[str, str]]:
    """Where an error is raised or a warning made in the package below the plugin, and its text."""
    for file in sorted((ROOT / "fiftyone_segad").rglob("*.py")):
        if "plugin" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            calls = [node.exc] if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) else []
            expressions = [call.args[0] for call in calls if call.args]
            if isinstance(node, ast.List | ast.Return):  # lists of warnings
                expressions += node.elts if isinstance(node, ast.List) else [node.value] if node.value else []
            for expression in expressions:
                text = text_of(expression)
                if text is not None and PYTHON.search(text):
                    yield f"{file.name}:{expression.lineno}", text


MESSAGES = dict(messages())


def test_there_are_such_messages() -> None:
    assert len(MESSAGES) > 10


@pytest.mark.parametrize("place", MESSAGES)
def test_a_message_says_what_to_do_in_the_app(place: str) -> None:
    words = in_app_words(MESSAGES[place])
    assert not PYTHON.search(words), words


def test_other_messages_stay_as_they_are() -> None:
    message = "threshold='often' is not known; use 'fpr:0.01', 'f1' or a number (higher flags fewer)"
    assert in_app_words(message) == message


def test_operators_have_the_titles_that_messages_call_them_by() -> None:
    operators = plugin_module("plugin.operators").OPERATORS
    titles = {operator.config.name: operator().title for operator in operators}
    named = {name: title for name, title in wording._TITLES.items() if name in titles}
    assert len(named) > 10 and named == {name: titles[name] for name in named}
