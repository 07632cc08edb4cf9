"""Fetches instances from a store, side by side: whole studies and series, and single instances.

One thread streams a whole series, since that is one request. Threads that have nothing to do take
instances of it from its other end, one by one, so that no connection is idle at the end. What a
stream did not bring is asked for one by one before it counts as failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from dicomsql.copying.arriving import Arrival, BrokenFileError, UnreadableError, arrive, files_of
from dicomsql.errors import ApiError, CancelledError, EndpointError, IncompleteError, NotFoundError
from dicomsql.execution.calls import NO_CONTENT

if TYPE_CHECKING:
    from dicomsql.copying.source import Instance, Place, Source
    from dicomsql.copying.work import Work
    from dicomsql.execution.run import Run
    from dicomsql.transport.base import Request, Response

__all__ = ["Fetcher", "Key", "Refusals", "Taker", "Unit", "Wanted", "fetch_one"]

# Statuses by which a server may refuse one instance; others are about the store, the credentials
# or the server's own state.
_OF_AN_INSTANCE = frozenset({400, 404, 406, 409, 410, 413, 415, 422, 500, 501})
# Those by which it may refuse a whole series that it would give in pieces.
_OF_A_SERIES = _OF_AN_INSTANCE | {408, 502, 503, 504}
# What an instance may cause as well as a server that is broken or gone: after so many in a row, it
# is the server.
_MOST_FAULTS = 3
# How often an instance is asked for whose answer is cut off or is another.
_ATTEMPTS = 4

T = TypeVar("T")

# An instance within a study: series and instance UID.
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Wanted(Generic[T]):
    """An instance that is to be fetched.

    Attributes:
        about: what its taker needs to know.
    """

    instance: Instance
    about: T

    @property
    def key(self) -> Key:
        return self.instance.series, self.instance.instance


@dataclass(slots=True, eq=False)
class Unit(Generic[T]):
    """Instances of one study, or series, that one request may fetch.

    Attributes:
        series: UID; empty where it is the whole study.
        free: those that no thread has begun with, in the order in which they are expected.
        expected: those that an answer to the request may hold.
        streams: how often the whole was streamed.
    """

    place: Place
    study: str
    series: str
    free: dict[Key, Wanted[T]]
    expected: frozenset[Key]
    streams: int = 0


class Taker(Protocol[T]):
    """What is done with instances; one for each thread."""

    def take(self, wanted: Wanted[T], arrival: Arrival) -> None:
        """Take an instance that was asked for; reads its pieces to their end, unless it fails.

        Raises: what reading the pieces raises, after which the instance may be taken once more.
        """

    def failed(self, wanted: Wanted[T], reason: str) -> None:
        """An instance cannot be had."""

    def pause(self) -> None:
        """Nothing comes for now: what is held back is finished."""


@dataclass(slots=True)
class Refusals:
    """Tells an instance that a server cannot give from a server that gives none any more."""

    _source: Source
    _row: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def well(self, place: Place) -> None:
        """The server gave something of that store."""
        self._source.has_given(place)
        with self._lock:
            self._row = 0

    def reason(self, run: Run, place: Place, error: ApiError | EndpointError) -> str:
        """Why an instance of that store fails.

        Raises:
            ApiError, EndpointError: it is not the instance's fault.
        """
        run.check()
        if isinstance(error, EndpointError):
            self._count(error)
            return f"the server did not answer: {error}"
        failure = error.failure
        if failure.status not in _OF_AN_INSTANCE:
            raise error
        if failure.status >= 500:
            self._count(error)
        else:
            with self._lock:
                self._row = 0
        if isinstance(error, NotFoundError):
            self._source.check_place(place)
            return "the server does not have it"
        message = f": {failure.message}" if failure.message else ""
        return f"the server answered {failure.status} {failure.code}".rstrip() + message

    def _count(self, error: ApiError | EndpointError) -> None:
        with self._lock:
            self._row += 1
            if self._row >= _MOST_FAULTS:
                raise error


class Fetcher(Generic[T]):
    """Fetches for one thread, and gives what comes to its taker.

    Parameters:
        work: hands out what is free; all threads' own.
        refusals: all threads' own.
    """

    def __init__(
        self, run: Run, source: Source, work: Work[T], taker: Taker[T], refusals: Refusals
    ) -> None:
        self._run = run
        self._source = source
        self._work = work
        self._taker = taker
        self._refusals = refusals

    def stream(self, unit: Unit[T]) -> bool:
        """Fetch a whole study or series.

        Returns: whether it is worth another attempt: it was cut off after it had brought something.

        Raises:
            ApiError: the server refuses everything.
        """
        before = len(unit.free)
        try:
            request = self._source.files(unit.place, unit.study, unit.series)
            with self._run.send(request, stream=True) as response:
                if response.status != NO_CONTENT:
                    for number, file in enumerate(files_of(response), 1):
                        self._part(unit, file)
                        if not unit.free and number < len(unit.expected):
                            # What else it holds was fetched by others. Where nothing else is due,
                            # it is read to its end, so that the connection can be used again.
                            break
        except ApiError as error:
            if error.failure.status not in _OF_A_SERIES:
                raise
        except (IncompleteError, EndpointError):
            self._run.check()
            return len(unit.free) < before
        return False

    def one(self, wanted: Wanted[T]) -> None:
        """Fetch one instance.

        Raises:
            ApiError, EndpointError: the server refuses everything, or is gone.
        """
        at = wanted.instance
        reason = fetch_one(
            self._run,
            self._refusals,
            at.place,
            self._source.files(at.place, at.study, at.series, at.instance),
            lambda response: self._only(wanted, files_of(response)),
        )
        if reason:
            self._taker.failed(wanted, reason)

    def _only(self, wanted: Wanted[T], files: Iterator[Iterator[bytes]]) -> str:
        """Take the only file of an answer.

        Returns: why it cannot be taken; empty where it was.
        """
        taken = False
        for file in files:
            if taken:
                self._work.strays.add()
                continue
            arrival = arrive(self._watched(file))
            at = wanted.instance
            if (arrival.study, arrival.series, arrival.instance) != (
                at.study,
                at.series,
                at.instance,
            ):
                return "the server gave another instance than the one that was asked for"
            self._taker.take(wanted, arrival)
            taken = True
        return "" if taken else "the server's answer holds no instance"

    def _part(self, unit: Unit[T], file: Iterator[bytes]) -> None:
        """Take one file of an answer that has many."""
        try:
            arrival = arrive(self._watched(file))
        except BrokenFileError:
            return  # what it should have been is asked for by itself
        except UnreadableError:
            self._work.strays.add()
            return
        key = arrival.series, arrival.instance
        if arrival.study != unit.study or key not in unit.expected:
            self._work.strays.add()
            return
        wanted = self._work.claim(unit, key)
        if wanted is None:
            return  # it came before, or another thread fetches it
        try:
            self._taker.take(wanted, arrival)
        except BrokenFileError:
            # The others of the answer may be good; this one is asked for by itself.
            self._work.give_back(unit, wanted)
            return
        except BaseException:
            self._work.give_back(unit, wanted)
            raise
        self._refusals.well(unit.place)

    def _watched(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The pieces, as long as they are of use."""
        for piece in pieces:
            if self._work.stopped:
                raise CancelledError("The statement has ended.")
            yield piece


def fetch_one(
    run: Run, refusals: Refusals, place: Place, request: Request, take: Callable[[Response], str]
) -> str:
    """Make one request until its answer could be taken.

    Args:
        place: of the store that it goes to.
        take: takes the answer; gives why it cannot, or nothing.

    Returns: why it failed for good; empty where it did not.

    Raises:
        ApiError, EndpointError: the server refuses everything, or is gone.
    """
    reason = ""
    for _ in range(_ATTEMPTS):
        began = False
        try:
            with run.send(request, stream=True) as response:
                began = True
                if response.status == NO_CONTENT:
                    return "the server does not have it"
                reason = take(response)
            if not reason:
                refusals.well(place)
                return ""
        except (UnreadableError, IncompleteError) as error:
            reason = f"what the server gave cannot be taken: {error}"
        except EndpointError as error:
            run.check()
            if not began:
                return refusals.reason(run, place, error)
            reason = f"the answer was cut off: {error}"
        except ApiError as error:
            return refusals.reason(run, place, error)
    return f"{reason} (asked for {_ATTEMPTS} times)"
