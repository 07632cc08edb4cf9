"""A small made hospital in an emulator in process, and the same rows as plain tables of DuckDB."""

from __future__ import annotations

import datetime
import io
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicomsql.config import Settings
from dicomsql.planning.plan import ExplainPlan, WritePlan
from dicomsql.planning.read_plan import ReadPlan
from dicomsql.session import Session

# What the tables of the oracle hold: the columns of each level, with the engine's types.
STUDY = {
    "StudyInstanceUID": "VARCHAR",
    "PatientID": "VARCHAR",
    "PatientName": "VARCHAR",
    "PatientSex": "VARCHAR",
    "AccessionNumber": "VARCHAR",
    "StudyDate": "DATE",
    "StudyTime": "TIME",
    "StudyDescription": "VARCHAR",
}
SERIES = {
    "StudyInstanceUID": "VARCHAR",
    "SeriesInstanceUID": "VARCHAR",
    "Modality": "VARCHAR",
    "SeriesNumber": "BIGINT",
    "BodyPartExamined": "VARCHAR",
    "PatientID": "VARCHAR",
    "StudyDate": "DATE",
}
INSTANCE = {
    "StudyInstanceUID": "VARCHAR",
    "SeriesInstanceUID": "VARCHAR",
    "SOPInstanceUID": "VARCHAR",
    "InstanceNumber": "BIGINT",
    "Rows": "BIGINT",
    "SliceThickness": "DOUBLE",
    "ImageType": "VARCHAR[]",
    "Modality": "VARCHAR",
    "PatientID": "VARCHAR",
    "StudyDate": "DATE",
    "StudyDescription": "VARCHAR",
}


