"""Fetches the pictures of rows: side by side, in the order of the rows, NULL where there is none.

What an instance without a picture is answered with is the document's to say; all else that a server
refuses ends the statement. Pictures that follow soon upon the same are not asked for again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.dicom.pictures import FORMS, form_of
from dicomsql.errors import (
    ApiError,
    CancelledError,
    Error,
    IncompleteError,
    InternalError,
    NotFoundError,
    PermissionDeniedError,
)
from dicomsql.execution.calls import Page, make_request, single
from dicomsql.execution.searches import calls_of
from dicomsql.planning.read_plan import ColumnKind, handle_fields
from dicomsql.result import ResultColumn

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from dicomsql.execution.run import Run
    from dicomsql.planning.read_plan import Scan

__all__ = ["Shown", "fetch"]

_PLURAL = {"study": "studies", "series": "series", "instance": "instances"}

# Pictures that are kept, as rows that follow may show the same.
_KEPT = 64
# Seconds after which a blocked thread looks whether it is still wanted.
_POLL = 0.05

# The values of a call's own parameters, in the order of the scan's columns.
Key = tuple[str, ...]
Asked = Future[bytes | None]
# The rows of a result, and for each of its columns of handles the pictures that were asked for.
_Piece = tuple[pa.RecordBatch, dict[int, list[Asked | None]]]


def fetch(run: Run, scan: Scan) -> pa.Table:
    """The pictures of the rows that a scan's binds give, each with what its call was made for.

    Raises:
        BudgetError: there are more than the statement may make calls.
        ApiError, IncompleteError: a picture could not be fetched.
    """
    pictures = _Pictures(run, scan)
    names = [c.source for c in scan.columns if c.kind is ColumnKind.PARAMETER]
    keys = [tuple(call.values[name] for name in names) for call in calls_of(run, scan)]
    pictures.expect(len(keys))
    width = _width(run)
    found: list[bytes | None] = []
    ahead: deque[Asked] = deque()
    with pictures:
        for key in keys:
            ahead.append(pictures.ask(key))
            if len(ahead) > width:
                found.append(pictures.take(ahead.popleft()))
        found += [pictures.take(asked) for asked in ahead]
    columns = [pa.array([key[i] for key in keys], pa.string()) for i in range(len(names))]
    return pa.table([*columns, pa.array(found, pa.binary())], names=[c.name for c in scan.columns])


class Shown:
    """A result with pictures in the place of their handles, fetched as its rows are read.

    Parameters:
        columns, schema, batches: of the query's rows.

    Attributes:
        columns, schema: of the result.

    Raises:
        InternalError: a handle is part of another value.
    """

    def __init__(
        self,
        run: Run,
        scans: Sequence[Scan],
        columns: Sequence[ResultColumn],
        schema: pa.Schema,
        batches: Iterable[pa.RecordBatch],
    ) -> None:
        self._run = run
        self._batches = batches
        places: dict[int, Scan] = {}
        for at, column in enumerate(columns):
            for scan in scans:
                if column.type == _handle_type(scan):
                    places[at] = scan
                elif f'"{scan.name} ' in column.type:
                    raise InternalError(f"{column.name} is made of what stands for a picture.")
        self.columns = tuple(
            replace(column, type="BLOB") if at in places else column
            for at, column in enumerate(columns)
        )
        self.schema = schema
        for place in places:
            shown = schema.field(place).with_type(pa.binary())
            self.schema = self.schema.set(place, shown)
        # What a table is joined with itself for shows pictures of the same calls.
        made: list[tuple[Scan, _Pictures]] = []
        self._at: dict[int, _Pictures] = {}
        for place, scan in places.items():
            call = _call_of(scan)
            pictures = next((p for known, p in made if known == call), None)
            if pictures is None:
                pictures = _Pictures(run, scan)
                made.append((call, pictures))
            self._at[place] = pictures
        self._pictures = [pictures for _, pictures in made]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, a few at a time; those that follow are asked for meanwhile."""
        if not self._at:
            yield from self._batches
            return
        ahead: deque[_Piece] = deque()
        width = _width(self._run)
        for batch in self._batches:
            for start in range(0, batch.num_rows, width):
                piece = batch.slice(start, width)
                asked = {i: p.ask_all(piece.column(i)) for i, p in self._at.items()}
                ahead.append((piece, asked))
                if len(ahead) > 1:
                    yield self._made(ahead.popleft())
        while ahead:
            yield self._made(ahead.popleft())

    def close(self) -> None:
        """Ask for no more, and tell what had no picture; may be called again."""
        for pictures in self._pictures:
            pictures.close()

    def _made(self, piece: _Piece) -> pa.RecordBatch:
        batch, asked = piece
        arrays = list(batch.columns)
        for i, pictures in self._at.items():
            found = [pictures.take(one) if one is not None else None for one in asked[i]]
            arrays[i] = pa.array(found, pa.binary())
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _call_of(scan: Scan) -> Scan:
    """A scan without what tells it from others that make the same calls."""
    return replace(scan, name="", alias="", limit=None, reasons=())


def _handle_type(scan: Scan) -> str:
    """The engine's type of the struct that stands for a picture."""
    fields = ", ".join(f'"{name}" VARCHAR' for name in handle_fields(scan).values())
    return f"STRUCT({fields})"


def _width(run: Run) -> int:
    """Pictures that may be on their way or wait."""
    return 2 * run.limits.parallel


