"""Stores instances in a DICOM store and says of each what became of it.

An instance counts as stored where the answer to its request names it so, and never otherwise: one
that the answer leaves out is looked for, and its bytes are compared.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql.copying.outcomes import OTHER_BYTES, Outcome, Status
from dicomsql.copying.replacing import Replacer, UnclearError
from dicomsql.copying.there import Target, There, place_of, refusal_of
from dicomsql.copying.upload import Part, PartFailedError, SourceFailedError, Upload, digest_of
from dicomsql.dicom.stow import Failure, StoreAnswer, read_answer, warning_text
from dicomsql.errors import (
    ApiError,
    EndpointError,
    InterfaceError,
    NotFoundError,
    NotSupportedError,
)
from dicomsql.planning.plan import Conflict
from dicomsql.transport.failures import WITHHELD

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import DicomStore
    from dicomsql.transport.base import Request

# Statuses by which a server may refuse a whole request for what one of its instances is, or for
# its size. Others are about the store, the credentials or the server's own state.
_OF_AN_INSTANCE = frozenset({400, 406, 409, 411, 413, 415, 422, 500})
# Of these, what an instance may cause as well as a server that is broken: after so many single
# ones in a row the server is asked for something else.
_FAULT = 500
# The status of a request of which nothing was stored; its body says why of each instance.
_CONFLICT = 409
_MOST_FAULTS = 3
# The one reason that says by itself that an instance is there already ("duplicate SOP instance",
# PS3.7 annex C); servers use the others for more.
_DUPLICATE = 0x0111

_OTHER_STUDY = "it is of another study than the one that the store is to take instances of"
_UNNAMED = "the server's answer does not name it, and the store does not have it"
_UNASKED = "the server's answer does not name it, and the store cannot be asked for it"
_TOO_MANY = (
    "the store has an instance with these UIDs and other bytes, and as many were replaced as the "
    "statement may"
)
_NOT_COMPARED = (
    "the store has an instance with these UIDs, and cannot be asked whether its bytes are the same"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a part.

    Attributes:
        digest: SHA-256 of its bytes, hex; empty where they were not read.
    """

    outcome: Outcome
    digest: str = ""


# Parts, each with what became of it.
Verdicts = list[tuple[Part, Stored]]


