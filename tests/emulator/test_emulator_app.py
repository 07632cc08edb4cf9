"""The seams: multipart bodies however they are cut, the log, URLs in answers, lazy imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dicomsql.emulator import multipart
from dicomsql.emulator.status import StatusError

BODY = (
    b"preamble\r\n--b\r\nContent-Type: application/dicom\r\nX: 1\r\n\r\none\r\n"
    b"--b\r\n\r\n\r\n--b  \r\nContent-Type: text/plain\r\n\r\nt\r\n--\r\nwo\r\n--b--\r\nafter"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_parts_however_the_body_is_cut(size: int) -> None:
    chunks = iter([BODY[i : i + size] for i in range(0, len(BODY), size)])
    found = [(dict(p.headers), b"".join(p.body)) for p in multipart.parts(chunks, "b")]
    assert found == [
        ({"content-type": "application/dicom", "x": "1"}, b"one"),
        ({}, b""),
        ({"content-type": "text/plain"}, b"t\r\n--\r\nwo"),
    ]


def test_a_part_that_is_left_unread_is_passed_over() -> None:
    assert [p.headers.get("x") for p in multipart.parts(iter([BODY]), "b")] == ["1", None, None]


@pytest.mark.parametrize("length", [0, 20, 60, 70, len(BODY) - 10])
def test_a_body_that_ends_early(length: int) -> None:
    with pytest.raises(StatusError, match="ends before"):
        for part in multipart.parts(iter([BODY[:length]]), "b"):
            b"".join(part.body)


def test_accept_headers() -> None:
    accepted = multipart.accepted('image/png;q=0.5, multipart/related; type="a/b;c,d", text/*;q=0')
    assert accepted == [("multipart/related", {"type": "a/b;c,d"}), ("image/png", {})]
    assert multipart.accepted("") == [("*/*", {})]


def test_the_log_and_the_urls(tmp_path: Path, open_emulator: Any, make_dicom: Any) -> None:
    lines: list[str] = []
    options = {"log": lines.append, "base_url": "https://public.example/"}
    with open_emulator(tmp_path / "root", **options) as client:
        client.prepare()
        answer = client.stow([make_dicom()])
        client.get("/v1/projects/p/locations", params={"Doe^John": "x", "pageSize": "1"})
        client.get("/v3")
    assert "https://public.example/v1/projects/p/locations/us-central1/datasets/d" in answer.text
    assert [line.rsplit(" ", 2)[0] for line in lines[2:]] == [
        "POST /v1/projects/{project}/locations/{location}/datasets/{dataset}/dicomStores/{store}"
        "/dicomWeb/studies 200",
        "GET /v1/projects/{project}/locations?(other)&pageSize 400",
        "GET (unknown) 404",
    ]


def test_what_the_application_imports() -> None:
    # the package's own face is loaded before any of its parts, and is none of the emulator's doing
    code = (
        "import sys, dicomsql; before = set(sys.modules); import dicomsql.emulator.app;"
        "print(*set(sys.modules) - before)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "starlette.applications" in loaded
    assert not {"pydicom", "numpy", "PIL", "uvicorn", "httpx"} & set(loaded)
    ours = {name for name in loaded if name.startswith("dicomsql.")}
    reader = {"dicomsql.dicom", *(f"dicomsql.dicom.{x}" for x in ("charset", "part10", "tags"))}
    assert all(name.startswith("dicomsql.emulator") for name in ours - reader)