class _Pictures:
    """The pictures of one scan. Threads of a pool fetch; the thread that reads asks and takes."""

    def __init__(self, run: Run, scan: Scan) -> None:
        assert scan.picture is not None
        self._run = run
        self._scan = scan
        self._picture = scan.picture
        self._counted = run.scan(scan)
        self._fixed = {c.parameter: c.values[0] for c in scan.constants}
        self._names = [c.source for c in scan.columns if c.kind is ColumnKind.PARAMETER]
        # Whether the server takes what asks for a small picture; None while that is not known.
        self._takes_small: bool | None = None
        self._kept: OrderedDict[Key, Asked] = OrderedDict()
        self._stop = threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        # Statuses of what has no picture, and how many there are.
        self._none: dict[int, int] = {}
        self._hidden = 0

    def __enter__(self) -> _Pictures:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def expect(self, count: int) -> None:
        """So many pictures will be asked for, each of them once."""
        self._counted.expected = count

    def ask_all(self, handles: pa.Array) -> list[Asked | None]:
        """Ask for the pictures that a column of handles stands for; None for NULL."""
        return [self.ask(tuple(h.values())) if h is not None else None for h in handles.to_pylist()]

    def ask(self, key: Key) -> Asked:
        """Ask for a picture."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if self._pool is None:
            self._pool = self._run.pool(self._run.limits.parallel, "picture")
        self._counted.searches += 1
        asked = self._kept[key] = self._pool.submit(self._fetch, key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return asked

    def take(self, asked: Asked) -> bytes | None:
        """A picture that was asked for; waits for it."""
        while not wait((asked,), timeout=_POLL).done:
            self._run.check()
        if asked.cancelled():
            raise CancelledError("The statement has ended.")
        return asked.result()

    def close(self) -> None:
        """Ask for no more, and tell what had no picture; may be called again."""
        self._stop.set()
        self._tell()

    # -- in the threads of the pool --------------------------------------------------------------

    def _fetch(self, key: Key) -> bytes | None:
        if self._stop.is_set():
            raise CancelledError("The statement has ended.")
        try:
            found = self._rendered(self._fixed | dict(zip(self._names, key, strict=True)))
        except Error:
            raise
        except Exception as error:
            raise InternalError(f"Fetching a picture failed: {type(error).__name__}") from error
        with self._lock:
            self._counted.searched += 1
            self._counted.rows += found is not None
        return found

    def _rendered(self, values: dict[str, str]) -> bytes | None:
        """The picture; None where the row has none."""
        small = bool(self._picture.query) and self._takes_small is not False
        try:
            try:
                page = self._call(values, small=small)
            except ApiError as error:
                if not small or self._takes_small or not self._says_none(error):
                    raise
                # It may be the size that it refuses, and not the instance.
                page, small = self._call(values, small=False), False
                self._takes_small = False if self._takes_small is None else self._takes_small
        except ApiError as error:
            self._refused(error)
            return None
        if small:
            self._takes_small = True
        return self._checked(page)

    def _call(self, values: dict[str, str], *, small: bool) -> Page:
        scan = self._scan
        query = (*scan.query, *(self._picture.query if small else ()))
        request = make_request(scan.method, scan.base_url, values, query=query)
        return single(self._run, replace(request, scan=scan.name))

    def _says_none(self, error: ApiError) -> bool:
        return error.failure.status in self._picture.none

    def _refused(self, error: ApiError) -> None:
        """Take a refusal for what the document says that it is: no picture; else raise it."""
        if self._says_none(error):
            with self._lock:
                status = error.failure.status
                self._none[status] = self._none.get(status, 0) + 1
            return
        if isinstance(error, PermissionDeniedError) and self._run.limits.on_error == "skip":
            with self._lock:
                self._hidden += 1
            return
        if isinstance(error, NotFoundError):
            said = error.failure.message
            why = (
                f"no picture where {self._picture.of} has a row: either it was deleted meanwhile, "
                f"and the statement is to be run again, or this server renders none"
            )
            message = f"{why} ({said.rstrip('.')})." if said else f"{why}."
            raise NotFoundError(replace(error.failure, message=message)) from error
        raise error

    def _checked(self, page: Page) -> bytes:
        """The picture of an answer, which has to be one, and whole."""
        form = form_of(page.media)
        what = self._scan.method.full_name
        if form is None:
            known = " or ".join(form.media for form in FORMS.values())
            raise IncompleteError(
                f"{what}: the server answered {page.status} with "
                f"{page.media or 'no media type'} where {known} was due."
            )
        if not form.is_whole(page.body):
            raise IncompleteError(
                f"{what}: what the server gave is no whole picture of the type {form.media} "
                f"({len(page.body):,} bytes)."
            )
        return page.body

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self) -> None:
        with self._lock:
            none, self._none = self._none, {}
            hidden, self._hidden = self._hidden, 0
        of, things = self._picture.of, _PLURAL[self._picture.level]
        if none:
            count, statuses = sum(none.values()), " or ".join(map(str, sorted(none)))
            have = f"{things} have" if count != 1 else f"{self._picture.level} has"
            self._run.note(
                f"{of}: {count:,} {have} no picture (the server answered {statuses}); preview is "
                f"NULL there."
            )
        if hidden:
            self._run.note(
                f"{of}: skipped {hidden:,} picture{'s' * (hidden != 1)}, which may not be read; "
                f"preview is NULL there."
            )
