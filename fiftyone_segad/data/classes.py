"""Names of classes: which of them are no defects, and which say that nothing is known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import fiftyone.core.fields as fof
from fiftyone.core.collections import SampleCollection as Samples

DEFECT, NORMAL, VOID = "defect", "normal", "void"
"""Kinds of classes."""

NORMAL_NAMES = frozenset(
    {"background", "good", "normal", "ok", "okay", "none", "nominal", "no defect", "no defects", "defect free"}
)
"""Names of classes and objects that are no defects, as ``plain_name`` gives them."""

VOID_NAMES = frozenset(
    {"void", "ignore", "ignored", "ignore region", "dont care", "don't care", "do not care", "unlabeled", "unlabelled"}
)
"""Names of classes and objects of which nobody says whether they are defects."""


def plain_name(name: str) -> str:
    """Return a name in lower case, its words parted by single spaces.

    Examples:
        >>> plain_name("_Background_"), plain_name("defect-free")
        ('background', 'defect free')
    """
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def is_normal(name: str | None) -> bool:
    """Return whether a class or an object of this name is no defect.

    Examples:
        >>> is_normal("OK"), is_normal("scratch"), is_normal(None)
        (True, False, False)
    """
    return name is not None and plain_name(name) in NORMAL_NAMES


def kind_of(name: str | None) -> str:
    """Return whether a class or an object of this name is a defect, normal, or void.

    Examples:
        >>> [kind_of(name) for name in ("scratch", "Good", "__ignore__", None)]
        ['defect', 'normal', 'void', 'defect']
    """
    if is_normal(name):
        return NORMAL
    return VOID if name is not None and plain_name(name) in VOID_NAMES else DEFECT


@dataclass(frozen=True)
class Classes:
    """The kinds of the values of a mask.

    Attributes:
        kinds: kinds by value: numbers, or colours 0xRRGGBB. Other values are defects, but for 0
        colours: whether the values are colours
    """

    kinds: Mapping[int, str] = field(default_factory=dict)
    colours: bool = False

    @classmethod
    def of(cls, samples: Samples, gt_field: str) -> Classes:
        """Look up the mask targets of a field."""
        targets = samples.mask_targets.get(gt_field) or samples.default_mask_targets or {}
        colours = not all(fof.is_integer_target(value) for value in targets)
        code = fof.hex_to_int if colours else int
        return cls({code(value): kind_of(name) for value, name in targets.items()}, colours)

    @property
    def named_zero(self) -> str:
        """Kind of the value 0: normal, unless its name says otherwise."""
        return self.kinds.get(0, NORMAL)

    @property
    def special(self) -> bool:
        """Whether a mask's values must be known exactly, since not all are defects but 0."""
        return self.named_zero != NORMAL or any(kind != DEFECT for value, kind in self.kinds.items() if value)

    @property
    def contradicts(self) -> bool:
        """Whether no value is normal: 0 is named something else, and nothing stands in for it."""
        return self.named_zero != NORMAL and NORMAL not in self.kinds.values()
