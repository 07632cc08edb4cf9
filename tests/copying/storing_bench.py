"""A small DICOMweb server that does as the test says, and instances to store in it."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import httpx

from dicomsql.catalog.model import Method, MoveMethods, Moves, Parameter
from dicomsql.copying.storer import Stored, Storer
from dicomsql.copying.upload import Part
from dicomsql.dicom import part10
from dicomsql.dicom.multipart import MultipartReader
from dicomsql.execution.run import Limits, Run
from dicomsql.planning.plan import DicomStore
from dicomsql.result import Statistics
from dicomsql.transport.client import Client
from dicomsql.transport.gate import Gate

Key = tuple[str, str, str]
Answer = httpx.Response | Exception
EXISTS = 272
_IDS = {"study": "studiesId", "series": "seriesId", "instance": "instancesId"}


def dicom(study: str, series: str, instance: str, text: str = "a", padding: int = 0) -> bytes:
    """A DICOM file in explicit little endian.

    Args:
        text: PatientID, which makes it another file under the same UIDs.
        padding: bytes of pixels.
    """

    def element(tag: int, vr: str, value: bytes) -> bytes:
        value += (b"\0" if vr in {"UI", "OB"} else b" ") * (len(value) % 2)
        head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
        long = vr in {"OB", "OW", "UN", "SQ"}
        return (
            head + struct.pack("<HI" if long else "<H", *((0,) if long else ()), len(value)) + value
        )

    sop_class = b"1.2.840.10008.5.1.4.1.1.7"
    meta = element(0x00020002, "UI", sop_class)
    meta += element(0x00020003, "UI", instance.encode())
    meta += element(0x00020010, "UI", b"1.2.840.10008.1.2.1")
    body = element(0x00080016, "UI", sop_class)
    body += element(0x00080018, "UI", instance.encode())
    body += element(0x00100020, "LO", text.encode())
    body += element(0x0020000D, "UI", study.encode())
    body += element(0x0020000E, "UI", series.encode())
    if padding:
        body += element(0x7FE00010, "OB", bytes(padding))
    group = element(0x00020000, "UL", struct.pack("<I", len(meta)))
    return bytes(128) + b"DICM" + group + meta + body


def uids_of(content: bytes) -> Key:
    """Study, series and instance of a file."""
    dataset = part10.read(content).dataset
    study, series, instance = (
        part10.text(dataset, tag) for tag in ("0020000D", "0020000E", "00080018")
    )
    return study, series, instance


def part(content: bytes, pieces: Callable[[], Iterable[bytes]] | None = None) -> Part:
    """A file in memory as a part; `pieces` gives its bytes where they are not just those."""
    return Part(*uids_of(content), open=pieces or (lambda: iter([content])), size=len(content))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Received:
    """A request that came."""

    method: str
    path: str
    media: str
    length: str
    files: tuple[bytes, ...] = ()


@dataclass
class Server:
    """Stores what it gets, or answers as told.

    Attributes:
        tells: it refuses other bytes under UIDs that it has; else it says "stored" and keeps its
            own, as Orthanc does.
        answers: for the next store requests, one each: gives an answer, or None for the usual.
        next: the same for other methods, by method.
    """

    tells: bool = True
    overwrites: bool = False
    as_xml: bool = False
    single: bool = False
    kept: dict[Key, bytes] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    answers: list[Callable[[tuple[bytes, ...]], Answer | None]] = field(default_factory=list)
    next: dict[str, list[Callable[[], Answer | None]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def stores(self) -> list[Received]:
        return [r for r in self.received if r.method == "POST"]

    def paths(self, method: str) -> list[str]:
        return [r.path for r in self.received if r.method == method]

    def keep(self, *contents: bytes) -> None:
        for content in contents:
            self.kept[uids_of(content)] = content

    def handle(self, request: httpx.Request) -> httpx.Response:
        media = request.headers.get("content-type", "")
        length = request.headers.get("content-length", "")
        # Reading raises what the body raises.
        body = request.read()
        files = tuple(_files(media, body)) if request.method in {"POST", "PUT"} else ()
        path = request.url.raw_path.decode()
        with self.lock:
            self.received.append(Received(request.method, path, media, length, files))
            given: Answer | None = None
            if request.method == "POST" and self.answers:
                given = self.answers.pop(0)(files)
            elif self.next.get(request.method):
                given = self.next[request.method].pop(0)()
            if isinstance(given, Exception):
                raise given
            return given if given is not None else self._usual(request.method, path, files)

    def _usual(self, method: str, path: str, files: tuple[bytes, ...]) -> httpx.Response:
        if method in {"POST", "PUT"}:
            return self.store(files, overwrite=method == "PUT")
        found = re.fullmatch(
            r"/studies/([^/]+)/series/([^/]+)/instances(?:/([^/?]+))?(?:\?SOPInstanceUID=(.+))?",
            path,
        )
        assert found, path
        study, series, instance, wanted = found.groups()
        if instance is None:
            rows = [
                {"00080018": {"vr": "UI", "Value": [key[2]]}}
                for key in self.kept
                if key[:2] == (study, series) and wanted in {None, key[2]}
            ]
            return httpx.Response(200, json=rows) if rows else httpx.Response(204)
        key = (study, series, instance)
        if key not in self.kept:
            return httpx.Response(404)
        if method == "DELETE":
            del self.kept[key]
            return httpx.Response(200, json={})
        return httpx.Response(
            200, content=self.kept[key], headers={"content-type": "application/dicom"}
        )

    def store(self, files: tuple[bytes, ...], *, overwrite: bool = False) -> httpx.Response:
        """Store files, and the answer about each."""
        said: list[tuple[str, int | None]] = []
        for content in files:
            key = uids_of(content)
            if overwrite or key not in self.kept:
                self.kept[key] = content
            conflict = self.tells and self.kept[key] != content
            said.append((key[2], EXISTS if conflict else None))
        return self.answer(said)

    def answer(
        self,
        said: Iterable[tuple[str, int | None]],
        *,
        warnings: dict[str, int] | None = None,
        status: int | None = None,
    ) -> httpx.Response:
        """An answer about instances: UID, and FailureReason where it was not stored."""
        said = list(said)
        dataset: dict[str, Any] = {}
        failed = [
            {
                **({"00081155": _value("UI", uid)} if uid else {}),
                "00081197": _value("US", reason),
                "00090097": _value("LT", "no luck with 1.2.3.4.5.6.7"),
            }
            for uid, reason in said
            if reason is not None
        ]
        stored = [
            {
                "00081155": _value("UI", uid),
                **({"00081196": _value("US", w)} if (w := (warnings or {}).get(uid)) else {}),
            }
            for uid, reason in said
            if reason is None
        ]
        if failed:
            dataset["00081198"] = {"vr": "SQ", "Value": failed}
        if stored:
            dataset["00081199"] = {"vr": "SQ", "Value": stored}
        status = status or (200 if not failed else 202 if stored else 409)
        if self.as_xml:
            space = ' xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"'
            content = f"<NativeDicomModel{space}>{_xml(dataset)}</NativeDicomModel>"
            return httpx.Response(
                status, text=content, headers={"content-type": "application/dicom+xml"}
            )
        return httpx.Response(status, json=dataset)


def _value(vr: str, value: object) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _xml(dataset: dict[str, Any]) -> str:
    text = ""
    for tag, element in dataset.items():
        text += f'<DicomAttribute tag="{tag}" vr="{element["vr"]}">'
        for n, value in enumerate(element["Value"], 1):
            inner = _xml(value) if isinstance(value, dict) else escape(str(value))
            kind = "Item" if isinstance(value, dict) else "Value"
            text += f'<{kind} number="{n}">{inner}</{kind}>'
        text += "</DicomAttribute>"
    return text


def _files(media: str, body: bytes) -> Iterator[bytes]:
    if media == "application/dicom":
        yield body
        return
    for incoming in MultipartReader(media, [body]):
        yield incoming.read()


def cut(content: bytes) -> httpx.Response:
    """An answer that breaks off in the middle."""

    def pieces() -> Iterator[bytes]:
        yield content[: len(content) // 2]
        raise httpx.RemoteProtocolError("the connection ended before the answer did")

    return httpx.Response(200, content=pieces())


def moves(server: Server, *, prefix: str = "", replace: bool = False) -> MoveMethods:
    """The methods of such a server, as a provider document names them."""

    def method(name: str, verb: str, path: str, accept: str = "application/dicom+json") -> Method:
        taken = re.findall(r"{(\w+)}", path)
        return Method(
            *("test", "web", "instances", name, "exec", verb, prefix + path),
            parameters=tuple(Parameter(n, "path", required=True) for n in taken),
            accept=accept,
        )

    series = "/studies/{studiesId}/series/{seriesId}"
    instance = series + "/instances/{instancesId}"
    file = "application/dicom; transfer-syntax=*"
    return MoveMethods(
        Moves(
            single=server.single,
            tells_conflicts=server.tells,
            exists=(EXISTS,) if server.tells else (),
        ),
        store=method("store", "POST", "/studies"),
        store_in_study=method("store_in_study", "POST", "/studies/{studiesId}"),
        replace=method("update", "PUT", "/studies") if replace else None,
        delete=method("delete", "DELETE", instance),
        instance=method("retrieve", "GET", instance, file),
        search=(("instance", method("search", "GET", series + "/instances")),),
        ids=tuple(_IDS.items()),
    )


def target(server: Server, *, replace: bool = False) -> DicomStore:
    return DicomStore("test.web.instances", "http://server", moves(server, replace=replace))


@contextmanager
def running(transport: httpx.BaseTransport, parallel: int = 4) -> Iterator[Run]:
    """A statement that runs over a transport; nothing waits between attempts."""
    cancel = threading.Event()
    with (
        httpx.Client(transport=transport) as http,
        Client(http, cancel=cancel, wait=lambda _: None, parallel=1000) as client,
    ):
        run = Run(
            client,
            engine_of=lambda: None,  # type: ignore[arg-type,return-value]
            gate=Gate.closed(),
            limits=Limits(parallel=parallel),
            statistics=Statistics(),
            cancel=cancel,
            abort=client.abort,
        )
        try:
            yield run
        finally:
            run.close()


@contextmanager
def serving(server: Server, parallel: int = 4) -> Iterator[Run]:
    with running(httpx.MockTransport(server.handle), parallel) as run:
        yield run


def stored(storer: Storer, *parts: Part) -> list[Stored]:
    """What becomes of parts, in their order, once all is known."""
    found = {part.instance: result for some in storer.store_parts(parts) for part, result in some}
    return [found[part.instance] for part in parts]


def write(folder: Path, **contents: bytes) -> None:
    """Files of a folder, by their names without `.dcm`."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.dcm").write_bytes(content)


def dataset_of(response: httpx.Response) -> Any:
    """The DICOM JSON of an answer."""
    return json.loads(response.content)
