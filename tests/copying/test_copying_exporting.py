"""Rows to a file: the formats, their options, and what a failure leaves."""

from __future__ import annotations

import gzip
import json
import os
import stat
import threading
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dicomsql.errors import DatabaseError, OperationalError
from dicomsql.planning.plan import ExportPlan
from dicomsql.planning.read_plan import ReadPlan
from dicomsql.result import Result
from dicomsql.session import Session
from dicomsql.session.running import Running

QUERY = "SELECT PatientID, StudyDate FROM google.healthcare.studies ORDER BY PatientID LIMIT 2"
FAILS = "SELECT CAST(v AS INTEGER) FROM (VALUES ('1'), ('x')) t(v)"


def export(session: Session, query: str, path: Path, form: str, **options: str) -> Result:
    """Run COPY (query) TO path."""
    (statement,) = session.parse(query)
    read = session.plan(statement)
    plan = ExportPlan(
        read if isinstance(read, ReadPlan) else ReadPlan(query),
        str(path),
        form,
        tuple(options.items()),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Running, "plan", lambda *_: plan)
        return session.execute(statement)


def test_rows_go_to_a_file_in_its_format(filled: Session, tmp_path: Path) -> None:
    for form in ("parquet", "csv", "tsv", "json", "jsonl", "arrow"):
        path = tmp_path / f"x.{form}"
        result = export(filled, QUERY, path, form)
        assert result.columns is None
        assert (result.affected, result.message) == (2, f"2 rows written to {path}.")
        assert result.statistics.requests >= 1
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rows = [
        tuple(row.values()) for row in pa.ipc.open_file(tmp_path / "x.arrow").read_all().to_pylist()
    ]
    assert len(rows) == 2
    texts = [(i, d.isoformat()) for i, d in rows]
    assert duckdb.sql(f"SELECT * FROM '{tmp_path}/x.parquet'").fetchall() == rows
    assert [tuple(r.values()) for r in json.loads((tmp_path / "x.json").read_text())] == texts
    lines = (tmp_path / "x.jsonl").read_text().splitlines()
    assert [tuple(json.loads(line).values()) for line in lines] == texts
    for name, separator in (("x.csv", ","), ("x.tsv", "\t")):
        found = (tmp_path / name).read_text().splitlines()
        assert [tuple(line.split(separator)) for line in found[1:]] == texts


def test_options_of_the_formats(filled: Session, tmp_path: Path) -> None:
    path = tmp_path / "x"
    query = "SELECT 1 a, NULL b, 'it''s' c"
    given = {"header": "false", "delimiter": ";", "nullstr": "none", "quote": "'", "escape": "'"}
    export(filled, query, path, "csv", **given)
    assert path.read_text() == "1;none;'it''s'\n"
    export(filled, query, path, "jsonl", compression="gzip")
    assert json.loads(gzip.decompress(path.read_bytes())) == {"a": 1, "b": None, "c": "it's"}
    size = {"row_group_size": "2048", "compression": "snappy"}
    export(filled, "SELECT * FROM range(5000)", path, "parquet", **size)
    found = pq.ParquetFile(path).metadata
    assert (found.num_rows, found.num_row_groups) == (5000, 3)
    assert found.row_group(0).column(0).compression == "SNAPPY"
    export(filled, query, path, "parquet")
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_what_fails_leaves_what_was_there(filled: Session, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("before")
    with pytest.raises(DatabaseError):
        export(filled, FAILS, path, "csv")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    for wrong, said in ((tmp_path / "no" / "x.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(OperationalError, match=f"Cannot write .*{said}"):
            export(filled, "SELECT 1", wrong, "csv")


def test_a_link_is_followed_and_a_pipe_is_written_to(filled: Session, tmp_path: Path) -> None:
    real, link, pipe = tmp_path / "real.csv", tmp_path / "link.csv", tmp_path / "pipe"
    real.write_text("before")
    link.symlink_to(real)
    export(filled, "SELECT 1 a", link, "csv")
    assert link.is_symlink()
    assert real.read_text() == "a\n1\n"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    export(filled, "SELECT 1 a", pipe, "csv")
    reader.join()
    assert read == ["a\n1\n"]


def test_a_text_that_looks_like_a_switch_or_a_number_is_a_text(
    filled: Session, tmp_path: Path
) -> None:
    for text in ("true", "12"):
        path = tmp_path / "x.csv"
        export(filled, "SELECT NULL AS a", path, "csv", nullstr=text, header="false")
        assert path.read_text() == f"{text}\n"
    export(filled, "SELECT 1 AS a, 2 AS b", path, "csv", delimiter="0")
    assert path.read_text() == "a0b\n102\n"
