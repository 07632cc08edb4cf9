"""EXPLAIN of questions that people ask: what is called, pushed, left, why, and what it takes."""

from __future__ import annotations

import json
import re

import pytest
from planning_hospital import Hospital

HERE = "google.healthcare."
ONE = "ESTIMATE  1 request"
MORE = "ESTIMATE  at least 1 request; how many more depends on the rows that are found"
PAGES = "  pages   of up to 5,000 by limit and offset, all of them, side by side"
NARROWER = "  else    one walk of GET …/series where there are several"

# What every one of them has, and what each has of its own.
ALWAYS = ("READ  ", "  call    GET ", "  with    ", "  pages ", "  calls ", "  bytes ", "  rows ")
QUESTIONS = [
    ("SELECT StudyDate FROM @studies WHERE PatientID = 'SECRET'",
     ["  pushed  PatientID (exact) = …; checked again", PAGES, "  checks  PatientID = …", MORE]),
    ("SELECT PatientID FROM @studies WHERE StudyInstanceUID = '1.2.77'",
     ["  doubts  PatientID: where no row that comes first has a value, looked up in the metadata "
      "of one row, by up to 4 calls",
      "  calls   at least 1, at most 5", "  bytes   at most about 600 bytes",
      "ESTIMATE  at least 1 request, at most 5; at most about 600 bytes",
      "  rows    PatientID, StudyInstanceUID; used while they arrive"]),
    ("SELECT StudyTime FROM @studies WHERE StudyDate BETWEEN '2019-02-01' AND '2019-05-01'",
     ["  pushed  StudyDate between … and …; checked again"]),
    ("SELECT StudyTime FROM @studies WHERE StudyDate < '2019-02-01'",
     ["  pushed  StudyDate up to …; checked again"]),
    ("SELECT Modality FROM @series WHERE StudyInstanceUID IN (SELECT StudyInstanceUID "
     "FROM @studies WHERE PatientID = 'SECRET')",
     ["  bound   studiesId to each value of the subquery",
      "  calls   none for certain, one for each bound row"]),
    ("SELECT s.StudyTime FROM (VALUES ('1.2.77')) c(PatientID) JOIN @studies s USING (PatientID)",
     ["  bound   PatientID to each c.PatientID", "ENGINE  runs the query over 1 table",
      "  nothing is left to check",
      "ESTIMATE  no request is certain; how many there are depends on the rows that are found"]),
    ("SELECT a.Modality FROM @series a JOIN @series b ON a.SeriesNumber > b.SeriesNumber + 1",
     ["  rows    Modality, SeriesNumber; used while they arrive"]),
    ("SELECT SeriesDescription FROM @series WHERE Modality = 'CT' AND StudyDate >= '2019-02-01'",
     ["  pushed  Modality (exact) = …; checked again",
      "  pushed  StudyDate from …; checked again"]),
    ("SELECT Modality, count(*) FROM @instances GROUP BY Modality",
     ["READ  google.healthcare.series AS instances",
      "  why     the query names nothing below the series, so the instances are counted from the "
      "series by their NumberOfSeriesRelatedInstances"]),
    ("SELECT DISTINCT PatientID FROM @series",
     ["READ  google.healthcare.studies AS series",
      "  why     the query names nothing below the study, so the studies are read"]),
    ("SELECT PatientID FROM @studies WHERE StudyDescription ILIKE '%secret%'",
     ["  why     the server can check none of the conditions on it, so all its rows are read"]),
    ("SELECT e.Modality FROM @studies s JOIN @series e USING (StudyInstanceUID) "
     "WHERE s.PatientID = 'SECRET'",
     ["  bound   studiesId to each s.StudyInstanceUID", NARROWER]),
    ("SELECT PatientName FROM @studies ORDER BY StudyDate DESC LIMIT 10",
     ["  newest  7 growing ranges of StudyDate, the latest first, until the query has 10 rows",
      "          then all, for what has no StudyDate"]),
    ("SELECT Modality FROM @series WHERE Modality = 'CT' OR StudyDate > '2019-02-01'",
     ["  union   of 2 searches, each row once", "  or      Modality (exact) = …; checked again",
      "  calls   at least 2, one more for each further 5,000 rows"]),
    ("SELECT * FROM @studies LIMIT 12000",
     ["  pages   of up to 5,000 by limit and offset, until 12,000 rows are there",
      "  calls   at least 1, at most 7", "ESTIMATE  at least 1 request, at most 7; at most"]),
    ("SELECT KVP FROM @series_metadata WHERE studiesId = '1.2.77' AND seriesId = '1.2.77.1'",
     ["  with    studiesId = …, seriesId = … (from the statement)", "  pages   one",
      "  bytes   about 12.0 kB a row", ONE]),
    ("SELECT studyCount FROM @dicom_store_metrics",
     ["ENGINE  is not needed: the rows are the result", "ESTIMATE  1 request; at most about"]),
    ("SELECT s.PatientID FROM @studies s WHERE NOT EXISTS (SELECT 1 FROM @series e "
     "WHERE e.StudyInstanceUID = s.StudyInstanceUID AND e.Modality = 'SR')",
     ["ENGINE  runs the query over 2 tables",
      "  checks  NOT EXISTS(SELECT … FROM google.healthcare.series AS e WHERE "
      "e.StudyInstanceUID = s.StudyInstanceUID AND e.Modality = …)"]),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), QUESTIONS)
