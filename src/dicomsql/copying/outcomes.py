"""What became of each instance that a COPY moved, or did not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What was done with an instance."""

    STORED = "stored"
    PRESENT = "present"  # it was there already, the same
    SKIPPED = "skipped"  # it was there with other bytes, which were left
    REPLACED = "replaced"
    RETRIEVED = "retrieved"
    FAILED = "failed"


# Reasons for which an instance fails again however often it is tried.
OTHER_BYTES = "the store has an instance with these UIDs and other bytes"
OTHER_FILE = "a file with other content is there (overwrite true replaces it)"
LASTING = frozenset({OTHER_BYTES, OTHER_FILE})


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the result.

    Attributes:
        path: of the file, as people know it (`scans.zip!/a/b.dcm` for one in an archive); None
            between servers.
        study, series, instance: UIDs; empty where they could not be read.
        reason: why it failed, or what the server warned of; no value of the dataset.
        size: bytes of the instance; None where it is not known.
    """

    status: Status
    path: str | None = None
    study: str = ""
    series: str = ""
    instance: str = ""
    reason: str = ""
    size: int | None = None
