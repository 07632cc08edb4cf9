"""What notebooks show of a cursor."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import dicomsql
from dicomsql.dbapi.stream import Stream
from dicomsql.result import Result, ResultColumn
from dicomsql.session.turns import Turn

PLACE = {"project": "p", "location": "us-central1", "dataset": "d", "dicom_store": "s"}


@pytest.fixture
def cursor(filled_root: Path) -> Iterator[dicomsql.Cursor]:
    with dicomsql.connect(local=filled_root, **PLACE) as connection:
        yield connection.cursor()


def shown(cursor: dicomsql.Cursor, kind: str = "text/html") -> str:
    return cursor._repr_mimebundle_()[kind]


def test_rows_and_types_are_shown_and_stay_to_be_fetched(cursor: dicomsql.Cursor) -> None:
    cursor.execute(
        "SELECT PatientID, StudyDate, NULL AS none, '<script>' AS \"<b>\" "
        "FROM google.healthcare.studies WHERE PatientID IN ('4MR1', '1CT1') ORDER BY PatientID"
    )
    html = shown(cursor)
    assert re.findall(r"<th>(.*?)<br><small>(.*?)</small></th>", html)[:2] == [
        ("PatientID", "VARCHAR"),
        ("StudyDate", "DATE"),
    ]
    assert re.findall(r"<td[^>]*>(.*?)</td>", html)[:4] == [
        *("1CT1", "2004-01-19", "<small>NULL</small>", "&lt;script&gt;")
    ]
    assert "<th>&lt;b&gt;<br>" in html
    assert "<script>" not in html
    assert html.endswith("<p>2 rows.</p>")
    assert "1CT1      | 2004-01-19 | NULL | <script>" in shown(cursor, "text/plain")
    assert cursor.rownumber == 0
    assert [row[0] for row in cursor.fetchall()] == ["1CT1", "4MR1"]
    assert shown(cursor).endswith("<p>0 rows, after 2 that were fetched.</p>")


def test_more_than_is_seen_is_not_shown_but_said(cursor: dicomsql.Cursor) -> None:
    cursor.execute("SELECT i, repeat('z', 1000) AS long FROM range(300000) AS r(i)")
    cursor.fetchmany(5)
    html = shown(cursor)
    assert html.count("<tr>") == 21
    assert re.findall(r"<td[^>]*>(\d+)</td>", html) == [str(i) for i in range(5, 25)]
    assert "The next 20 rows; there are more, after 5 that were fetched." in html
    assert "Long values are cut." in html
    assert len(html) < 10_000
    assert cursor.fetchone()[0] == 5  # type: ignore[index]
    assert cursor.fetch_arrow_table().num_rows == 299_994
    wide = ", ".join(f"{i} AS c{i}" for i in range(60))
    assert "10 columns are left out: c50, c51" in shown(cursor.execute(f"SELECT {wide}"))


@pytest.mark.parametrize("way", ["rows", "arrow", "reader"])
def test_looking_changes_nothing_of_what_is_fetched(cursor: dicomsql.Cursor, way: str) -> None:
    def fetched() -> list[int]:
        if way == "rows":
            return [row[0] for row in cursor.fetchall()]
        if way == "arrow":
            return list(cursor.fetch_arrow_table()["i"].to_pylist())
        return [i for batch in cursor.fetch_record_batch() for i in batch["i"].to_pylist()]

    many = "SELECT i FROM range(300000) AS r(i)"
    cursor.execute(many)
    shown(cursor)
    assert cursor.fetchone() == (0,)
    shown(cursor)
    assert fetched() == list(range(1, 300_000))
    assert fetched() == []


def test_pictures_are_shown(cursor: dicomsql.Cursor) -> None:
    cursor.execute(
        "SELECT data FROM google.healthcare.instances_rendered AS r "
        "JOIN google.healthcare.instances AS i ON r.studiesId = i.StudyInstanceUID "
        "AND r.seriesId = i.SeriesInstanceUID AND r.instancesId = i.SOPInstanceUID "
        "WHERE i.PatientID = '1CT1'"
    )
    html = shown(cursor)
    found = re.search(r'<img src="data:image/(\w+);base64,([^"]+)"', html)
    assert found is not None
    rows = cursor.fetchall()
    assert base64.b64decode(found[2]) == rows[0][0]
    assert rows[0][0].startswith({"png": b"\x89PNG", "jpeg": b"\xff\xd8\xff"}[found[1]])


def test_bytes_that_are_no_pictures_and_too_many_pictures_are_told(
    cursor: dicomsql.Cursor,
) -> None:
    # JPEG-LS, which browsers do not show.
    cursor.execute("SELECT ?::BLOB AS a, ?::BLOB AS b", [b"abc", b"\xff\xd8\xff\xf7" + bytes(9)])
    assert re.findall(r"<td[^>]*>(.*?)</td>", shown(cursor)) == ["3 bytes", "13 bytes"]
    large = b"\x89PNG\r\n\x1a\n" + bytes(3_000_000)
    cursor.execute("SELECT ?::BLOB FROM range(3)", [large])
    html = shown(cursor)
    assert html.count("<img") == 2
    assert "1 more picture" in html
    assert "PNG, 3,000,008 bytes" in shown(cursor, "text/plain")
    assert len(shown(cursor, "text/plain")) < 1_000


def test_what_there_was_to_say_is_said(cursor: dicomsql.Cursor) -> None:
    cursor.execute("SELECT TRY_CAST('x' AS INTEGER)")
    assert cursor.statistics is not None
    cursor.statistics.notes.append("1 value of <StudyDate> is no date.")
    assert "1 row. 1 value of &lt;StudyDate&gt; is no date." in shown(cursor)
    cursor.execute("SELECT 1; SELECT 2; SELECT 3")
    assert "nextset goes on to 2 more results." in shown(cursor)


def test_a_cursor_without_rows_says_what_it_did(cursor: dicomsql.Cursor) -> None:
    assert "nothing" in shown(cursor, "text/plain")
    cursor.execute("SET cache = 'off'")
    assert cursor._repr_mimebundle_() == {"text/plain": "Done."}
    cursor.close()
    assert "closed" in shown(cursor, "text/plain")


def test_a_failure_is_raised_and_no_part_is_shown() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": [1, 2]})
        raise dicomsql.OperationalError("the server is gone")

    stream = Stream(Result((ResultColumn("a", "BIGINT"),), batches()), Turn())
    for _ in range(2):
        with pytest.raises(dicomsql.OperationalError, match="gone"):
            stream.peek(3)
    # Who fetches has what came before, as without a look at it.
    assert [stream.one(None), stream.one(None)] == [(1,), (2,)]
    with pytest.raises(dicomsql.OperationalError, match="gone"):
        stream.one(None)