def test_a_question_reads_well(hospital: Hospital, sql: str, expected: list[str]) -> None:
    lines = [line for (line,) in hospital.rows("EXPLAIN " + sql.replace("@", HERE))]
    for wanted in (*ALWAYS, *expected):
        assert any(line.startswith(wanted) for line in lines), wanted
    text = "\n".join(lines)
    assert not [s for s in ("SECRET", "secret", "1.2.77", "2019", "'CT'") if s in text]


def test_the_document_says_what_the_lines_say(hospital: Hospital) -> None:
    sql = (
        "EXPLAIN (FORMAT json) SELECT PatientID FROM @studies WHERE StudyDate > '2019-02-01' "
        "ORDER BY StudyDate DESC LIMIT 3"
    )
    ((text,),) = hospital.rows(sql.replace("@", HERE))
    plan = json.loads(text)
    assert plan["estimate"] == {"requests": {"least": 1, "most": None}, "bytes": {"most": None}}
    assert plan["scans"][0]["estimate"]["requests"]["least"] == 1
    assert plan["windows"]["attribute"] == "StudyDate"
    assert set(plan["windows"]["ranges"]) == {"…"}
    assert "2019" not in text


def test_what_it_took_stands_beside_the_estimate(hospital: Hospital) -> None:
    sql = "EXPLAIN ANALYZE SELECT count(*) AS n FROM @series".replace("@", HERE)
    lines = [line for (line,) in hospital.rows(sql)]
    assert MORE in lines
    assert "  requests  1" in lines
    read = "  read      google.healthcare.studies AS series: 1 request, 12 rows, "
    assert [line.startswith(read) for line in lines].count(True) == 1
    assert any(line.startswith("RAN  1 row in ") for line in lines)


def test_what_was_decided_on_the_way_is_told(hospital: Hospital) -> None:
    def read(sql: str) -> list[str]:
        lines = [line for (line,) in hospital.rows("EXPLAIN ANALYZE " + sql.replace("@", HERE))]
        assert not [s for s in ("SECRET", "2016", "1.2.77") if s in "\n".join(lines)]
        at = next(i for i, line in enumerate(lines) if line.startswith("  read "))
        return lines[at:]

    some = "SELECT s.StudyTime FROM ({}) c(PatientID) JOIN @studies s USING (PatientID)"
    few = read(some.format("VALUES ('1.2.77'), ('SECRET')"))
    assert few[0].startswith("  read      google.healthcare.studies AS s: ")
    assert " in place of " in few[1]
    many = read(some.format("SELECT 'SECRET' || i FROM range(200) t(i)"))
    assert many[1] == (
        "            one walk in place of 200 bound calls, as the metrics tell of 12 rows of "
        "the walk"
    )
    special = read(some.format("VALUES ('SECRET*')"))
    assert special[1:] == ["            one walk, as some of the values cannot be searched for"]
    newest = read("SELECT StudyTime FROM @studies ORDER BY StudyDate DESC LIMIT 2")
    # How many depends on the day.
    assert re.fullmatch(r" +[1-7] of 7 ranges of StudyDate were searched", newest[1])
    beyond = read("SELECT StudyTime FROM @studies ORDER BY StudyDate DESC LIMIT 100")
    assert beyond[1] == "            all were searched, as no range had enough"


def test_a_note_is_told_once(hospital: Hospital) -> None:
    hospital.rows("SET approximate_counts = true")
    try:
        told = hospital.rows(f"EXPLAIN ANALYZE SELECT count(*) FROM {HERE}studies")
    finally:
        hospital.rows("RESET approximate_counts")
    assert sum("may lag" in line for (line,) in told) == 1


def test_a_document_of_what_ran_has_its_cost(hospital: Hospital) -> None:
    sql = f"EXPLAIN (ANALYZE, FORMAT json) SELECT StudyTime FROM {HERE}studies LIMIT 3"
    ((text,),) = hospital.rows(sql)
    ran = json.loads(text)["ran"]
    assert (ran["rows"], ran["requests"]) == (3, 1)
    assert [(s["resource"], s["requests"], s["rows"]) for s in ran["scans"]] == [
        ("google.healthcare.studies", 1, 3)
    ]
