"""A local Cloud Healthcare API on a folder: datasets, DICOM stores, operations and DICOMweb.

    from dicomsql.emulator import Emulator

    with Emulator() as emulator:
        print(emulator.url)

A program of its own. It imports nothing of the query side, and answers as Google does rather than
as would be convenient for a client. Begin with `app.create_app`, `server.Server` and
`library.Emulator`. The names here are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dicomsql.emulator.errors import EmulatorError
    from dicomsql.emulator.faults import Fault, Faults
    from dicomsql.emulator.library import Emulator, Store

_MODULE_OF = {
    "Emulator": "library",
    "EmulatorError": "errors",
    "Fault": "faults",
    "Faults": "faults",
    "Store": "library",
}

__all__ = ["Emulator", "EmulatorError", "Fault", "Faults", "Store"]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'dicomsql.emulator' has no attribute {name!r}")
    value = getattr(import_module(f"dicomsql.emulator.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
