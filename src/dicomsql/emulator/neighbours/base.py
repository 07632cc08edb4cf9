"""What imports, exports, notifications and streams ask of the services beside the stores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

__all__ = [
    "Column",
    "Disposition",
    "NeighbourError",
    "Neighbours",
    "Objects",
    "StoredObject",
    "TableName",
    "Tables",
    "Topics",
]


class NeighbourError(Exception):
    """A service refused, or cannot be reached.

    Attributes:
        status: google.rpc.Code by its name, such as `NOT_FOUND`.
        message: for people; without contents of objects, messages or rows.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a bucket.

    Attributes:
        name: the path in the bucket.
        size: bytes.
    """

    name: str
    size: int


class Objects(Protocol):
    """Cloud Storage. All methods raise NeighbourError; NOT_FOUND where the bucket is not there."""

    def list(self, bucket: str, prefix: str = "") -> Iterator[StoredObject]:
        """The objects whose names begin so, in the order of their names, all pages of them."""

    def read(self, bucket: str, name: str) -> Iterator[bytes]:
        """The content of an object, in pieces."""

    def write(self, bucket: str, name: str, content: Iterable[bytes], media_type: str) -> None:
        """Put an object in the bucket, in the place of one of the same name; all of it or none."""


class Topics(Protocol):
    """Pub/Sub."""

    def check(self, topic: str) -> None:
        """Raise NeighbourError, NOT_FOUND, where the topic is not there."""

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        """Publish a message.

        Args:
            topic: `projects/P/topics/T`.

        Raises:
            NeighbourError: NOT_FOUND where the topic is not there.
        """


@dataclass(frozen=True, slots=True)
class TableName:
    """A table of BigQuery."""

    project: str
    dataset: str
    table: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, as TableFieldSchema has it.

    Attributes:
        type: `STRING`, `INTEGER`, `FLOAT`, `DATE`, `TIME`, `TIMESTAMP`, `JSON`, `RECORD` ...
        mode: `NULLABLE` or `REPEATED`.
        fields: of a RECORD.
    """

    name: str
    type: str
    mode: str = "NULLABLE"
    fields: tuple[Column, ...] = ()


class Disposition(StrEnum):
    """What becomes of a table that is there."""

    EMPTY = "WRITE_EMPTY"  # it has to be empty, or not there
    TRUNCATE = "WRITE_TRUNCATE"
    APPEND = "WRITE_APPEND"  # columns that it lacks are added


class Tables(Protocol):
    """BigQuery. All methods raise NeighbourError; NOT_FOUND where the dataset is not there."""

    def check(self, name: TableName) -> None:
        """Raise NeighbourError where the table could not be loaded: its dataset is not there."""

    def load(
        self,
        name: TableName,
        columns: Sequence[Column],
        rows: Iterable[Mapping[str, Any]],
        disposition: Disposition,
        *,
        once: str = "",
    ) -> None:
        """Write rows to a table, all of them or none; it is made where it is not there.

        Args:
            once: a name for this load, of letters and digits; where a load of this name has been
                done to the table, nothing is done again (a job that was killed is begun again).
            rows: values as BigQuery's JSON has them: numbers, texts, lists, records as mappings;
                dates, times and timestamps in ISO 8601; JSON as text.

        Raises:
            NeighbourError: ALREADY_EXISTS where `disposition` is EMPTY and there are rows.
        """


@dataclass(frozen=True, slots=True)
class Neighbours:
    """All of them, for one emulator."""

    objects: Objects
    topics: Topics
    tables: Tables

    def interrupt(self) -> None:
        """End what takes long, for the server ends; what is asked later is refused."""

    def close(self) -> None:
        """Let go of what they hold; nothing here, more where they are real."""
