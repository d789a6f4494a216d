"""All layouts, in the order in which they are looked for: what is like one of them may be more like one before."""

from __future__ import annotations

from .classes import CLASSES
from .images import IMAGES
from .kolektor import KOLEKTOR_SDD, KOLEKTOR_SDD2
from .mvtec import MVTEC_LAYOUTS
from .mvtec_3d import MVTEC_3D
from .real_iad import REAL_IAD
from .table import TABLE
from .visa import VISA

LAYOUTS = {
    layout.name: layout
    for layout in (
        VISA,
        REAL_IAD,
        KOLEKTOR_SDD2,
        MVTEC_3D,
        *MVTEC_LAYOUTS,
        KOLEKTOR_SDD,
        TABLE,
        CLASSES,
        IMAGES,
    )
}
"""Layouts by name."""
