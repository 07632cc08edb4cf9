"""What a store has: whether it is there, its instances by UID, whether their bytes are the same."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from dicomsql.catalog.model import OffsetPaging, TokenPaging
from dicomsql.copying.upload import Part
from dicomsql.dicom.multipart import MultipartReader
from dicomsql.errors import (
    ApiError,
    EndpointError,
    IncompleteError,
    NotFoundError,
    OperationalError,
    PermissionDeniedError,
)
from dicomsql.execution.calls import NO_CONTENT, make_request
from dicomsql.execution.paging import pages
from dicomsql.transport.gate import PLAIN_PARAMETERS

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.errors import ApiFailure
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import DicomStore
    from dicomsql.transport.base import Request

_SOP_INSTANCE_UID = "00080018"
# Series whose instances are remembered: files of one series mostly stand together.
_REMEMBERED = 32
# Answers by which a server says that it cannot be asked so.
_NOT_TOLD = frozenset({400, 405, 406, 415, 422, 500, 501})
# How often an answer is asked for anew that is cut off after it began well.
_ATTEMPTS = 4


class There(Enum):
    """What a target has under an instance's UIDs."""

    NOTHING = "nothing"
    SAME = "the same bytes"
    OTHER = "other bytes"
    UNKNOWN = "unknown"  # the service has no method that tells


@dataclass(slots=True)
class _Listing:
    """The instances of a series; None until they were asked for, by whoever comes first."""

    instances: set[str] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Target:
    """A DICOM store that is asked what it has; safe for many threads.

    Parameters:
        finishing: what it is asked goes out even after the statement's end, and beyond its budget.
    """

    def __init__(self, run: Run, store: DicomStore, *, finishing: bool = False) -> None:
        self._run = run
        self._store = store
        self._finishing = finishing
        self._moves = store.moves
        self._search = dict(store.moves.search).get("instance")
        self._lock = threading.Lock()
        self._series: OrderedDict[tuple[str, str], _Listing] = OrderedDict()

    def request(self, method: Method, part: Part | None = None) -> Request:
        """A request to the store, with those of the part's UIDs that the method's path takes."""
        taken = set(method.path_parameters)
        values: dict[str, str | tuple[str, ...]] = {
            name: value for name, value in self._store.values if name in taken
        }
        ids = dict(self._moves.ids)
        for level in ("study", "series", "instance") if part is not None else ():
            if ids.get(level) in taken:
                values[ids[level]] = getattr(part, level)
        request = make_request(method, self._store.base_url, values)
        return replace(request, finishing=True) if self._finishing else request

    def listed(self, part: Part) -> bool:
        """Whether the store had an instance of the part's series and UID; asked once a series.

        Where the service has no search, its retrieval tells.
        """
        if self._search is None:
            return self.compare(part, "") is not There.NOTHING
        with self._lock:
            listing = self._series.setdefault((part.study, part.series), _Listing())
            self._series.move_to_end((part.study, part.series))
            if len(self._series) > _REMEMBERED:
                self._series.popitem(last=False)
        with listing.lock:
            if listing.instances is None:
                listing.instances = self._found(self._search, part, ())
            return part.instance in listing.instances

    def found(self, parts: Sequence[Part]) -> set[str]:
        """The SOP Instance UIDs of those parts under whose UIDs the store has an instance now.

        Each series is searched once; where the service has no search, its retrieval tells.
        """
        if self._search is None:
            there = (part for part in parts if self.compare(part, "") is not There.NOTHING)
            return {part.instance for part in there}
        series: dict[tuple[str, str], list[Part]] = {}
        for part in parts:
            series.setdefault((part.study, part.series), []).append(part)
        found: set[str] = set()
        for wanted in series.values():
            first, *others = wanted
            query = () if others else (("SOPInstanceUID", first.instance),)
            listed = self._found(self._search, first, query)
            found.update(part.instance for part in wanted if part.instance in listed)
        return found

    def has(self, part: Part) -> There:
        """Whether the store has an instance under the part's UIDs now, whatever its bytes.

        Returns: `OTHER` where it has one, `NOTHING` or `UNKNOWN`.
        """
        if self._search is not None:
            try:
                found = self._found(self._search, part, (("SOPInstanceUID", part.instance),))
            except ApiError as error:
                return _untold(error)
            return There.OTHER if part.instance in found else There.NOTHING
        found_there = self.compare(part, "")
        return There.OTHER if found_there is There.SAME else found_there

    def compare(self, part: Part, digest: str) -> There:
        """Compare what the store has under the part's UIDs with bytes of that SHA-256 digest."""
        if self._moves.instance is None:
            return There.UNKNOWN
        for _ in range(_ATTEMPTS):
            try:
                found = self._digest(part)
            except ApiError as error:
                return _untold(error)
            except IncompleteError:
                # What is streamed is not tried again by the transport.
                continue
            if found is None:
                return There.NOTHING
            return There.SAME if found == digest else There.OTHER
        return There.UNKNOWN

    def _digest(self, part: Part) -> str | None:
        """The SHA-256 digest of what the store has; None where it has nothing.

        Raises:
            IncompleteError: the answer was cut off, or is not one instance.
        """
        found = hashlib.sha256()
        with self.bytes_of(part) as pieces:
            if pieces is None:
                return None
            try:
                for piece in pieces:
                    found.update(piece)
            except EndpointError as error:
                raise IncompleteError(str(error)) from error
        return found.hexdigest()

    @contextmanager
    def bytes_of(self, part: Part) -> Iterator[Iterator[bytes] | None]:
        """The file that the store has under the part's UIDs, in pieces; None where it has none.

        Raises:
            IncompleteError: the answer is cut off, or is not one instance.
        """
        method = self._moves.instance
        assert method is not None
        try:
            response = self._run.send(self.request(method, part), stream=True)
        except NotFoundError:
            yield None
            return
        with response:
            if response.status == NO_CONTENT:
                yield None
                return
            media = response.header("content-type")
            if media.strip().lower().startswith("multipart/"):
                yield _only(MultipartReader(media, response.iter_bytes()))
            else:
                yield response.iter_bytes()

    def _found(self, search: Method, part: Part, query: tuple[tuple[str, str], ...]) -> set[str]:
        """The SOP Instance UIDs that a search of the part's series gives."""
        request = self.request(search, part)
        request = replace(request, query=(*request.query, *query), fresh=True)
        found: set[str] = set()
        try:
            for page in pages(self._run, search, request, None):
                found.update(_instances(page.body, search))
        except NotFoundError:
            # So some servers say that there is no such study or series.
            return set()
        return found


