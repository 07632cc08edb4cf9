"""A small DICOMweb server that gives what the test says, and COPY from it without a session."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from storing_bench import Answer, Key, running, uids_of

from dicomsql.catalog.model import Method, MoveMethods, Moves, Parameter
from dicomsql.copying.journal import Journal
from dicomsql.copying.progress import Progress
from dicomsql.copying.report import Report
from dicomsql.copying.retrieving import retrieve
from dicomsql.dicom.multipart import OutgoingPart, multipart_content_type, multipart_writer
from dicomsql.engine.duck import Engine
from dicomsql.execution.run import Run
from dicomsql.planning.plan import DicomStore, Named, RetrievePlan
from dicomsql.planning.read_plan import ReadPlan

BOUNDARY = "an-end"
_IDS = {"study": "studiesId", "series": "seriesId", "instance": "instancesId"}
_NAMES = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" + b"\0\0\0\0IEND\xaeB`\x82"


def multipart(*contents: bytes, end: bool = True) -> httpx.Response:
    """An answer of several files; without its end where it is cut off."""
    body = b"".join(multipart_writer(map(OutgoingPart, contents), BOUNDARY))
    if not end:
        body = body[: body.rindex(b"\r\n--")]
    return of_type(multipart_content_type(BOUNDARY), body)


def of_type(media: str, content: bytes) -> httpx.Response:
    """An answer with that content type."""
    return httpx.Response(200, headers={"content-type": media}, content=content)


def breaking(content: bytes, media: str = "") -> httpx.Response:
    """An answer that begins with these bytes, after which the connection breaks."""

    def pieces() -> Iterator[bytes]:
        yield content
        raise httpx.ReadError("the connection was reset")

    media = media or multipart_content_type(BOUNDARY)
    return httpx.Response(200, headers={"content-type": media}, content=pieces())


@dataclass
class Holder:
    """A server that holds instances and gives them.

    Attributes:
        frames: of an instance, as the search tells them.
        answers: (regular expression for the path, gives the answer or None for the usual), each
            used once, the first that fits.
        paths: of all requests, in their order.
    """

    kept: dict[Key, bytes] = field(default_factory=dict)
    frames: dict[str, int] = field(default_factory=dict)
    told_frames: bool = True
    answers: list[tuple[str, Callable[[], Answer | None]]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    accepts: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, *contents: bytes) -> None:
        for content in contents:
            self.kept[uids_of(content)] = content

    def gives(self, pattern: str, *answers: Answer | Callable[[], Answer | None]) -> None:
        """Answer so the next requests of such a path."""
        for answer in answers:
            given = answer if callable(answer) else lambda answer=answer: answer
            self.answers.append((pattern, given))

    def fetched(self) -> list[str]:
        """The paths of requests for files."""
        return [p for p in self.paths if not re.search(r"/(instances|series|metadata)(\?|$)", p)]

    def handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        with self.lock:
            self.paths.append(path)
            self.accepts.append(request.headers["accept"])
            at = next((n for n, (p, _) in enumerate(self.answers) if re.search(p, path)), None)
            given = self.answers.pop(at)[1]() if at is not None else None
        if isinstance(given, Exception):
            raise given
        return given if given is not None else self._usual(path)

    def _usual(self, path: str) -> httpx.Response:
        found = re.fullmatch(
            r"/studies/(?P<study>[^/]+)(?:/series/(?P<series>[^/]+))?"
            r"(?:/instances/(?P<instance>[^/]+))?(?:/frames/(?P<frame>\d+))?"
            r"(?P<what>/instances|/series|/rendered|/metadata)?",
            path.partition("?")[0],
        )
        assert found, path
        asked = (found["study"], found["series"], found["instance"])
        kept = [
            key for key in self.kept if all(a in {None, k} for a, k in zip(asked, key, strict=True))
        ]
        if found["what"] in {"/instances", "/series", "/metadata"}:
            rows = [self._row(key, metadata=found["what"] == "/metadata") for key in kept]
            return httpx.Response(200, json=rows) if rows else httpx.Response(204)
        if not kept:
            return httpx.Response(404)
        if found["what"] == "/rendered":
            frame = found["frame"] or ""
            content = PNG[:-12] + frame.encode() + PNG[-12:]
            return httpx.Response(200, headers={"content-type": "image/png"}, content=content)
        if found["instance"]:
            media = {"content-type": "application/dicom"}
            return httpx.Response(200, headers=media, content=self.kept[kept[0]])
        return multipart(*(self.kept[key] for key in kept))

    def _row(self, key: Key, *, metadata: bool) -> dict[str, Any]:
        uids = zip(("0020000D", "0020000E", "00080018"), key, strict=True)
        row: dict[str, Any] = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids}
        if key[2] in self.frames and (metadata or self.told_frames):
            row["00280008"] = {"vr": "IS", "Value": [self.frames[key[2]]]}
        return row


def source(**changes: Any) -> DicomStore:
    """Such a server, as a provider document names its methods."""

    def method(name: str, path: str, accept: str) -> Method:
        taken = re.findall(r"{(\w+)}", path)
        return Method(
            *("test", "web", "instances", name, "exec", "GET", path),
            parameters=tuple(Parameter(n, "path", required=True) for n in taken),
            accept=accept,
        )

    study = "/studies/{studiesId}"
    series = study + "/series/{seriesId}"
    instance = series + "/instances/{instancesId}"
    several = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    json_ = "application/dicom+json"
    moves = MoveMethods(
        Moves(),
        study=method("study", study, several),
        series=method("series", series, several),
        instance=method("instance", instance, "application/dicom; transfer-syntax=*"),
        rendered=method("rendered", instance + "/rendered", "image/png"),
        rendered_frame=method("frame", instance + "/frames/{framesId}/rendered", "image/png"),
        search=(
            ("series", method("searched_series", study + "/series", json_)),
            ("instance", method("searched", series + "/instances", json_)),
        ),
        in_study=method("searched_study", study + "/instances", json_),
        metadata=method("metadata", instance + "/metadata", json_),
        ids=tuple(_IDS.items()),
    )
    return DicomStore("test.web.instances", "http://server", replace(moves, **changes))


def query(rows: Iterable[Sequence[str | None]], *further: str) -> tuple[ReadPlan, Named]:
    """A query of such rows: study, series, instance as far as they go, and further columns."""
    listed = list(rows)
    width = len(listed[0]) - len(further)
    names = (*_NAMES[:width], *further)
    values = ", ".join(
        "("
        + ", ".join("NULL" if v is None else "'" + v.replace("'", "''") + "'" for v in row)
        + ")"
        for row in listed
    )
    quoted = ", ".join(f'"{name}"' for name in names)
    plan = ReadPlan(f"SELECT * FROM (VALUES {values}) AS t({quoted})")
    return plan, Named(*(*names[:width], "", "")[:3])


@contextmanager
def asking(holder: Holder, parallel: int = 4) -> Iterator[Run]:
    engine = Engine()
    try:
        with running(httpx.MockTransport(holder.handle), parallel) as run:
            run.engine_of = lambda: engine
            yield run
    finally:
        engine.close()


class Out:
    """COPY out of a server into a folder; each run is one of the statement."""

    def __init__(self, base: Path, holder: Holder | None = None) -> None:
        self.folder = base / "out"
        self.journal: Path | None = base / "out.copy.sqlite"
        self.holder = holder if holder is not None else Holder()
        self.notes: list[str] = []
        self.cancel: Callable[[], None] = lambda: None

    def run(
        self,
        rows: Iterable[Sequence[str | None]],
        *further: str,
        parallel: int = 4,
        moves: dict[str, Any] | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """The result's rows, by their paths."""
        plan = RetrievePlan(
            *query(rows, *further), source(**(moves or {})), str(self.folder), **options
        )
        self.report = Report()
        with asking(self.holder, parallel) as run:
            self.cancel = run.cancel.set
            journal = self.journal and Journal.open(self.journal, "out", "there", "here")
            try:
                retrieve(run, plan, self.report, journal or None, Progress())
            finally:
                self.notes = run.statistics.notes
                run.close()
                if journal:
                    journal.close()
        found = [row for b in self.report.result(None).batches() for row in b.to_pylist()]
        return sorted(found, key=lambda row: (row["path"] or "", row["SOPInstanceUID"] or ""))

    def statuses(self, *args: Any, **options: Any) -> dict[str, str]:
        """SOP Instance UID -> status."""
        return {row["SOPInstanceUID"]: row["status"] for row in self.run(*args, **options)}

    def files(self) -> dict[str, bytes]:
        """Everything in the folder, hidden files too, by its path below it."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


def default_files(*contents: bytes) -> dict[str, bytes]:
    """Where the usual layout has these instances."""
    return {"/".join(uids_of(content)) + ".dcm": content for content in contents}