class Storer:
    """Stores parts in one target; safe for many threads.

    Parameters:
        conflict: what becomes of an instance that the target has with other bytes.
        study: the study that the target takes instances of; empty for any.
        kept: folder for the target's bytes before an instance is deleted to be replaced; None
            where there is none.
        sent: is told the bytes of the instances as they go out.
        most: instances that may be replaced; None for any number.
        superseding: is told of an instance before what the target has of it is replaced.

    Attributes:
        limit: bytes of a request beyond which the target has refused one; None until it does.

    Raises:
        NotSupportedError: the target has no method that stores, or none that replaces.
        InterfaceError: it replaces by deleting, and there is no folder for what is deleted.
    """

    def __init__(
        self,
        run: Run,
        target: DicomStore,
        conflict: Conflict,
        *,
        study: str = "",
        kept: Path | None = None,
        sent: Callable[[int], None] | None = None,
        most: int | None = None,
        superseding: Callable[[Part], None] | None = None,
    ) -> None:
        moves = target.moves
        method = moves.store_in_study if study else moves.store
        if method is None:
            raise NotSupportedError(f"{target.resource} has no method that stores instances.")
        self.limit: int | None = None
        self._run = run
        self._moves = moves.moves
        self._method = method
        self._conflict = conflict
        self._study = study
        self._sent = sent
        self._most = most
        self._superseding = superseding
        self._store = target
        self._target = Target(run, target)
        self._lock = threading.Lock()
        self._faults = 0
        self._replacer = (
            Replacer(run, target, self._send, self._before_replacing, kept)
            if conflict is Conflict.REPLACE
            else None
        )

    def store_parts(self, parts: Sequence[Part]) -> Iterator[Verdicts]:
        """Store instances by one request, or by more where one does not do.

        Args:
            parts: no two of the same SOPInstanceUID.

        Yields: what became of some of them, as soon as it is known: whoever takes it writes it
            down before anything else happens, so that an error afterwards loses nothing.

        Raises:
            ApiError, EndpointError, CredentialsError: the target takes nothing at all, after all
                attempts: it makes no sense to go on.
            CancelledError: the statement was cancelled.
            Error: what a part's `open` raised beside `PartError`.
        """
        taken: list[Part] = []
        for part in parts:
            if self._study and part.study != self._study:
                yield [(part, _failed(part, _OTHER_STUDY))]
            else:
                taken.append(part)
        there = self._found(taken)
        yield from self._send_all([part for part in taken if part.instance not in there])
        for part in taken:
            if part.instance in there:
                yield from self._compared(part)

    def replace(self, part: Part) -> Iterator[Verdicts]:
        """Store an instance in the place of one that the target is known to have.

        Yields, raises: as `store_parts`.
        """
        if self._replacer is None:
            raise InterfaceError("Instances are replaced only with on_conflict 'replace'.")
        try:
            verdict = self._replacer.replace(part)
        except UnclearError as unclear:
            yield [(part, _result(part, Status.FAILED, unclear.reason))]
            raise unclear.error from unclear
        yield [(part, _result(part, *verdict))]

    def _before_replacing(self, part: Part) -> None:
        """Make sure that one more instance may be replaced, and tell of it.

        Raises:
            PartFailedError: it may not.
        """
        with self._lock:
            if self._most is not None:
                if not self._most:
                    raise PartFailedError(0, _TOO_MANY)
                self._most -= 1
        if self._superseding is not None:
            self._superseding(part)

    # -- requests --------------------------------------------------------------------------------

    def _send_all(self, parts: list[Part]) -> Iterator[Verdicts]:
        """Send parts together, and what cannot go together in ever smaller groups."""
        groups = [parts]
        while groups:
            group = groups.pop()
            if not group:
                continue
            try:
                upload, answer = self._send(self._target, self._method, group)
            except SourceFailedError as error:
                raise error.error from error
            except PartFailedError as error:
                yield [(group[error.index], _failed(group[error.index], error.reason))]
                groups.append([p for n, p in enumerate(group) if n != error.index])
            except NotFoundError as error:
                raise self._not_there(error) from error
            except ApiError as error:
                if error.failure.status not in _OF_AN_INSTANCE:
                    raise
                if len(group) > 1:
                    self._learn(error, group)
                    groups += _halves(group)
                else:
                    yield [(group[0], self._refused(group[0], error))]
            except EndpointError as error:
                if len(group) > 1:
                    # A server that cannot bear the whole may bear a part, and one that is gone
                    # does not answer the first either.
                    groups += [*_halves(group[1:]), group[:1]]
                else:
                    yield from self._broken_off(group[0], error)
            else:
                if answer is None and len(group) > 1:
                    groups += _halves(group)
                else:
                    yield from self._judged(group, upload, answer)

    def _found(self, parts: list[Part]) -> set[str]:
        """What the target has of the parts, where it does not tell by itself that it has them.

        Asked right before each request: others may store in the meantime.

        Raises:
            EndpointError: it is gone.
        """
        if self._moves.tells_conflicts:
            return set()
        try:
            return self._target.found(parts)
        except EndpointError as error:
            raise _gone(error) from error

    def _judged(
        self, group: list[Part], upload: Upload, answer: StoreAnswer | None
    ) -> Iterator[Verdicts]:
        """What became of each part of a request, by its answer; None where all were refused.

        What the answer tells by itself comes first and together, since the rest takes requests.
        """
        if answer is None:
            answer = StoreAnswer({}, {part.instance: Failure() for part in group})
        answer = _attributed(answer, group)
        told: Verdicts = []
        open_questions: list[tuple[Part, str]] = []
        for part, digest, size in zip(group, upload.digests, upload.sizes, strict=True):
            sent = replace(part, size=size)
            found = self._told(sent, digest, answer)
            if found is not None:
                told.append((part, found))
            else:
                open_questions.append((sent, digest))
        if told:
            yield told
        for part, digest in open_questions:
            failure = answer.failed.get(part.instance)
            if failure is not None:
                yield from self._unstored(part, digest, failure)
            else:
                yield from self._left_out(part, digest, alone=len(group) == 1)

    def _send(
        self, target: Target, method: Method, group: Sequence[Part]
    ) -> tuple[Upload, StoreAnswer | None]:
        """Make one request of the parts.

        Returns: what was sent, and the answer, which is empty where it says nothing; None where the
        whole was refused without a word about any.

        Raises:
            PartFailedError, SourceFailedError: a part cannot be read, or none.
            ApiError, EndpointError: the server refused the whole, or did not answer.
        """
        multipart = len(group) > 1 or not self._moves.single
        upload = Upload(group, multipart=multipart, sent=self._sent)
        with self._run.send(_request(target, method, group[0], upload)) as response:
            body, status = response.read(), response.status
        answer = read_answer(body)
        if answer is None and status != _CONFLICT:
            answer = StoreAnswer({}, {})
        with self._lock:
            self._faults = 0
        return upload, answer

    def _not_there(self, error: NotFoundError) -> NotFoundError:
        """What it means that there is nothing under the address that takes instances."""
        if self._study and refusal_of(self._run, self._store) is None:
            return error  # some servers say so of the study
        if place := place_of(self._store):
            said = f"there is no DICOM store {place}. Check its name, or make it first."
        else:
            said = "there is no DICOM store at this address. Check the endpoint."
        return NotFoundError(replace(error.failure, message=said))

    def _learn(self, error: ApiError, group: Sequence[Part]) -> None:
        """Keep in mind that a request was too large."""
        if error.failure.status == 413:
            size = sum(part.size or 0 for part in group) // 2
            with self._lock:
                self.limit = size if self.limit is None else min(self.limit, size)

    # -- verdicts --------------------------------------------------------------------------------

    def _refused(self, part: Part, error: ApiError) -> Stored:
        """What a refusal of a request with a single part means.

        Raises:
            ApiError, EndpointError: it is the server's own fault, and of more than this part.
        """
        failure = error.failure
        if failure.status == _FAULT:
            self._count_fault(part, error)
        said = f"{failure.status} {failure.code}".strip()
        message = f": {failure.message}" if failure.message else ""
        return _failed(part, f"the server answered {said}{message}")

    def _broken_off(self, part: Part, error: EndpointError) -> Iterator[Verdicts]:
        """What it means that a single part cannot be sent to its end: the server is asked.

        Raises:
            EndpointError: it is gone.
        """
        try:
            there = self._target.has(part)
        except EndpointError:
            raise _gone(error) from error
        if there is There.UNKNOWN:
            raise error
        if there is There.OTHER:
            # Its answer was what was lost, or it was there before.
            yield from self._compared(part)
        else:
            reason = f"the server did not take it to its end: {str(error).rstrip('.')}"
            yield [(part, _failed(part, reason))]

    def _count_fault(self, part: Part, error: ApiError) -> None:
        """Give the server up where it fails at one instance after the other, and at a search too.

        Raises:
            ApiError, EndpointError: it does.
        """
        with self._lock:
            self._faults += 1
            if self._faults < _MOST_FAULTS:
                return
            self._faults = 0
        if self._target.has(part) is There.UNKNOWN:
            raise error

    def _told(self, part: Part, digest: str, answer: StoreAnswer) -> Stored | None:
        """What an answer says of a part; None where the store has to be asked."""
        if part.instance in answer.stored:
            warning = answer.stored[part.instance]
            reason = warning_text(warning) if warning else ""
            return _result(part, Status.STORED, reason, digest)
        failure = answer.failed.get(part.instance)
        if failure is None or failure.reason is None or failure.reason in self._moves.exists:
            return None
        return _result(part, Status.FAILED, self._reason(part, failure), digest)

    def _unstored(self, part: Part, digest: str, failure: Failure) -> Iterator[Verdicts]:
        """What became of a part that was refused for a reason that may mean that it is there."""
        there = self._target.has(part)
        certain = self._moves.tells_conflicts and failure.reason == _DUPLICATE
        if there is There.OTHER and not certain:
            there = self._target.compare(part, digest)
            if there is There.UNKNOWN:
                yield [(part, _result(part, Status.FAILED, _NOT_COMPARED, digest))]
                return
        if there is There.SAME:
            yield [(part, _result(part, Status.PRESENT, "", digest))]
        elif there is There.OTHER:
            yield from self._conflicting(part, digest)
        else:
            yield [(part, _result(part, Status.FAILED, self._reason(part, failure), digest))]

    def _left_out(self, part: Part, digest: str, *, alone: bool) -> Iterator[Verdicts]:
        """What became of a part that the answer does not name: only the bytes there tell."""
        there = self._target.compare(part, digest)
        if there is There.SAME:
            yield [(part, _result(part, Status.STORED, "", digest))]
        elif there is There.OTHER:
            yield from self._conflicting(part, digest)
        elif there is There.UNKNOWN:
            yield [(part, _result(part, Status.FAILED, _UNASKED, digest))]
        elif alone:
            yield [(part, _result(part, Status.FAILED, _UNNAMED, digest))]
        else:
            # A request of its own gets an answer of its own.
            yield from self._send_all([part])

    def _compared(self, part: Part) -> Iterator[Verdicts]:
        """What becomes of a part whose UIDs the store has already."""
        try:
            digest = digest_of(part)
        except PartFailedError as error:
            yield [(part, _failed(part, error.reason))]
            return
        there = self._target.compare(part, digest)
        if there is There.SAME:
            yield [(part, _result(part, Status.PRESENT, "", digest))]
        elif there is There.OTHER:
            yield from self._conflicting(part, digest)
        elif there is There.UNKNOWN:
            yield [(part, _result(part, Status.FAILED, _NOT_COMPARED, digest))]
        else:
            # It went away between the search and now.
            yield from self._send_all([part])

    def _conflicting(self, part: Part, digest: str) -> Iterator[Verdicts]:
        """What becomes of a part that the store has with other bytes."""
        if self._conflict is Conflict.SKIP:
            yield [(part, _result(part, Status.SKIPPED, OTHER_BYTES, digest))]
        elif self._conflict is Conflict.FAIL:
            yield [(part, _result(part, Status.FAILED, OTHER_BYTES, digest))]
        else:
            yield from self.replace(part)

    def _reason(self, part: Part, failure: Failure) -> str:
        """Why the server refused an instance, as far as the gate lets it out."""
        if not failure.detail:
            return failure.text
        request = self._target.request(self._method, part)
        if not self._run.gate.knows(replace(request, body=part.open)):
            return f"{failure.text}. {WITHHELD}"
        return f"{failure.text}: {self._run.gate.scrub(failure.detail, request)}"


