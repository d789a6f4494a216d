"""The base of this plugin's operators: what they declare, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...errors import SegadError
from .. import execution, forms
from ..current_run import set_current_run
from ..target import target_samples
from ..wording import in_app_words

_GROUP = "Anomalies: "
"""Begins the labels of all operators, so that they stand together in the App's list."""

_LISTED = 10
"""Skipped images that a result lists; the tag has them all."""


def short_config(name: str, label: str, description: str, icon: str, **options: Any) -> foo.OperatorConfig:
    """Return the configuration of an operator.

    Args:
        name: its name
        label: what it does, without the name of the group
        description: the same in a sentence
        icon: the name of a Material icon
        options: as of ``fiftyone.operators.OperatorConfig``
    """
    options = {"dynamic": True, "risk_level": types.RiskLevel.MEDIUM, **options}
    return foo.OperatorConfig(name=name, label=f"{_GROUP}{label}", description=description, icon=icon, **options)


def long_config(name: str, label: str, description: str, icon: str, **options: Any) -> foo.OperatorConfig:
    """Return the configuration of an operator that shows its progress, and can be delegated."""
    long = {"execute_as_generator": True, "allow_delegated_execution": True}
    return short_config(name, label, description, icon, **long, **options)


@dataclass(frozen=True)
class Line:
    """A value in the form of a result.

    Attributes:
        name: name of the value in the result
        label: text beside it; ``{key}`` stands for the value ``key`` of the result
        kind: how it is shown; pictures are URLs by their labels
        when: name of a value; the line is left out where that is empty or zero
    """

    name: str
    label: str
    kind: Literal["int", "text", "markdown", "pictures"] = "int"
    when: str | None = None

    def add(self, form: types.Object, result: dict[str, Any]) -> None:
        """Add the line to a form."""
        if self.when is not None and not result.get(self.when):
            return
        label = self.label.format(**result) if result else self.label
        if self.kind == "int":
            form.int(self.name, label=label)
        elif self.kind == "pictures":
            for i, (name, url) in enumerate(result.get(self.name, {}).items()):
                forms.add_picture(form, f"{self.name}{i}", name, url)
        else:
            form.str(self.name, label=label, view=types.MarkdownView() if self.kind == "markdown" else None)


@dataclass(frozen=True)
class Table:
    """A list of rows in the form of a result.

    Attributes:
        name: name of the rows in the result
        label: text above it
        columns: label of each value of a row, by name
        when: name of a value; the table is left out where that is empty or zero
    """

    name: str
    label: str
    columns: dict[str, str]
    when: str | None = None

    def add(self, form: types.Object, result: dict[str, Any]) -> None:
        """Add the table to a form."""
        if self.when is not None and not result.get(self.when):
            return
        row, table = types.Object(), types.TableView()
        for name, label in self.columns.items():
            row.str(name)
            table.add_column(name, label=label)
        form.list(self.name, row, label=self.label, view=table)


NOTES = Line("messages", "Please note", "markdown", when="messages")
"""What the user should know of a result."""


def notes(warnings: Sequence[str], skipped: Sequence[dict[str, str]] = ()) -> str:
    """Return warnings, and the first of the images that were skipped with their reasons, as Markdown."""
    return in_app_words(
        "\n\n".join([*warnings, *(f"{entry['filepath']}: {entry['reason']}" for entry in skipped[:_LISTED])])
    )


class Operator(foo.Operator):
    """An operator that declares what it is; its form is opened, and its result shown, as those of all others are.

    Attributes:
        config: made by ``short_config``
        outputs: what the form of its result holds
        place: where the App has a button for it; None for nowhere
        button_label: label of the button; None for that of the form
        needs_dataset: whether a dataset must be open
    """

    config: foo.OperatorConfig
    outputs: tuple[Line | Table, ...] = ()
    place: types.Places | None = None
    button_label: str | None = None
    needs_dataset = True

    @property
    def title(self) -> str:
        """Title of the form."""
        label = self.config.label.removeprefix(_GROUP)
        return label[:1].upper() + label[1:]

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        inputs = types.Object()
        if not self.needs_dataset or forms.has_dataset(ctx, inputs):
            try:
                self.add_inputs(ctx, inputs)
            except Exception:  # a run may be putting its fields in place
                if ctx.dataset is None:
                    raise
                ctx.dataset.reload()
                inputs = types.Object()
                self.add_inputs(ctx, inputs)
        return types.Property(inputs, view=types.View(label=self.title))

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        """Add the fields of the form."""

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        # There is none after an error, which a form would hide, nor where the work goes on in the background
        return self.output_form(ctx.results) if ctx.results else None

    def output_form(self, result: dict[str, Any]) -> types.Property:
        """Return the form of a result: what was done, and what to do next.

        The latter stands in the form, for the App shows no title above the result of an operator that has shown its
        progress.
        """
        form = types.Object()
        for output in self.outputs:
            output.add(form, result)
        form.view("next", types.Notice(label=self.next_step(result)))
        return types.Property(form, view=types.View(label="Done"))

    def next_step(self, result: dict[str, Any]) -> str:
        """Return what to do next."""
        raise NotImplementedError

    def resolve_placement(self, ctx: foo.ExecutionContext) -> types.Placement | None:
        if self.place is None:
            return None
        label = self.button_label or self.title
        return types.Placement(self.place, types.Button(label=label, icon=self.config.icon, prompt=True))


class OpeningOperator(Operator):
    """An operator that opens a dataset in the App, also on a page where none is open."""

    needs_dataset = False

    def open(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Make the dataset, open it in the App, and return the result."""
        raise NotImplementedError

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        if ctx.dataset is not None or ctx.delegated or not execution.in_app(ctx):
            return self.open(ctx)
        if not execution.in_background(ctx):
            execution.execute_again(ctx)
            return {}
        try:
            result = self.open(ctx)
        except (SegadError, ValueError, OSError) as error:
            execution.show_error(ctx, error)
        else:
            ctx.ops.show_output(self.output_form(result).to_json(), result)
        return {}


class LongOperator(Operator):
    """An operator that may take minutes: it shows its progress, can be cancelled, and be delegated.

    Attributes:
        config: made by ``long_config``
        delegate_from: images from which on delegated execution is offered first; None for never
    """

    delegate_from: int | None = None

    def images(self, ctx: foo.ExecutionContext) -> int:
        """Return how many images it works on."""
        return len(target_samples(ctx))

    def resolve_execution_options(self, ctx: foo.ExecutionContext) -> foo.ExecutionOptions:
        long = self.delegate_from is not None and ctx.dataset is not None and self.images(ctx) >= self.delegate_from
        return foo.ExecutionOptions(
            allow_immediate_execution=True, allow_delegated_execution=True, default_choice_to_delegated=long
        )

    def run(
        self,
        ctx: foo.ExecutionContext,
        activity: str,
        work: Callable[[execution.Progress], dict[str, Any]],
        show: Callable[[dict[str, Any]], Iterator[Any]],
        key: str | None = None,
    ) -> Any:
        """Run a long function in the way that suits where the operator was called from.

        Args:
            ctx: the context
            activity: what the user may cancel it by
            work: the function; gets a progress function and returns a dict of plain values
            show: gives triggers for the App (reload, view) once it is done
            key (None): key of the run that it is on, which becomes the current one
        """
        dataset = ctx.dataset

        def work_on_run(progress: execution.Progress) -> dict[str, Any]:
            result = work(progress)
            if key is not None:
                set_current_run(dataset, key)
            return result

        return execution.execute(ctx, activity, work_on_run, self.output_form, show)