def place_of(store: DicomStore) -> str:
    """Which store it is, by names that people may see; empty where a server is one."""
    return "/".join(value for name, value in store.values if name in PLAIN_PARAMETERS)


def refusal_of(run: Run, store: DicomStore) -> ApiFailure | None:
    """Ask whether a store is there, by a search of it for one study.

    Returns: what the server says where it is not there, or may not be read; None where it is, or
        where the server has no such search or fails at it.

    Raises:
        EndpointError, BudgetError, CancelledError: it cannot be asked.
    """
    search = dict(store.moves.search).get("study")
    if search is None:
        return None
    place = place_of(store)
    taken = set(search.path_parameters)
    values: dict[str, str | tuple[str, ...]] = {n: v for n, v in store.values if n in taken}
    request = make_request(search, store.base_url, values, query=_one_row(search))
    try:
        # What it finds is of no interest, however much that may be.
        run.send(replace(request, fresh=True), stream=True).close()
    except NotFoundError as error:
        said = (
            f"there is no DICOM store {place}. Check its name."
            if place
            else "there is no DICOM store at this address, or nothing in it. Check the endpoint."
        )
        return replace(error.failure, message=said)
    except PermissionDeniedError as error:
        said = f"the DICOM store {place} may not be read, or is not there" if place else ""
        message = ": ".join(filter(None, (said, error.failure.message)))
        return replace(error.failure, message=message)
    except ApiError:
        return None
    return None


def _one_row(search: Method) -> tuple[tuple[str, str], ...]:
    """The query parameter by which a search gives one row."""
    paging = search.paging
    if isinstance(paging, OffsetPaging):
        return ((paging.limit, "1"),)
    if isinstance(paging, TokenPaging) and paging.size:
        return ((paging.size, "1"),)
    return ()


def _untold(error: ApiError) -> There:
    """What a refusal to tell means: nothing is known, or the error is of the whole store."""
    if error.failure.status in _NOT_TOLD:
        return There.UNKNOWN
    raise error


def _only(reader: MultipartReader) -> Iterator[bytes]:
    """The bytes of the only part."""
    count = 0
    for incoming in reader:
        count += 1
        if count > 1:
            raise IncompleteError("The server gave more than the one instance that was asked for.")
        yield from incoming.iter_bytes()
    if not count:
        raise IncompleteError("The server's answer holds no instance.")


def _instances(body: bytes, search: Method) -> Iterator[str]:
    """The SOP Instance UIDs in a page of DICOM JSON."""
    if not body.strip():
        return
    try:
        rows: Any = json.loads(body)
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list):
        raise OperationalError(
            f"{search.full_name}: the answer is no list of datasets, so that it cannot be told "
            f"which instances are there."
        )
    for row in rows:
        element = row.get(_SOP_INSTANCE_UID) if isinstance(row, dict) else None
        values = element.get("Value") if isinstance(element, dict) else None
        if not isinstance(values, list) or not values or not isinstance(values[0], str):
            raise OperationalError(
                f"{search.full_name}: a row of the answer has no SOPInstanceUID, so that it cannot "
                f"be told which instances are there."
            )
        yield values[0]
