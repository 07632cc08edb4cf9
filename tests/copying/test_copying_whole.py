"""What is no whole instance never counts as one, however well its answer is framed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from retrieving_bench import Out, default_files, multipart, of_type
from storing_bench import dicom

A, B, C = (dicom("1", "1.1", f"1.1.{n}", padding=5000) for n in (1, 2, 3))
CUTS = {"cut": A[:3000], "cut in its head": A[:200], "with a page behind it": A + b"<html></html>"}


def zipped(content: bytes) -> httpx.Response:
    headers = {"content-type": "application/dicom", "content-encoding": "gzip"}
    return httpx.Response(200, headers=headers, stream=httpx.ByteStream(content))


FORMS: dict[str, Callable[[bytes], httpx.Response]] = {
    "multipart": multipart,
    "with a length": lambda content: of_type("application/dicom", content),
    "gzip": lambda content: zipped(gzip.compress(content)[:-20]),
}


@pytest.fixture
def out(tmp_path: Path) -> Out:
    return Out(tmp_path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cut", CUTS)
def test_it_is_asked_for_again_and_then_fails(out: Out, form: str, cut: str) -> None:
    out.holder.keep(A)
    out.holder.gives("/studies/1/", *[lambda: FORMS[form](CUTS[cut])] * 4)
    (row,) = out.run([("1", "1.1", "1.1.1")])
    assert (row["status"], row["bytes"]) == ("failed", None)
    assert "asked for 4 times" in row["reason"]
    assert out.files() == {}
    assert out.statuses([("1", "1.1", "1.1.1")]) == {"1.1.1": "retrieved"}
    assert out.files() == default_files(A)


def test_the_others_of_its_answer_are_taken(out: Out) -> None:
    out.holder.keep(A, B, C)
    out.holder.gives("/series/1.1$", lambda: multipart(A, B[:4000], C))
    assert set(out.statuses([("1",)], parallel=1).values()) == {"retrieved"}
    assert out.holder.fetched() == [
        "/studies/1/series/1.1",
        "/studies/1/series/1.1/instances/1.1.2",
    ]
    assert out.files() == default_files(A, B, C)
