"""Imports what a command needs without what that would import for nothing.

A command's start is most of its time. These are decisions for a process of our own: a program that
embeds dicomsql imports what it likes.
"""

from __future__ import annotations

import gc
import sys


def prepare() -> None:
    """Make the imports that follow cheaper."""
    # Modules live as long as the process: looking through them for garbage finds nothing.
    gc.set_threshold(100_000, 20, 50)
    # httpx imports its own command line where it finds click, which costs more than ours.
    sys.modules.setdefault("click", None)  # type: ignore[arg-type]


def import_arrow() -> None:
    """Import pyarrow without NumPy, which takes longer to import than Arrow itself.

    A command hands no arrays to anybody. NumPy can still be imported afterwards, as the embedded
    emulator does to render images.
    """
    if "pyarrow" in sys.modules or "numpy" in sys.modules:
        return
    # An entry of None makes the import system say that there is no such module.
    sys.modules["numpy"] = None  # type: ignore[assignment]
    try:
        import pyarrow  # noqa: F401
    finally:
        del sys.modules["numpy"]
