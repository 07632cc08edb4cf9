"""What can stop the emulator from starting; errors of single requests are in `status`."""

from __future__ import annotations


class EmulatorError(Exception):
    """The emulator cannot run on this folder or this address; the text says why and what to do."""