def _gone(error: EndpointError) -> EndpointError:
    """The error of a target that does not answer at all."""
    return EndpointError(f"The server to store into cannot be reached, or does not answer: {error}")


def _request(target: Target, method: Method, part: Part, upload: Upload) -> Request:
    request = target.request(method, part)
    headers = [*request.headers, ("Content-Type", upload.content_type)]
    if upload.length is not None:
        headers.append(("Content-Length", str(upload.length)))
    # The same bytes under the same UIDs may be sent any number of times.
    return replace(
        request,
        headers=tuple(headers),
        body=upload,
        repeatable=True,
        answers=frozenset({_CONFLICT}),
    )


def _attributed(answer: StoreAnswer, group: Sequence[Part]) -> StoreAnswer:
    """An answer whose failures without a name are given to the only part that they can be of."""
    left = [p for p in group if p.instance not in answer.stored and p.instance not in answer.failed]
    if len(left) != 1 or len(answer.unnamed) != 1:
        return answer
    return replace(answer, failed={**answer.failed, left[0].instance: answer.unnamed[0]})


def _halves(group: list[Part]) -> list[list[Part]]:
    """Two groups, the first to be taken last in the list."""
    middle = len(group) // 2
    return [group[middle:], group[:middle]]


def _failed(part: Part, reason: str) -> Stored:
    return _result(part, Status.FAILED, reason)


def _result(part: Part, status: Status, reason: str = "", digest: str = "") -> Stored:
    outcome = Outcome(status, part.path, part.study, part.series, part.instance, reason, part.size)
    return Stored(outcome, digest)
