"""Work that goes on behind an operation: its kinds, and what each has to be able to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from dicomsql.emulator.folder import Folder
from dicomsql.emulator.neighbours.base import Neighbours

__all__ = ["Context", "Job", "UnitError", "Work"]


class UnitError(Exception):
    """One unit of an operation failed, the others go on; the text says why, without a value."""


@dataclass(frozen=True, slots=True)
class Context:
    """What work acts on."""

    folder: Folder
    neighbours: Neighbours


@dataclass(frozen=True, slots=True)
class Job:
    """An operation that runs.

    Attributes:
        operation: its row in the index.
        version: `v1` or `v1beta1`.
        spec: what was asked for, as JSON; written when the operation began.
    """

    operation: int
    version: str
    spec: dict[str, Any]


class Work(Protocol):
    """A kind of work, done unit by unit in the background; begun again after a restart.

    Every method may run once more for what it has done already, since a kill may come between the
    work and the note of it: the second time must end in the same state.
    """

    def units(self, context: Context, job: Job) -> Iterable[str]:
        """What there is to do, in pieces; asked once, and written down before the first is done.

        Raises:
            StatusError: the operation fails as a whole.
        """

    def do(self, context: Context, job: Job, units: list[str]) -> list[UnitError | None]:
        """Do some units; gives for each why it failed, or None.

        Raises:
            StatusError: the operation fails as a whole; what was done stays.
        """

    def finish(self, context: Context, job: Job) -> None:
        """What is left when all units are done."""
