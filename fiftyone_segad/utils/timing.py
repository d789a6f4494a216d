"""Measure where the time of a run goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

_ADDING = threading.Lock()  # not one per timer: timers are sent to other machines


@dataclass
class StageTimer:
    """Adds up the seconds of named stages, which several threads may work on at once.

    Examples:
        >>> timer = StageTimer()
        >>> with timer("embed"):
        ...     pass
        >>> timer.add({"embed": 2.0, "map": 1.0})
        >>> {stage: round(seconds) for stage, seconds in timer.take().items()}
        {'embed': 2, 'map': 1}
    """

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add({stage: time.perf_counter() - start})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add the seconds of another timer."""
        with _ADDING:
            for stage, spent in seconds.items():
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def take(self) -> dict[str, float]:
        """Return the seconds, and begin at none again."""
        with _ADDING:
            taken, self.seconds = self.seconds, {}
        return taken
