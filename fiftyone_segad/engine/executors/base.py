"""What is done with each item of a run, and what has it done. Knows nothing of FiftyOne."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import Any, Generic, TypeVar

from ...utils.timing import StageTimer

Item = TypeVar("Item")
Result = TypeVar("Result")
Results = Generator[tuple[Item, Result], None, None]
"""Items, each with what a task made of it."""


class Task(ABC, Generic[Item, Result]):
    """What is done with each item, e.g. an image. It may be sent to other machines with all that it holds.

    Attributes:
        timer: counts the seconds that it takes
        room: what the items that are read and not yet worked on may weigh together
    """

    timer: StageTimer
    budget: int = 0

    def cost(self, item: Item) -> int:
        """What an item takes of ``budget``; what it weighs more than all of it, it takes alone."""
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
            done: what the call gave, which by default is the result
        """
        result: Result = done
        return result


class Executor(ABC):
    """Has a task done with many items."""

    @abstractmethod
    def map(self, task: Task[Item, Result], items: Iterable[Item], ordered: bool = False) -> Results[Item, Result]:
        """Yield each item with what the task made of it.

        What was begun is given up when the generator is closed. Errors of the task are passed on.

        Args:
            task: the task
            items: the items
            ordered (False): whether they must come in their order
        """

    def close(self) -> None:  # noqa: B027 - most executors hold nothing
        """Releases what the executor holds. It may not be used afterwards."""
