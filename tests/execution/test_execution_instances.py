"""EXEC and SELECT of methods that answer with instances: what came is checked first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pydicom
import pytest
from execution_bench import STORE, Answer, Bench

from dicomsql.dicom.multipart import OutgoingPart, multipart_content_type, multipart_writer
from dicomsql.errors import IncompleteError

Make = Callable[..., Bench]

FILE = Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small.dcm"
WHOLE = FILE.read_bytes()
HEADER = pydicom.dcmread(FILE, stop_before_pixels=True)
UIDS = {
    "studiesId": str(HEADER.StudyInstanceUID),
    "seriesId": str(HEADER.SeriesInstanceUID),
    "instancesId": str(HEADER.SOPInstanceUID),
}
TYPE = multipart_content_type("an-end")


def parts(*contents: bytes) -> bytes:
    return b"".join(multipart_writer([OutgoingPart(c) for c in contents], "an-end"))


def exec_text(method: str, names: Sequence[str], **changed: str) -> str:
    given = " ".join(f"@{name} = '{(UIDS | changed)[name]}'" for name in names)
    place = " ".join(f"@{condition}" for condition in STORE.split(" AND "))
    return f"EXEC google.healthcare.{method} {place} {given}"


def study(**changed: str) -> str:
    return exec_text("studies_study.retrieve_study", ["studiesId"], **changed)


def instance(**changed: str) -> str:
    return exec_text("instances.retrieve_instance", list(UIDS), **changed)


SELECT = (
    f"SELECT contentType, data FROM google.healthcare.studies_study WHERE {STORE} "
    f"AND studiesId = '{UIDS['studiesId']}'"
)


@pytest.mark.parametrize("text", [study(), SELECT])
def test_a_whole_answer_is_given_with_what_tells_its_parts(make_bench: Make, text: str) -> None:
    body = parts(WHOLE, WHOLE)
    (row,) = make_bench(lambda _: Answer(body, media=TYPE)).rows(text)
    assert row[:2] == (TYPE, body)


def test_an_instance_alone(make_bench: Make) -> None:
    bench = make_bench(lambda _: Answer(WHOLE, media="application/dicom"))
    assert bench.rows(instance())[0][:2] == ("application/dicom", WHOLE)


@pytest.mark.parametrize("text", [study(), SELECT])
@pytest.mark.parametrize(
    ("body", "media", "said"),
    [
        (parts(WHOLE, WHOLE)[:-20], TYPE, "ends before"),
        (parts(WHOLE)[: len(WHOLE) // 2], TYPE, "ends before"),
        (parts(WHOLE, WHOLE[:-60]), TYPE, "not whole"),
        (parts(WHOLE, b"<html>"), TYPE, "no DICOM file"),
        (parts(), TYPE, "no instance"),
        (b"<html>", "text/html", "text/html instead of instances"),
        (b"", "", "no instance"),
    ],
)
def test_what_is_not_whole_is_an_error(
    make_bench: Make, text: str, body: bytes, media: str, said: str
) -> None:
    with pytest.raises(IncompleteError, match=said):
        make_bench(lambda _: Answer(body, media=media)).rows(text)


@pytest.mark.parametrize(
    "text", [study(studiesId="1.2.3"), instance(seriesId="1.2.3"), instance(instancesId="1.2.3")]
)
def test_another_instance_is_an_error(make_bench: Make, text: str) -> None:
    bench = make_bench(lambda _: Answer(WHOLE, media="application/dicom"))
    with pytest.raises(IncompleteError, match="another than the one") as raised:
        bench.rows(text)
    assert "1.2.3" not in str(raised.value)
