"""Finds out whether a search returns what the document says, where the first rows have none of it.

Nothing in an answer tells an attribute that the server left out, or that it was asked for in vain,
from one that no dataset has; both would be NULL. So before any row is given out, what is empty in
all the rows that came first is looked up in the metadata of one of them: a value there ends the
statement. Where nothing came of all that the search was asked for, the row is also searched once
more with everything that the server should return when asked: if it returns nothing of what the
metadata has, it ignores what it is asked for, and the statement ends as well. That is at most one
small request for each level below and two more, once in a scan, and none for an attribute that the
session has seen; the statistics count them, and `EXPLAIN ANALYZE` tells of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.catalog.model import OffsetPaging
from dicomsql.dicom.columns import column
from dicomsql.dicom.decode import Decoder
from dicomsql.errors import ApiError, EndpointError, IncompleteError
from dicomsql.execution.calls import make_request, single
from dicomsql.planning.tables import LEVELS, UIDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run
    from dicomsql.execution.searches import Call
    from dicomsql.planning.read_plan import Doubt, Proof, Scan, Within

# Values of a dataset by the names of their columns; those that are empty are left out.
Dataset = dict[str, object]


class Prover:
    """Looks at a scan's rows until none of its columns is in doubt.

    Parameters:
        scan: has a proof.
    """

    def __init__(self, run: Run, scan: Scan, proof: Proof) -> None:
        self._run = run
        self._scan = scan
        self._proof = proof
        self._doubts = [d for d in proof.doubts if self._key(d) not in run.proven]

    def look(self, rows: pa.RecordBatch, keys: Sequence[pa.Array], call: Call) -> None:
        """Look at the next rows, before they are given out.

        Args:
            keys: the UIDs of each row, its own last.
            call: that they came from.

        Raises:
            IncompleteError: the server leaves out what it is said to return.
        """
        if not self._doubts or not rows.num_rows:
            return
        empty = [d for d in self._doubts if _is_empty(rows.column(d.column))]
        self._run.proven.update(self._key(d) for d in self._doubts if d not in empty)
        self._doubts = []
        if not empty:
            return
        numbers = [d.column for d in empty if not d.shown_by]
        if numbers:
            raise self._left_out(numbers, "a number that there always is")
        self._look_up(empty, rows, keys, call)

    def _key(self, doubt: Doubt) -> tuple[str, str, str]:
        return self._scan.base_url, self._scan.resource, doubt.column

    def _look_up(
        self, doubts: list[Doubt], rows: pa.RecordBatch, keys: Sequence[pa.Array], call: Call
    ) -> None:
        scan, asked = self._scan, self._proof.asked
        names = _listed(d.column for d in doubts)
        again, dataset = None, None
        try:
            uids = [key[0].as_py() for key in keys]
            if None in uids or self._is_ignored(rows):
                again = self._again(call, str(uids[-1]))
                uids = [again.get(UIDS[x]) for x in LEVELS[: len(keys)]] if again else []
            dataset = self._dataset(call, [str(uid) for uid in uids if uid is not None])
        except (ApiError, EndpointError):
            pass  # what may not be read is told below
        if dataset is None:
            self._run.note(
                f"{scan.resource}: no row that came first has {names}. Whether the server leaves "
                f"that out of its searches could not be seen, as the metadata of such a row could "
                f"not be read."
            )
            return
        held = [d.column for d in doubts if d.shown_by in dataset]
        if held:
            raise self._left_out(held, "while the metadata of one of them has a value")
        had = [name for name in asked if name in dataset]
        if again is not None and had and not any(name in again for name in had):
            raise self._left_out(
                [d.column for d in doubts],
                f"and the server seems to ignore `{self._include}`: of {len(had):,} attributes "
                f"that the metadata of one of them has, it returned none when asked for them",
            )
        self._run.scan(scan).decide(
            f"no row that came first has {names}, nor has the metadata of one of them"
        )

    def _is_ignored(self, rows: pa.RecordBatch) -> bool:
        """Whether nothing came of what the search was asked for."""
        scan = self._scan
        asked = {value for name, value in scan.query if name == self._include}
        columns = [c.name for c in scan.columns if c.source in asked]
        return bool(columns) and all(_is_empty(rows.column(name)) for name in columns)

    @property
    def _include(self) -> str:
        return self._scan.dicom.include if self._scan.dicom is not None else ""

    def _left_out(self, names: list[str], why: str) -> IncompleteError:
        metadata = self._proof.metadata
        where = metadata.method.full_name.rpartition(".")[0] if metadata is not None else ""
        return IncompleteError(
            f"{self._scan.resource}: the provider document says that the search returns "
            f"{_listed(names)}, but no row that came first has it, {why}. NULL would be wrong: "
            f"leave it out of the statement, {f'read it from {where}, ' if where else ''}or "
            f"describe the server by a document in which it is `returned: metadata` or `counted`."
        )

    # -- requests --------------------------------------------------------------------------------

    def _again(self, call: Call, uid: str) -> Dataset | None:
        """One row, searched once more with all that the server returns when asked."""
        assert self._scan.dicom is not None
        levels = LEVELS[: LEVELS.index(self._scan.dicom.level) + 1]
        own = UIDS[levels[-1]]
        names = (*(UIDS[x] for x in levels), *self._proof.asked)
        query = [(own, uid), *((self._include, name) for name in names if self._include)]
        found = self._first(call.method, call.values, names, query)
        # A server that ignores the filter too gives another row.
        return found if found is not None and found.get(own) == uid else None

    def _dataset(self, call: Call, uids: list[str]) -> Dataset | None:
        """The dataset of an instance of the row with these UIDs; None where none is found."""
        proof = self._proof
        for search in proof.searches:
            uid = UIDS[LEVELS[len(search.ids)]]
            found = self._within(search, call, uids, (uid,))
            if found is None or uid not in found:
                return None
            uids = [*uids, str(found[uid])]
        if proof.metadata is None:
            return None
        shown = dict.fromkeys([*(d.shown_by for d in proof.doubts if d.shown_by), *proof.asked])
        return self._within(proof.metadata, call, uids, tuple(shown))

    def _within(
        self, within: Within, call: Call, uids: Sequence[str], names: Sequence[str]
    ) -> Dataset | None:
        if len(uids) != len(within.ids):
            return None
        values = {k: v for k, v in call.values.items() if k in within.method.path_parameters}
        values |= dict(zip(within.ids, uids, strict=True))
        return self._first(within.method, values, names, ())

    def _first(
        self,
        method: Method,
        values: Mapping[str, str],
        names: Sequence[str],
        query: Iterable[tuple[str, str]],
    ) -> Dataset | None:
        """What the first dataset of an answer has of some columns; None where there is none."""
        pairs = tuple(query)
        if isinstance(method.paging, OffsetPaging):
            pairs = (*pairs, (method.paging.limit, "1"))
        request = make_request(method, self._scan.base_url, values, query=pairs)
        page = single(self._run, replace(request, scan=self._scan.name))
        found = [attribute for name in names if (attribute := column(name)) is not None]
        rows = Decoder(found).decode(page.body).slice(0, 1)
        if not rows.num_rows:
            return None
        shown = zip(found, rows.columns, strict=True)
        return {c.name: value[0].as_py() for c, value in shown if not _is_empty(value)}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _is_empty(array: pa.Array) -> bool:
    """Whether there is no value at all; a list without any is none."""
    if array.null_count == len(array):
        return True
    return pa.types.is_list(array.type) and not len(array.flatten())
