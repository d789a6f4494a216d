"""Retry database calls while MongoDB reconnects, e.g. after a restart."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from pymongo.errors import AutoReconnect
from retrying import Retrying

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 120
"""Seconds for which a database that has gone is waited for."""


def retry_on_reconnect(work: Callable[P, T]) -> Callable[P, T]:
    """Make a function that may run twice wait for a database that is gone.

    Raises:
        pymongo.errors.AutoReconnect: if it does not come back in ``PATIENCE`` seconds

    Examples:
        >>> fetch_samples = retry_on_reconnect(dataset.values)  # doctest: +SKIP
    """
    retrying = Retrying(
        retry_on_exception=lambda error: isinstance(error, AutoReconnect),
        wait_exponential_multiplier=100,  # milliseconds
        wait_exponential_max=5_000,
        stop_max_delay=1_000 * PATIENCE,
    )

    @wraps(work)
    def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        result: T = retrying.call(work, *args, **kwargs)
        return result

    return patient
