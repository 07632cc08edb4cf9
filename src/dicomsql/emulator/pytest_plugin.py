"""Fixtures for pytest: a running emulator, and a DICOM store of its own for each test.

pytest finds them by the entry point `pytest11`. Nothing else is imported until a test asks for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dicomsql.emulator.library import Emulator, Store


@pytest.fixture(scope="session")
def dicomsql_emulator_options() -> dict[str, Any]:
    """Arguments of the `Emulator`; override it in a conftest.py to give some."""
    return {}


@pytest.fixture(scope="session")
def dicomsql_emulator(dicomsql_emulator_options: dict[str, Any]) -> Iterator[Emulator]:
    """A local Cloud Healthcare API, `dicomsql.emulator.Emulator`, for the whole session.

    With `url`, `make_store()` and, where it misbehaves on purpose, `faults`.
    """
    from dicomsql.emulator.library import Emulator

    with Emulator(**dicomsql_emulator_options) as emulator:
        yield emulator


@pytest.fixture
def dicomsql_store(dicomsql_emulator: Emulator) -> Iterator[Store]:
    """An empty DICOM store for one test, `dicomsql.emulator.Store`; it is deleted afterwards.

    Its `url` is the base URL of its DICOMweb services, its `name` is Google's.
    """
    store = dicomsql_emulator.make_store()
    yield store
    dicomsql_emulator.remove_store(store)
