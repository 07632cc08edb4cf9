"""Runs a scan: its searches' pages decoded in order, each row once, and none missing.

`lanes` fetches, `rows` decodes, `seen` tells rows apart, `dividing` reaches what offsets do not.
What this module adds is the care for completeness: rows that came twice mean that the list shifted
under the walk, so it is walked again until all that is there has been seen.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.errors import IncompleteError, NotFoundError, PermissionDeniedError
from dicomsql.execution.calls import make_request
from dicomsql.execution.dividing import Division, Role, Search
from dicomsql.execution.lanes import Lane, Lanes
from dicomsql.execution.offsets import OffsetWalk
from dicomsql.execution.paging import Reach, Walk, walk_of
from dicomsql.execution.rows import decoder_for
from dicomsql.execution.searches import Call, calls_of, size_of
from dicomsql.execution.seen import Seen
from dicomsql.planning.plan import RowShape, Scan

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.execution.calls import Page
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import Split
    from dicomsql.transport.gate import Gate

# Times that a list that shifts is walked again.
_TIMES_AGAIN = 3

_LEVEL_TAGS = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}

Keys = Sequence[pa.Array]


@dataclass(eq=False)
class _Place:
    """The rows of one path: only those can be the same.

    Attributes:
        again: rows that came twice in the walk that is under way.
        missed: rows that came twice in the walk before, so that as many may have been missed.
        rows: that were given out.
        times: walks after the first.
        total: rows as the metrics tell of them.
    """

    path: tuple[str, ...]
    several: bool
    seen: Seen = field(default_factory=Seen)
    held: list[Keys] = field(default_factory=list)
    pages: int = 0
    again: int = 0
    missed: int = 0
    recovered: int = 0
    rows: int = 0
    times: int = 0
    total: int | None = None


class ScanRunner:
    """The batches of a scan, fetched ahead as they are pulled.

    Attributes:
        schema: of the batches.
        error: what ended the scan, kept because the engine only passes its text on.
    """

    def __init__(self, run: Run, scan: Scan) -> None:
        self._run = run
        self._scan = scan
        self._calls = calls_of(run, scan) if scan.limit != 0 else []
        self._decoder = decoder_for(
            scan.method, scan.columns, scan.shape, scan.dicom, self._identity()
        )
        self.schema = self._decoder.schema
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._lanes: Lanes[Search] | None = None
        self._left = scan.limit
        self._held: list[Seen | Division] = []
        self._doubles = self._recovered = 0

    def reader(self) -> pa.RecordBatchReader:
        """The batches as an Arrow reader, which the engine pulls."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Decode page after page, in the order of the calls."""
        try:
            yield from self._batches()
        except GeneratorExit:
            raise
        except BaseException as error:
            if self._stop.is_set():
                return
            self.error = error
            raise
        finally:
            self.close()
            while self._held:
                self._held.pop().close()

    def close(self) -> None:
        """Stop fetching. Threads that are in a call end with it, or with the run."""
        self._stop.set()
        if self._lanes is not None:
            self._lanes.close()

    def _identity(self) -> tuple[str, ...]:
        """The tags that tell a row from others, where the same row may come twice."""
        scan = self._scan
        if scan.dicom is None:
            return ()
        if scan.method.paging is None and not (scan.filters or scan.alternatives):
            return ()
        levels = list(_LEVEL_TAGS)
        return tuple(_LEVEL_TAGS[x] for x in levels[: levels.index(scan.dicom.level) + 1])

    # -- reading ---------------------------------------------------------------------------------

    def _batches(self) -> Iterator[pa.RecordBatch]:
        per_place: dict[tuple[str, ...], int] = {}
        for call in self._calls:
            per_place[call.place] = per_place.get(call.place, 0) + 1
        searches = [Search(c, alone=per_place[c.place] == 1) for c in self._calls]
        self._lanes = lanes = Lanes(
            self._run,
            searches,
            self._walk,
            self._size if self._scan.size is not None and self._scan.limit is None else None,
            early=self._scan.limit is not None,
            what=self._scan.resource,
        )
        place: _Place | None = None
        while not self._stop.is_set() and (lane := lanes.head()) is not None:
            search = lane.call
            root = search.division.call if search.division is not None else search.call
            if place is None or root.place != place.path:
                if place is not None:
                    place.seen.close()
                place = _Place(root.place, several=per_place.get(root.place, 0) > 1)
                self._held = [place.seen]
            try:
                yield from self._pages(lanes, lane, place)
            except (NotFoundError, PermissionDeniedError) as error:
                # Rows that came before the error would be taken for all there are.
                if lane.delivered:
                    raise
                self._handle(error, search.call)
                lanes.end(lane)
            if self._left == 0:
                return
            lanes.insert(self._following(lane, place))
        self._tell_doubles()

    def _pages(
        self, lanes: Lanes[Search], lane: Lane[Search], place: _Place
    ) -> Iterator[pa.RecordBatch]:
        """The rows of one search that did not come before."""
        search = lane.call
        while (page := lanes.page(lane)) is not None:
            if search.role is Role.STUDIES:
                self._each_study(lanes, lane, page)
                continue
            found = self._decoder.decode(page, search.call.values)
            batch = found.batch
            # The next requests leave before the rows are dealt with.
            lanes.learn(lane, batch.num_rows)
            if found.keys is not None:
                if search.role is Role.RANGE and search.division is not None:
                    search.division.found(found.keys[0].to_pylist())
                batch = self._unique(batch, found.keys, place, search, lane.delivered)
            place.rows += batch.num_rows
            if self._left is not None:
                batch = batch.slice(0, self._left)
                self._left -= batch.num_rows
            if batch.num_rows:
                yield batch
            if self._left == 0:
                return
            if search.role is Role.AGAIN and place.recovered >= place.missed:
                lanes.end(lane)
                return

    def _unique(
        self, batch: pa.RecordBatch, keys: Keys, place: _Place, search: Search, number: int
    ) -> pa.RecordBatch:
        """The rows whose key did not come before."""
        place.pages += 1
        if place.pages == 1 and not place.several:
            # One page alone holds each row once; whether there are more is not known yet.
            place.held.append(keys)
            return batch
        for held in place.held:
            place.seen.add(_hashes(held))
        place.held = []
        again = place.seen.add(_hashes(keys))
        # Without its own UID nothing tells a row from another.
        if again and keys[-1].null_count:
            known = keys[-1].is_valid().to_pylist()
            again = [at for at in again if known[at]]
        if search.role is Role.AGAIN:
            place.recovered += batch.num_rows - len(again)
        elif search.alone and search.role is Role.PLAIN and again:
            if len(again) == batch.num_rows and number > 1:
                raise IncompleteError(
                    f"{search.call.method.full_name}: page {number} holds nothing but rows of "
                    f"earlier pages; the server seems to ignore the offset, or gives its rows in "
                    f"another order each time, so the search cannot be read to its end."
                )
            place.again += len(again)
        if not again:
            return batch
        keep = [True] * batch.num_rows
        for at in again:
            keep[at] = False
        return batch.filter(pa.array(keep))

    def _each_study(self, lanes: Lanes[Search], lane: Lane[Search], page: Page) -> None:
        """Search the studies of a list one by one, after the list."""
        from dicomsql.dicom.decode import count

        search = lane.call
        assert search.division is not None
        found = list(search.division.each(page.body, search.days))
        self._run.check_budget(len(found), f"Reading {self._scan.resource} study by study")
        lanes.learn(lane, count(page.body))
        lanes.insert(found)

    # -- completeness ----------------------------------------------------------------------------

    def _following(self, lane: Lane[Search], place: _Place) -> list[Search]:
        """What has to be searched after a search, for its rows to be all there are."""
        search, division = lane.call, lane.call.division
        if division is not None:
            return self._of_division(lane, division, place)
        split = self._split(search.call)
        if lane.walk.beyond and split is not None:
            division = Division(split, search.call, self._scan.resource)
            self._held.append(division)
            return division.first()
        return self._again(lane, place) if search.alone else []

    def _of_division(self, lane: Lane[Search], division: Division, place: _Place) -> list[Search]:
        """What follows one of the parts of a search that offsets do not reach the end of."""
        search = lane.call
        following: list[Search] = []
        if search.role is Role.RANGE:
            division.waiting -= 1
            if lane.walk.beyond and search.days is not None:
                following = division.parts(search.days)
            if not division.waiting and not division.dated:
                undated = division.undated()
                if not undated:
                    self._check_undated(division, place)
                following += undated
        elif search.role is Role.STUDIES and lane.walk.beyond:
            self._check_undated(division, place)
        return following

    def _check_undated(self, division: Division, place: _Place) -> None:
        """Make sure, by the metrics, that nothing is missing that has no date.

        Raises:
            IncompleteError: something is, or nothing tells.
        """
        size, call = self._scan.size, division.call
        rows = None
        if size is not None and not call.filters and set(call.values) == set(size.method.required):
            rows = size_of(self._run, size, self._scan.base_url, call.values)
        name = division.split.attribute
        if rows is not None and place.rows >= rows:
            if place.rows > rows:
                self._tell_size(place.rows, rows)
            return
        missing = (
            f"{rows - place.rows:,} of {rows:,} rows were not found"
            if rows is not None
            else "it cannot be known whether there are rows without one"
        )
        raise IncompleteError(
            f"{self._scan.resource}: the server gives no results beyond its largest offset, and "
            f"ranges of {name} find nothing that has no {name}: {missing}. Add a condition on "
            f"{name}, or narrow the search by another attribute."
        )

    def _again(self, lane: Lane[Search], place: _Place) -> list[Search]:
        """The same search once more, where rows came twice and others may have been missed.

        Rows that are written while a list is read shift the others behind them, which then come
        twice. A walk that finds nothing new has seen all; so has one that finds as many new rows as
        had been shifted.
        """
        search, walk = lane.call, lane.walk
        if search.role is Role.PLAIN:
            place.missed = place.again
            self._doubles += place.again
            if isinstance(walk, OffsetWalk):
                place.total = walk.total
        else:
            self._recovered += place.recovered
            place.missed = max(0, place.missed - place.recovered) if place.recovered else 0
        if not place.missed:
            if place.total is not None and place.total != place.rows:
                self._tell_size(place.rows, place.total)
            return []
        if place.times == _TIMES_AGAIN:
            raise IncompleteError(
                f"{search.call.method.full_name}: the list of rows did not hold still while it was "
                f"read {place.times + 1} times, so it is not known whether all were found. Run the "
                f"statement again when nothing is written to the store."
            )
        place.times, place.recovered = place.times + 1, 0
        return [replace(search, role=Role.AGAIN)]

    def _tell_size(self, rows: int, said: int) -> None:
        self._run.note(
            f"{self._scan.resource}: {rows:,} rows were found, while the metrics tell of {said:,}; "
            f"they lag behind writes."
        )

    def _tell_doubles(self) -> None:
        doubles = self._doubles
        if doubles:
            self._run.note(
                f"{self._scan.resource}: {doubles:,} row{'s' * (doubles != 1)} came twice and "
                f"{'are' if doubles != 1 else 'is'} shown once; the store may have changed while "
                f"it was read."
            )
        if self._recovered:
            self._run.note(
                f"{self._scan.resource}: {self._recovered:,} "
                f"row{'s' * (self._recovered != 1)} that had shifted meanwhile "
                f"{'were' if self._recovered != 1 else 'was'} found by reading again."
            )

    # -- calls -----------------------------------------------------------------------------------

    def _walk(self, search: Search) -> Walk:
        scan, call = self._scan, search.call
        own = search.role is not Role.STUDIES
        query = (*call.filters, *scan.query) if own else call.filters
        request = make_request(call.method, scan.base_url, call.values, query=query)
        limit = scan.limit if scan.shape is RowShape.ROWS else None
        return walk_of(self._run, call.method, request, limit, self._reach(search))

    def _reach(self, search: Search) -> Reach:
        if search.role is Role.RANGE:
            return Reach.PROBE_FIRST
        if search.role is Role.STUDIES and search.days is None:
            return Reach.TELL
        divisible = search.role is Role.PLAIN and self._split(search.call) is not None
        return Reach.PROBE if divisible else Reach.ERROR

    def _split(self, call: Call) -> Split | None:
        """How a call's search is divided; one within a single study is not."""
        split = self._scan.split
        if split is None or split.parameter in call.method.path_parameters:
            return None
        return split

    def _size(self, search: Search) -> int | None:
        size, call = self._scan.size, search.call
        if size is None or call.filters or search.role is not Role.PLAIN:
            return None
        if set(call.values) != set(size.method.required):
            return None  # they tell of another set of rows
        return size_of(self._run, size, self._scan.base_url, call.values)

    def _handle(self, error: Exception, call: Call) -> None:
        """Decide what a failed call means for the result."""
        if isinstance(error, NotFoundError) and (call.member or _names_one(call.method)):
            return
        if isinstance(error, PermissionDeniedError) and call.member:
            member = _shown(call, self._run.gate)
            if self._run.limits.on_error == "skip":
                self._run.note(f"{self._scan.resource}: skipped {member}, which may not be read.")
                return
            message = f"{error.failure.message} [{member}]".strip()
            raise PermissionDeniedError(replace(error.failure, message=message)) from error
        raise error


def materialise(run: Run, scan: Scan) -> pa.Table:
    """All rows of a scan, for what is read more than once."""
    runner = ScanRunner(run, scan)
    return pa.Table.from_batches(list(runner.batches()), runner.schema)


def _hashes(keys: Keys) -> list[int]:
    """A hash of each row's key."""
    columns = [column.to_pylist() for column in keys]
    if len(columns) == 1:
        return list(map(hash, columns[0]))
    return list(map(hash, zip(*columns, strict=True)))


def _names_one(method: Method) -> bool:
    """Whether a method reads one thing by its own id, which may simply not be there."""
    return not method.object_key and method.paging is None and bool(method.row_name)


def _shown(call: Call, gate: Gate) -> str:
    """A call's parameters as far as people may see them."""
    return ", ".join(f"{k} = {gate.show_value(k, v)!r}" for k, v in call.values.items())
