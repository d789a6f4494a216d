"""Turn values of more than 8 bits into 8 bits: by one scale for all images that are compared with each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

VALUES = 2**16
"""Grey values that a file can hold, from 0 on."""

_LEVELS = 256
_LEAST_SHARE = 0.75
"""Grey levels that a scale must keep, as a share of those that 8 bits can tell apart."""

_STRAY_SHARE = 1e-4
"""Pixels that may lie outside of a scale at either end, as a share of all."""


@dataclass(frozen=True)
class GreyScale:
    """The range of values, of grey or of all colours, that becomes 0 to 255; values outside of it become these ends.

        >>> GreyScale(0, 1023).to_8_bits(np.array([[0, 512, 1023, 4095]])).tolist()
        [[0, 128, 255, 255]]

    Attributes:
        low: lowest value of the range
        high: highest value of the range
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high < VALUES:
            raise ValueError(f"a range of grey values from {self.low} to {self.high} is not within 0 to {VALUES - 1}")

    def __str__(self) -> str:
        return (
            f"Images have more than 8 bits: in all of them, grey values from {self.low:,} to {self.high:,} are read as "
            "black to white, and those outside as these"
        )

    @classmethod
    def of_counts(cls, counts: NDArray[np.integer]) -> GreyScale:
        """Choose the scale for images by how often each grey value occurs in them.

        It is the widest range of 8, 9 ... 16 bits from 0 on that keeps most of their grey levels apart: thus values of
        8 bits that were multiplied, shifted or stored as they are become what they were. Where none does, because the
        values lie close together far from 0, it is a range of so many values around them.

            >>> counts = np.zeros(VALUES, int)
            >>> counts[:1000] = 1
            >>> GreyScale.of_counts(counts)
            GreyScale(low=0, high=1023)

        Args:
            counts: integer array ``[VALUES]``, not all 0. Of the lowest and of the highest pixels ``_STRAY_SHARE`` are
                passed over, as those of a broken sensor
        """
        below = np.cumsum(counts)  # [VALUES], pixels of a value up to each one
        stray = int(_STRAY_SHARE * below[-1])
        lowest, highest = np.searchsorted(below, [stray, below[-1] - stray - 1], side="right").tolist()
        values = lowest + np.flatnonzero(counts[lowest : highest + 1])
        needed = _LEAST_SHARE * min(len(values), _LEVELS)
        width = VALUES
        while width >= _LEVELS and width > highest:
            scale = cls(0, width - 1)
            if len(np.unique(scale.to_8_bits(values))) >= needed:
                return scale
            width //= 2
        width = _LEVELS
        while width <= highest - lowest:
            width *= 2
        low = min(max((lowest + highest + 1 - width) // 2, 0), VALUES - width)
        return cls(low, low + width - 1)

    def to_8_bits(self, values: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Turn grey values from 0 to 65535, of any shape, into 0 to 255."""
        return self._table[values]

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        """The 8-bit value of each value."""
        levels = (np.arange(VALUES) - self.low) * _LEVELS // (self.high - self.low + 1)
        return levels.clip(0, _LEVELS - 1).astype(np.uint8)


FULL_RANGE = GreyScale(0, VALUES - 1)
"""The scale that keeps the high byte of 16-bit values."""
