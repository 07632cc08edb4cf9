"""What can stop the emulator from starting; errors of single requests are in `status`."""

from __future__ import annotations

__all__ = ["EXTRA", "EmulatorError"]

# What the extra `emulator` installs, by the names under which it is imported.
EXTRA = frozenset({"starlette", "uvicorn", "pydicom", "numpy", "PIL"})


class EmulatorError(Exception):
    """The emulator cannot run on this folder or this address; the text says why and what to do."""