@dataclass
class Corpus:
    """Made instances, and the rows that the three searches have to give for them."""

    files: list[bytes] = field(default_factory=list)
    studies: dict[str, dict[str, Any]] = field(default_factory=dict)
    series: dict[str, dict[str, Any]] = field(default_factory=dict)
    instances: dict[str, dict[str, Any]] = field(default_factory=dict)

    def tables(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the rows plain tables called studies, series and instances."""
        for name, columns, rows in (
            ("studies", STUDY, self.studies),
            ("series", SERIES, self.series),
            ("instances", INSTANCE, self.instances),
        ):
            listed = ", ".join(f'"{c}" {t}' for c, t in columns.items())
            connection.execute(f"CREATE TABLE {name} ({listed})")
            for row in rows.values():
                marks = ", ".join("?" for _ in columns)
                values = [row.get(c) for c in columns]
                connection.execute(f"INSERT INTO {name} VALUES ({marks})", values)


def make_corpus() -> Corpus:
    """Twelve studies of eight patients, some without a date, an accession or a description."""
    chance = random.Random(20260131)
    corpus = Corpus()
    patients = ["00123", "123", "P-3", "P 4", "P*5", "p-3", "O'Neil", "00900"]
    for s in range(12):
        study: dict[str, Any] = {
            "StudyInstanceUID": f"1.2.{s + 1}",
            "PatientID": patients[s % len(patients)],
            "PatientName": ["Smith^Ann", "Smythe^Bo", "Müller^Eva", "O'Neil^Pat"][s % 4],
            "PatientSex": [None, "F", "M"][s % 3],
            "AccessionNumber": None if s % 5 == 0 else f"A{s:03}",
            "StudyDate": None if s == 7 else datetime.date(2026, 1 + s % 3, 1 + 2 * s),
            "StudyTime": None if s % 4 == 0 else datetime.time(8 + s, 30),
            "StudyDescription": None if s % 2 else f"Study number {s}",
        }
        corpus.studies[study["StudyInstanceUID"]] = study
        for r in range(1 + s % 3):
            series = {
                **study,
                "SeriesInstanceUID": f"{study['StudyInstanceUID']}.{r + 1}",
                "Modality": ["CT", "MR", "SR"][(s + r) % 3],
                "SeriesNumber": None if (s + r) % 7 == 0 else r + 1,
                "BodyPartExamined": chance.choice([None, "HEAD", "CHEST"]),
            }
            corpus.series[series["SeriesInstanceUID"]] = series
            for i in range(1 + (s + r) % 4):
                instance = {
                    **series,
                    "SOPInstanceUID": f"{series['SeriesInstanceUID']}.{i + 1}",
                    "InstanceNumber": i + 1,
                    "Rows": chance.choice([1, 2, 512]),
                    "SliceThickness": chance.choice([None, 0.5, 1.25]),
                    "ImageType": chance.choice(
                        [None, ["ORIGINAL", "PRIMARY"], ["DERIVED", "SECONDARY", "AXIAL"]]
                    ),
                }
                corpus.instances[instance["SOPInstanceUID"]] = instance
                corpus.files.append(part10(instance))
    return corpus


def part10(attributes: dict[str, Any]) -> bytes:
    """A DICOM file with these attributes by keyword."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in attributes.items():
        if isinstance(value, datetime.date | datetime.time):
            form = "%Y%m%d" if isinstance(value, datetime.date) else "%H%M%S"
            setattr(dataset, keyword, value.strftime(form))
        elif value is not None:
            setattr(dataset, keyword, value)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


Rows = list[tuple[Any, ...]]


class Hospital:
    """A session on the emulator: SQL in, rows or plans out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = Settings(
            local=root, project="p", location="us-central1", dataset="ds", dicom_store="main"
        )
        self.session = Session(self.settings)

    def rows(self, sql: str, parameters: Any = None, **settings: Any) -> Rows:
        """All rows of the last of the statements, as Python values."""
        session = self.session
        if settings:
            session = Session(replace(self.settings, **settings))
        try:
            found: Rows = []
            for statement in session.parse(sql):
                result = session.execute(statement, parameters)
                found = [row for batch in result.batches() for row in _tuples(batch)]
            return found
        finally:
            if session is not self.session:
                session.close()

    def plan(self, sql: str, parameters: Any = None) -> Any:
        """The plan of one statement."""
        (statement,) = self.session.parse(sql)
        return self.session.plan(statement, parameters)

    def requests(self, sql: str, parameters: Any = None) -> int:
        """How many requests a statement makes."""
        (statement,) = self.session.parse(sql)
        result = self.session.execute(statement, parameters)
        for _ in result.batches():
            pass
        return result.statistics.requests


def _tuples(batch: Any) -> Rows:
    columns = [column.to_pylist() for column in batch.columns]
    return list(zip(*columns, strict=True))


def store(hospital: Hospital, files: list[bytes], name: str) -> None:
    """Store files in a DICOM store."""
    path = hospital.root.parent / "stored.dcm"
    for file in files:
        path.write_bytes(file)
        hospital.rows(
            "EXEC google.healthcare.dicom_stores.store_instances @dicomStoresId = ? @@file = ?",
            [name, str(path)],
        )


def compact(plan: Any) -> list[str]:
    """A plan in a few short lines; what every plan over one store repeats is left out."""
    if isinstance(plan, ExplainPlan):
        return compact(plan.plan)
    lines: list[str] = []
    if isinstance(plan, WritePlan):
        if plan.source is not None:
            lines += compact(plan.source)
        parts = [f"{plan.verb} {_short(plan.method)}", *_constants(plan.constants)]
        parts += [f"{'.'.join(f.path)} := {f.where}" for f in plan.fields]
        parts += [f"mask {','.join(plan.mask)}"] if plan.mask else []
        parts += [f"json {plan.body}"] if plan.body is not None else []
        parts += [f"file {plan.file}"] if plan.file else []
        parts += ["rows first"] if plan.queried else []
        parts += [f"gives {' '.join(plan.returning.split())}"] if plan.returning else []
        parts += ["awaited"] if plan.wait else []
        return [*lines, " | ".join(parts)]
    if not isinstance(plan, ReadPlan):
        return [type(plan).__name__]
    for scan in plan.scans:
        parts = [f"{scan.alias}: {_short(scan.method)}", *_constants(scan.constants)]
        parts += [
            f"{','.join(b.parameters)} <- {f'{b.together} of ' if b.together > 1 else ''}{b.sql}"
            for b in scan.binds
        ]
        parts += [f"or {scan.walk.name} above {scan.walk_above}"] if scan.walk else []
        parts += [f"push {_filter(f)}" for f in scan.filters]
        parts += [f"either {' & '.join(map(_filter, both))}" for both in scan.alternatives]
        parts += [f"limit {scan.limit}"] if scan.limit is not None else []
        parts += [] if scan.shape == "rows" else [str(scan.shape)]
        parts += [f"newest {plan.windows.enough}"] if plan.windows else []
        lines.append(" | ".join(parts))
    values = ", ".join(f"{k}={v!r}" for k, v in plan.values)
    lines.append(" ".join(plan.sql.split()) + (f"  [{values}]" if values else ""))
    lines += [f"guard {name}" for _, name in plan.guards]
    for scan in plan.pictures:
        limit = f" | limit {scan.limit}" if scan.limit is not None else ""
        lines.append(f"then {scan.name}: {_short(scan.method)}{limit}")
    return lines


def _filter(pushed: Any) -> str:
    return f"{pushed.name} {'/'.join(pushed.values) or 'nothing'}"


def _short(method: Any) -> str:
    return f"{method.resource}.{method.name}"


def _constants(constants: Any) -> list[str]:
    return [
        f"{c.parameter} = {'/'.join(c.values) or 'nothing'}"
        + (f" ({c.origin})" if c.origin == "query" else "")
        for c in constants
        if c.origin != "session"
    ]
