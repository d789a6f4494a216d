"""Hold the version: the plugin alone is not pip-installed, so that no metadata can be asked for it."""

__version__ = "0.2.0"
