"""The store that instances come from: what it holds, and the requests that fetch it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dicomsql.copying.there import refusal_of
from dicomsql.errors import (
    IncompleteError,
    NotFoundError,
    NotSupportedError,
    OperationalError,
    PermissionDeniedError,
)
from dicomsql.execution.calls import make_request, single
from dicomsql.execution.paging import pages

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.errors import ApiFailure
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import DicomStore
    from dicomsql.transport.base import Request

__all__ = ["Instance", "Listed", "Place", "Source"]

# A store's path parameters with their values.
Place = tuple[tuple[str, str], ...]

_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_FRAMES = "00280008"
_NOT_FOUND = 404
_ANY_SYNTAX = re.compile(r"(?<=transfer-syntax=)\*")


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance by its UIDs, and where it is."""

    place: Place
    study: str
    series: str
    instance: str


@dataclass(frozen=True, slots=True)
class Listed:
    """An instance as a search gives it.

    Attributes:
        frames: their number; None where the search does not say.
    """

    series: str
    instance: str
    frames: int | None = None


class Source:
    """The DICOM stores that a query's rows name, of one server; safe for many threads.

    Parameters:
        transfer_syntax: of the files that are asked for; a UID or `*`.

    Raises:
        NotSupportedError: nothing gets single instances.
    """

    def __init__(self, run: Run, store: DicomStore, transfer_syntax: str = "*") -> None:
        self._run = run
        self._store = store
        self._syntax = transfer_syntax
        self._ids = dict(store.moves.ids)
        self._search = dict(store.moves.search)
        self.moves = store.moves
        # Of the stores of which it is known: why nothing can be had from them; None where it can.
        self._places: dict[Place, ApiFailure | None] = {}
        self._asking = threading.Lock()

    def request(
        self,
        method: Method,
        place: Place,
        uids: Mapping[str, str],
        *,
        frame: int | None = None,
        accept: str = "",
    ) -> Request:
        """A request of a method whose path names the store, UIDs and perhaps a frame.

        Args:
            uids: level -> UID.
            frame: for the one path parameter that is none of these.
            accept: the media type that is wanted; empty for the document's.
        """
        given = dict(self._store.values) | dict(place)
        given |= {self._ids[level]: uid for level, uid in uids.items()}
        values: dict[str, str | tuple[str, ...]] = {
            name: given[name] for name in method.path_parameters if name in given
        }
        if frame is not None:
            left = [name for name in method.path_parameters if name not in given]
            values |= dict.fromkeys(left, str(frame))
        request = make_request(method, self._store.base_url, values)
        return replace(
            request,
            headers=tuple(
                (name, accept or value if name == "Accept" else value)
                for name, value in request.headers
            ),
            fresh=True,
        )

    def files(self, place: Place, study: str, series: str = "", instance: str = "") -> Request:
        """The request of all files of a study, of a series, or of one instance.

        Raises:
            NotSupportedError: the service has no such method.
        """
        moves = self.moves
        level, method = "study", moves.study
        uids = {"study": study}
        if series:
            level, method = "series", moves.series
            uids["series"] = series
        if instance:
            level, method = "instance", moves.instance
            uids["instance"] = instance
        if method is None:
            raise NotSupportedError(
                f"{self._store.resource} has no method that retrieves a whole {level}."
            )
        return self.request(method, place, uids, accept=self._accept(method))

    def instances(self, place: Place, study: str, series: str = "") -> list[Listed]:
        """What the store has of a study or a series, each once.

        Raises:
            NotSupportedError: the service has no search for it.
            IncompleteError: the search cannot be read to its end, or is of something else.
        """
        if series:
            search = self._needed("instance")
            uids = {"study": study, "series": series}
            return list(self._listed(search, place, uids))
        if self.moves.in_study is not None:
            found = list(self._listed(self.moves.in_study, place, {"study": study}))
            if all(one.series for one in found):
                return found
        return [
            one for name in self._series(place, study) for one in self.instances(place, study, name)
        ]

    def has_given(self, place: Place) -> None:
        """Something came from a store, so that it is there."""
        self._places.setdefault(place, None)

    def check_place(self, place: Place) -> None:
        """Make sure that a store is there, since the server says that something of it is not.

        It is asked once for each store, and not at all for one that has given something.

        Raises:
            NotFoundError, PermissionDeniedError: it is not, or may not be read.
        """
        with self._asking:
            if place not in self._places:
                values = dict(self._store.values) | dict(place)
                store = replace(self._store, values=tuple(values.items()))
                self._places.setdefault(place, refusal_of(self._run, store))
            refusal = self._places[place]
        if refusal is not None:
            kind = NotFoundError if refusal.status == _NOT_FOUND else PermissionDeniedError
            raise kind(refusal)

    @property
    def lists_series(self) -> bool:
        """Whether it can be asked for the instances of a series."""
        return "instance" in self._search

    def frames(self, wanted: Instance) -> int | None:
        """The number of an instance's frames, from its metadata; None where it has none there.

        An instance whose metadata do not tell a number has one (PS3.3 C.7.6.6).
        """
        method = self.moves.metadata
        if method is None:
            return None
        uids = {"study": wanted.study, "series": wanted.series, "instance": wanted.instance}
        page = single(self._run, self.request(method, wanted.place, uids))
        return max((_frames(row) or 1 for row in _rows(page.body, method)), default=None)

    def _accept(self, method: Method) -> str:
        """The document's media type, with the transfer syntax that is wanted."""
        if self._syntax == "*":
            return method.accept
        wanted, number = _ANY_SYNTAX.subn(self._syntax, method.accept)
        return wanted if number else f"{method.accept}; transfer-syntax={self._syntax}"

    def _needed(self, level: str) -> Method:
        method = self._search.get(level)
        if method is None:
            raise NotSupportedError(
                f"{self._store.resource} has no search that lists the {level} level, so that it "
                f"cannot be told what is to be copied. Name single instances in the query."
            )
        return method

    def _series(self, place: Place, study: str) -> list[str]:
        """The series of a study."""
        search = self._needed("series")
        rows = self._searched(search, place, {"study": study})
        found = (_uid(row, _SERIES, search) for row in rows)
        return list(dict.fromkeys(found))

    def _listed(self, search: Method, place: Place, uids: Mapping[str, str]) -> Iterator[Listed]:
        """The instances that a search gives, each once."""
        seen: set[tuple[str, str]] = set()
        for row in self._searched(search, place, uids):
            for level, tag in (("study", _STUDY), ("series", _SERIES)):
                if level in uids and _text(row, tag) not in {"", uids[level]}:
                    raise IncompleteError(
                        f"{search.full_name}: a row of the answer is of another {level} than the "
                        f"one that was asked for, so that it cannot be told what it holds."
                    )
            series, instance = (
                uids.get("series") or _text(row, _SERIES),
                _uid(row, _INSTANCE, search),
            )
            if (series, instance) not in seen:
                seen.add((series, instance))
                yield Listed(series, instance, _frames(row))

    def _searched(
        self, search: Method, place: Place, uids: Mapping[str, str]
    ) -> Iterator[dict[str, Any]]:
        try:
            for page in pages(self._run, search, self.request(search, place, uids), None):
                self.has_given(place)
                yield from _rows(page.body, search)
        except NotFoundError:
            # So some servers say that there is no such study or series.
            self.check_place(place)


def _rows(body: bytes, method: Method) -> list[dict[str, Any]]:
    """The datasets of a page of DICOM JSON."""
    if not body.strip():
        return []
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise OperationalError(
            f"{method.full_name}: the answer is no list of datasets, so that it cannot be told "
            f"which instances are there."
        )
    return rows


def _first(row: Mapping[str, Any], tag: str) -> object:
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _text(row: Mapping[str, Any], tag: str) -> str:
    value = _first(row, tag)
    return value if isinstance(value, str) else ""


def _uid(row: Mapping[str, Any], tag: str, method: Method) -> str:
    found = _text(row, tag)
    if not found:
        raise OperationalError(
            f"{method.full_name}: a row of the answer has no {tag}, so that it cannot be told "
            f"which instances are there."
        )
    return found


def _frames(row: Mapping[str, Any]) -> int | None:
    """NumberOfFrames (PS3.3 C.7.6.6), an IS: servers write it as a number or as a text."""
    value = _first(row, _FRAMES)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return max(1, int(value))
    except ValueError:
        return None
