"""DICOM JSON into Arrow batches: one row a dataset, known by the UID of its level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.dicom.columns import AttributeColumn, column
from dicomsql.dicom.decode import Decoder, Read
from dicomsql.errors import IncompleteError, InternalError, OperationalError
from dicomsql.execution.calls import PARTIAL_CONTENT
from dicomsql.execution.decoded import Decoded, schema_of
from dicomsql.planning.read_plan import ColumnKind
from dicomsql.planning.tables import UIDS

if TYPE_CHECKING:
    from dicomsql.catalog.model import DicomTable, Method
    from dicomsql.execution.calls import Page
    from dicomsql.execution.decoded import Given
    from dicomsql.planning.read_plan import ScanColumn


class DatasetDecoder:
    """DICOM JSON: one row a dataset.

    A UID that stands in the call's path is every row's own: a dataset that lacks it gets it from
    there, and one with another does not belong to the answer. What lacks the UID of its own level
    is no row (PS3.18 section 10.6.3); one of a level above, where it is read, is there too.
    """

    def __init__(
        self,
        method: Method,
        columns: Sequence[ScanColumn],
        dicom: DicomTable,
        identity: tuple[str, ...],
    ) -> None:
        self._method = method
        self._columns = tuple(columns)
        self.schema = schema_of(columns)
        self._identity = dict(dicom.identity)
        self._is_search = dicom.source == "search"
        wanted: dict[str, AttributeColumn] = {}
        for c in columns:
            name = c.source if c.kind is ColumnKind.ATTRIBUTE else self._identity.get(c.source, "")
            attribute = column(name) if name else None
            if attribute is not None:
                wanted[name] = attribute
        # What tells rows apart is often shown as well, and read once then.
        known = {(a.tag, a.part): name for name, a in wanted.items()}
        names = []
        for tag in identity:
            key = _attribute(tag)
            names.append(known.get((key.tag, key.part), tag))
            wanted.setdefault(names[-1], key)
        own = self._own = UIDS[dicom.level]
        for keyword in (own, *(kw for p, kw in dicom.identity if p in method.path_parameters)):
            if not _positions(wanted, keyword):
                wanted[keyword] = _attribute(keyword)
        self._positions = {name: i for i, name in enumerate(wanted)}
        self._keys = tuple(self._positions[name] for name in names)
        shown = {name: a for name, a in wanted.items() if name in known.values()}
        # Nothing identifies what EXEC shows.
        levels = UIDS.values() if dicom.identity else ()
        self._uids = [kw for kw in levels if kw == own or _positions(shown, kw)]
        self._uid_positions = {
            kw: _positions(wanted, kw) for kw in {*UIDS.values(), *self._identity.values()}
        }
        self._decoder = Decoder(list(wanted.values()))

    def decode(self, page: Page, given: Given) -> Decoded:
        found = self._read(page)
        batch = self._placed(found.batch, given)
        self._check_named(batch)
        arrays = []
        for c in self._columns:
            if c.kind is ColumnKind.PARAMETER and c.source in given:
                scalar = pa.scalar(given[c.source], pa.string())
                arrays.append(pa.repeat(scalar, batch.num_rows))
                continue
            name = c.source if c.kind is ColumnKind.ATTRIBUTE else self._identity.get(c.source, "")
            if name in self._positions:
                arrays.append(batch.column(self._positions[name]))
            else:
                arrays.append(pa.nulls(batch.num_rows, self.schema.field(c.name).type))
        keys = tuple(batch.column(at) for at in self._keys) or None
        shown = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        return Decoded(shown, keys, found.unread)

    def _placed(self, batch: pa.RecordBatch, given: Given) -> pa.RecordBatch:
        """The rows with the UIDs of the path that they were asked for by.

        Raises:
            OperationalError: the server answered for another path.
        """
        for parameter, keyword in self._identity.items():
            if parameter not in given or not batch.num_rows:
                continue
            for at in self._uid_positions[keyword]:
                uid, array = given[parameter], batch.column(at)
                others = set(array.to_pylist()) - {uid}
                if others - {None}:
                    raise OperationalError(
                        f"{self._method.full_name}: the server answered with rows of another "
                        f"{keyword} than the one that was asked for, so the answer cannot be used."
                    )
                if others and keyword != self._own:
                    whole = pa.repeat(pa.scalar(uid, array.type), batch.num_rows)
                    batch = batch.set_column(at, batch.schema.field(at), whole)
        return batch

    def _read(self, page: Page) -> Read:
        if page.status == PARTIAL_CONTENT and not self._is_search:
            raise IncompleteError(
                f"{self._method.full_name}: the server answered {PARTIAL_CONTENT}: not all of it."
            )
        try:
            return self._decoder.read(page.body)
        except OperationalError as error:
            raise type(error)(f"{self._method.full_name}: {error}") from None

    def _check_named(self, batch: pa.RecordBatch) -> None:
        """Make sure that each row has the UIDs that every result has."""
        for keyword in self._uids:
            nameless = max(batch.column(at).null_count for at in self._uid_positions[keyword])
            if not nameless:
                continue
            told = f"{nameless:,} of the {batch.num_rows:,} results in an answer"
            if keyword == self._own:
                raise OperationalError(
                    f"{self._method.full_name}: {told} have no {keyword}, without which nothing "
                    f"is a result (PS3.18 section 10.6.3). The answer was not taken for rows. Is "
                    f"the endpoint that of the service?"
                )
            raise OperationalError(
                f"{self._method.full_name}: {told} do not tell their {keyword}, which each has. "
                f"Name it in the statement ({keyword} = '...'), or leave it out."
            )


def _positions(wanted: Mapping[str, AttributeColumn], keyword: str) -> tuple[int, ...]:
    """Where among these columns the value of an attribute stands, by whichever name."""
    sought = _attribute(keyword)
    return tuple(
        at for at, a in enumerate(wanted.values()) if (a.tag, a.part) == (sought.tag, sought.part)
    )


def _attribute(keyword: str) -> AttributeColumn:
    found = column(keyword)
    if found is None:
        raise InternalError(f"The tag table has no {keyword}.")
    return found
