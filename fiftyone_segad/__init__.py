"""Find defects segment by segment in FiftyOne datasets.

The public names stand in ``__init__.pyi`` and are imported on first use, so that neither the package nor the plugin
costs time, or needs fastdup, before it is used.
"""

from __future__ import annotations

from typing import Any

import lazy_loader

from ._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def register(plugin: Any) -> None:
    """Register operators and panels with FiftyOne; called when it loads the plugin."""
    from .plugin.operators import OPERATORS
    from .plugin.panels import PANELS

    for component in (*OPERATORS, *PANELS):
        plugin.register(component)
