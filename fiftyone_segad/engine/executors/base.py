"""Define tasks, which are done with each item of a run, and executors, which have them done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import Any, Generic, TypeVar

from ...utils.timing import StageTimer

Item = TypeVar("Item")
Result = TypeVar("Result")
Results = Generator[tuple[Item, Result], None, None]
"""Yields items, each with the result of a task."""


class Task(ABC, Generic[Item, Result]):
    """Work on items, e.g. images, one by one. It may be sent to other machines with all that it holds.

    Attributes:
        timer: counts the seconds that it takes
        budget: cost of all items together that are read and not yet worked on
    """

    timer: StageTimer
    budget: int = 0

    def cost(self, item: Item) -> int:
        """Return the cost of an item against ``budget``; one that costs more than the whole budget is read alone."""
        return 0

    def read(self, item: Item) -> Any:
        """Read what belongs to an item; in threads, a few items ahead."""

    @abstractmethod
    def __call__(self, item: Item, content: Any) -> Any:
        """Do the work that needs most of the machine, one item at a time and always in the same thread.

        Args:
            item: the item
            content: what was read
        """

    def finish(self, item: Item, done: Any) -> Result:
        """Do the rest in another thread, one item at a time, while the next item is worked on.

        Args:
            item: the item
            done: outcome of the call, which by default is the result
        """
        result: Result = done
        return result


class Executor(ABC):
    """Has a task done with many items."""

    @abstractmethod
    def map(self, task: Task[Item, Result], items: Iterable[Item], ordered: bool = False) -> Results[Item, Result]:
        """Yield each item with the task's result.

        Work that was begun is given up when the generator is closed. Errors of the task are passed on.

        Args:
            task: the task
            items: the items
            ordered (False): whether they must come in their order
        """

    def close(self) -> None:  # noqa: B027 - most executors hold nothing
        """Release what the executor holds. It may not be used afterwards."""
