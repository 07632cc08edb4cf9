"""What ends a command besides the errors of its statements."""

from __future__ import annotations


class UsageError(Exception):
    """The command line, or a file that it names, is wrong."""


class ReaderGoneError(Exception):
    """What reads our output has closed it; there is nobody left to tell."""
