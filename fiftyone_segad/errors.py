"""Errors of the package. Each message names the sample or parameter and what to do next."""

from __future__ import annotations


class SegadError(Exception):
    """Base class of the package's own errors."""


class MissingDependencyError(SegadError, ImportError):
    """An optional package or file is absent; the message holds the command that installs it."""


class ImageError(SegadError):
    """An image or mask cannot be used; the message names the file and the reason."""


class RunError(SegadError):
    """A run cannot be found, or its stored files are gone or damaged."""


class RunBusyError(RunError):
    """Another process, or another part of this one, is writing the run; the message says which."""


class BankError(SegadError):
    """A bank file cannot be used; the message names the file and the reason."""


class RunCancelled(SegadError):
    """A run was cancelled from outside; what was scored so far is kept for ``resume=True``."""
