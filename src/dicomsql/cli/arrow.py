"""Imports Arrow without NumPy, which it would import where it is installed.

NumPy takes longer to import than Arrow itself, and a command hands no arrays to anybody. It can
still be imported afterwards, as the embedded emulator does to render images.
"""

from __future__ import annotations

import sys


def import_arrow() -> None:
    """Import pyarrow, in a process whose user will not ask it for NumPy arrays."""
    if "pyarrow" in sys.modules or "numpy" in sys.modules:
        return
    # An entry of None makes the import system say that there is no such module.
    sys.modules["numpy"] = None  # type: ignore[assignment]
    try:
        import pyarrow  # noqa: F401
    finally:
        del sys.modules["numpy"]
