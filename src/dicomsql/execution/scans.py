"""Runs a scan: its searches' pages decoded in order, each row once, and none missing.

`lanes` fetches, `rows` decodes, `seen` tells rows apart, `seams` sees whether a list held still and
has to be walked again, `dividing` reaches what offsets do not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.dicom.identity import row_hashes
from dicomsql.errors import IncompleteError, NotFoundError, PermissionDeniedError
from dicomsql.execution.calls import make_request
from dicomsql.execution.dividing import Division, Role, Search
from dicomsql.execution.lanes import Lane, Lanes
from dicomsql.execution.offsets import OffsetWalk
from dicomsql.execution.paging import Reach, Walk, walk_of
from dicomsql.execution.proofs import Prover
from dicomsql.execution.rows import decoder_for
from dicomsql.execution.seams import Course
from dicomsql.execution.searches import Call, calls_of, size_of
from dicomsql.execution.seen import Seen
from dicomsql.planning.read_plan import RowShape, Scan

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.execution.calls import Page
    from dicomsql.execution.run import Run
    from dicomsql.planning.read_plan import Split
    from dicomsql.transport.gate import Gate

_LEVEL_TAGS = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}

Keys = Sequence[pa.Array]


@dataclass(eq=False)
class _Place:
    """The rows of one path: only those can be the same.

    Attributes:
        several: more than one search is made there.
        pending: searches that have not been read to their ends.
        rows: that were given out.
        total: rows as the metrics tell of them.
    """

    several: bool
    pending: int
    seen: Seen = field(default_factory=Seen)
    held: list[list[int]] = field(default_factory=list)
    divisions: list[Division] = field(default_factory=list)
    pages: int = 0
    rows: int = 0
    total: int | None = None

    def close(self) -> None:
        """Free what is held."""
        self.seen.close()
        for division in self.divisions:
            division.close()


class ScanRunner:
    """The batches of a scan, fetched ahead as they are pulled.

    Attributes:
        schema: of the batches.
        error: what ended the scan, kept because the engine only passes its text on.
    """

    def __init__(self, run: Run, scan: Scan) -> None:
        self._run = run
        self._scan = scan
        self._counted = run.scan(scan)
        self._calls = calls_of(run, scan) if scan.limit != 0 else []
        self._counted.searches += len(self._calls)
        identity = self._identity()
        self._decoder = decoder_for(scan.method, scan.columns, scan.shape, scan.dicom, identity)
        # Where rows cannot be told apart, pages must not share any.
        self._overlap = 1 if identity and scan.shape is RowShape.ROWS else 0
        self.schema = self._decoder.schema
        self._prover = Prover(run, scan, scan.proof) if scan.proof is not None else None
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._lanes: Lanes[Search] | None = None
        self._left = scan.limit
        self._places: dict[tuple[str, ...], _Place] = {}
        self._course = Course()
        self._doubles = self._recovered = self._torn = self._absent = 0

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
            self._course.close()
            while self._places:
                self._places.popitem()[1].close()

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
        while not self._stop.is_set() and (lane := lanes.head()) is not None:
            search = lane.call
            self._course = search.course
            path = (search.division.call if search.division is not None else search.call).place
            if path not in self._places:
                count = per_place[path]
                self._places[path] = _Place(several=count > 1, pending=count)
            place = self._places[path]
            try:
                yield from self._pages(lanes, lane, place)
            except (NotFoundError, PermissionDeniedError) as error:
                # Rows that came before the error would be taken for all there are.
                if lane.delivered or search.course.times:
                    raise
                self._handle(error, search.call)
                lanes.end(lane)
            self._counted.searched += search.role is Role.PLAIN and not search.course.times
            if self._left == 0:
                return
            self._insert(lanes, place, self._following(lane, place))
            search.course.close()
            place.pending -= 1
            if not place.pending:
                self._places.pop(path).close()
        self._tell_shifts()
        self._tell_absent()

    def _insert(self, lanes: Lanes[Search], place: _Place, searches: Sequence[Search]) -> None:
        place.pending += len(searches)
        lanes.insert(searches)

    def _pages(
        self, lanes: Lanes[Search], lane: Lane[Search], place: _Place
    ) -> Iterator[pa.RecordBatch]:
        """The rows of one search that did not come before."""
        search = lane.call
        while (page := lanes.page(lane)) is not None:
            if search.role is Role.STUDIES:
                self._each_study(lanes, lane, page, place)
                continue
            found = self._decoder.decode(page, search.call.values)
            batch, keys = found.batch, found.keys
            overlap, same = lane.overlap, 0
            # The next requests leave before the rows are dealt with.
            lanes.learn(lane, batch.num_rows)
            if keys is not None:
                if self._prover is not None:
                    self._prover.look(batch, keys, search.call)
                if search.role is Role.RANGE and search.division is not None:
                    search.division.found(keys[0].to_pylist())
                same = search.course.meet(keys, overlap)
                if same:
                    batch, keys = batch.slice(same), tuple(key.slice(same) for key in keys)
                batch = self._unique(batch, keys, place, search, lane.delivered)
            if found.unread:
                self._tell_unread(found.unread, same, again=bool(search.course.times))
            place.rows += batch.num_rows
            if self._left is not None:
                batch = batch.slice(0, self._left)
                self._left -= batch.num_rows
            if batch.num_rows:
                self._counted.rows += batch.num_rows
                yield batch
            if self._left == 0:
                return
            if search.course.is_over:
                lanes.end(lane)
                return

    def _unique(
        self, batch: pa.RecordBatch, keys: Keys, place: _Place, search: Search, number: int
    ) -> pa.RecordBatch:
        """The rows whose key did not come before."""
        course = search.course
        place.pages += 1
        if place.pages == 1 and not place.several:
            # Whether there are more pages is not known yet.
            hashes = row_hashes(keys)
            place.held.append(hashes)
            course.is_vain(batch.num_rows, 0)
            return self._once(batch, hashes)
        for hashes in place.held:
            place.seen.add(hashes)
            course.follow(hashes)
        place.held = []
        hashes = row_hashes(keys)
        again = place.seen.add(hashes)
        first = search.alone and search.role is Role.PLAIN and not course.times
        doubles = course.count(hashes, len(again) if first else None)
        if course.is_vain(batch.num_rows, doubles) and number > 1:
            raise IncompleteError(
                f"{search.call.method.full_name}: page {number} holds nothing but rows of "
                f"earlier pages; the server seems to ignore the offset, or gives its rows in "
                f"another order each time, so the search cannot be read to its end."
            )
        course.recovered += batch.num_rows - len(again) if course.times else 0
        if not again:
            return batch
        keep = [True] * batch.num_rows
        for at in again:
            keep[at] = False
        return batch.filter(pa.array(keep))

    def _once(self, batch: pa.RecordBatch, hashes: list[int]) -> pa.RecordBatch:
        """The rows of a page that alone makes up a search, each once."""
        doubles = len(hashes) - len(set(hashes))
        if not doubles:
            return batch
        self._run.note(
            f"{self._scan.resource}: the server gave {doubles:,} row{'s' * (doubles != 1)} twice "
            f"in one answer; each is shown once."
        )
        first = {found: at for at, found in reversed(list(enumerate(hashes)))}
        return batch.filter(pa.array([first[found] == at for at, found in enumerate(hashes)]))

    def _each_study(
        self, lanes: Lanes[Search], lane: Lane[Search], page: Page, place: _Place
    ) -> None:
        """Search the studies of a list one by one, after the list."""
        from dicomsql.dicom.decode import uids

        search = lane.call
        division, course = search.division, search.course
        assert division is not None
        studies = uids(page.body, _LEVEL_TAGS["study"])
        same = course.meet([pa.array(studies, pa.string())], lane.overlap)
        course.count(row_hashes([pa.array(studies[same:], pa.string())]), None)
        found = list(division.each(studies, search.days))
        self._run.check_budget(len(found), f"Reading {self._scan.resource} study by study")
        lanes.learn(lane, len(studies))
        self._insert(lanes, place, found)

    # -- completeness ----------------------------------------------------------------------------

    def _following(self, lane: Lane[Search], place: _Place) -> list[Search]:
        """What has to be searched after a search, for its rows to be all there are."""
        search, division = lane.call, lane.call.division
        split = self._split(search.call)
        if division is None and lane.walk.beyond and split is not None:
            division = Division(split, search.call, self._scan.resource)
            place.divisions.append(division)
            self._counted.decide(
                f"read by ranges of {split.attribute}, as it goes on beyond the largest offset"
            )
            return division.first()
        # What is divided further is read again by its parts.
        if not lane.walk.beyond and not self._is_complete(lane, place):
            return [search]
        return self._of_division(lane, division, place) if division is not None else []

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
            rows = size_of(self._run, size, self._scan, call.values)
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

    def _is_complete(self, lane: Lane[Search], place: _Place) -> bool:
        """Whether a search has found all; else the same is to be made once more."""
        search, walk = lane.call, lane.walk
        course = search.course
        plain = search.role is Role.PLAIN
        if course.times:
            self._recovered += course.recovered
        elif plain:
            self._doubles += course.shifted
        if plain and isinstance(walk, OffsetWalk):
            place.total = walk.total if walk.total is not None else place.total
        self._torn += course.torn
        if not course.ends(search.call.method.full_name):
            return False
        if plain and search.alone and place.total is not None and place.total != place.rows:
            self._tell_size(place.rows, place.total)
        return True

    def _tell_size(self, rows: int, said: int) -> None:
        self._run.note(
            f"{self._scan.resource}: {rows:,} rows were found, while the metrics tell of {said:,}; "
            f"they lag behind writes."
        )

    def _tell_unread(self, unread: Mapping[str, Sequence[int]], same: int, *, again: bool) -> None:
        """Tell in how many rows a column is NULL because its value is none of its VR.

        Args:
            same: rows at the head of the page that came on the page before too.
            again: the page was read before, with all but what is new of it.
        """
        for name, rows in unread.items():
            number = sum(at >= same for at in rows)
            if number:
                self._run.count_unread(self._scan.resource, name, number, again=again)

    def _tell_shifts(self) -> None:
        if self._torn:
            self._run.note(
                f"{self._scan.resource}: the list of rows changed while it was read, so it was "
                f"read again."
            )
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

    def _tell_absent(self) -> None:
        calls = len(self._calls)
        if self._absent and self._absent == calls and self._scan.dicom is not None:
            self._run.note(
                f"{self._scan.resource}: the server answered 404 to {'each of ' * (calls > 1)}the "
                f"{calls:,} call{'s' * (calls != 1)}: nothing of what was asked for is there, or "
                f"it has no path {self._calls[0].method.path}."
            )

    # -- calls -----------------------------------------------------------------------------------

    def _walk(self, search: Search) -> Walk:
        scan, call = self._scan, search.call
        own = search.role is not Role.STUDIES
        query = (*call.filters, *scan.query) if own else call.filters
        request = make_request(call.method, scan.base_url, call.values, query=query)
        # Kept answers would show the same change of the list again.
        request = replace(request, fresh=bool(search.course.times), scan=scan.name)
        # What is read again is read for what was missed, wherever that is.
        first = scan.shape is RowShape.ROWS and own and not search.course.times
        limit = scan.limit if first else None
        overlap = self._overlap if own else 1
        reach = self._reach(search)
        return walk_of(self._run, call.method, request, limit, reach=reach, overlap=overlap)

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
        rows = size_of(self._run, size, self._scan, call.values)
        if len(self._calls) == 1:
            self._counted.expected = rows
        return rows

    def _handle(self, error: Exception, call: Call) -> None:
        """Decide what a failed call means for the result."""
        if isinstance(error, NotFoundError) and (call.member or _names_one(call.method)):
            self._absent += 1
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
    if scan.picture is not None:
        from dicomsql.execution.pictures import fetch

        return fetch(run, scan)
    runner = ScanRunner(run, scan)
    return pa.Table.from_batches(list(runner.batches()), runner.schema)


def _names_one(method: Method) -> bool:
    """Whether a method reads one thing by its own id, which may simply not be there."""
    return not method.object_key and method.paging is None and bool(method.row_name)


def _shown(call: Call, gate: Gate) -> str:
    """A call's parameters as far as people may see them."""
    return ", ".join(f"{k} = {gate.show_value(k, v)!r}" for k, v in call.values.items())
