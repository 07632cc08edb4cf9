"""DICOM files into typed rows by pydicom and PS3.5 alone: nothing of the product is used here.

`COLUMNS` says which columns the oracle's tables have at each level and how each is read. A row of a
study or series has what any of its instances says; `Rows.add` refuses a file that says otherwise.
"""

from __future__ import annotations

import datetime
import io
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa
import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

Row = dict[str, Any]
TABLES = ("studies", "series", "instances")
KEYS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")

_UID = re.compile(r"[0-9.]{1,64}")
# PS3.5 6.2: what is one text with its leading spaces, and what is text without them
_WHOLE_TEXT = {"LT", "ST", "UT", "UR"}
_TEXT = {"AE", "AS", "CS", "LO", "SH", "UI", "UC"}
_ARROW = {
    "VARCHAR": pa.string(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us"),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
}


@dataclass(frozen=True)
class Spec:
    """A column: how its name, type and value follow from an attribute.

    Attributes:
        name: of the column, as the product spells it.
        type: as DuckDB spells it.
        read: gives the value from a dataset; None where it is counted, see `Rows.tables`.
        written: the column as a query has to write it, where that is not its name.
    """

    name: str
    type: str
    read: Callable[[Dataset], Any] | None
    written: str = ""

    @property
    def element(self) -> str:
        return self.type.removesuffix("[]")

    @property
    def many(self) -> bool:
        return self.type.endswith("[]")


# -- single values -------------------------------------------------------------------------------


def parse(vr: str, text: str) -> Any:
    """One value of a VR, None where the text is none."""
    if vr == "DA":
        return _date(text)
    if vr == "TM":
        found = re.fullmatch(r"(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6}))?)?)?", text)
        if found is None:
            return None
        h, m, s, f = (int(g) for g in (*(g or 0 for g in found.groups()[:3]), _micros(found[4])))
        return datetime.time(h, m, s, f) if h < 24 and m < 60 and s < 60 else None
    if vr == "DT":
        found = re.fullmatch(
            r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:\.(\d{1,6}))?([+-]\d{4})?", text
        )
        if found is None:
            return None
        y, mo, d, h, mi, s = (
            int(g or least) for g, least in zip(found.groups()[:6], (1, 1, 1, 0, 0, 0), strict=True)
        )
        try:
            return datetime.datetime(y, mo, d, h, mi, s, _micros(found[7]))
        except ValueError:
            return None
    if vr == "IS":
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else None
    if vr == "DS":
        try:
            number = float(text)
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    return text


def _micros(digits: str | None) -> int:
    return int((digits or "0").ljust(6, "0"))


def _date(text: str) -> datetime.date | None:
    try:
        found = datetime.datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return None
    return found.date() if re.fullmatch(r"[0-9]{8}", text) else None


# -- attributes ----------------------------------------------------------------------------------


def texts(dataset: Dataset, keyword: str) -> list[str | None]:
    """The values of an attribute that is written as text, in their order; None for empty ones."""
    vr = dictionary_VR(keyword)
    if keyword not in dataset:
        return []
    if vr in _TEXT | _WHOLE_TEXT | {"PN"}:
        value = dataset[keyword].value
        several = isinstance(value, (list, pydicom.multival.MultiValue))
        found = [str(v) for v in (value if several else [value]) if v is not None]
    else:
        raw = dataset.get_item(tag_for_keyword(keyword) or 0)
        content = raw.value if raw is not None else None
        found = (content or b"").decode("latin-1").split("\\") if isinstance(content, bytes) else []
    strip = str.rstrip if vr in _WHOLE_TEXT or vr == "PN" else str.strip
    stripped = [strip(text, " \0") or None for text in found]
    return stripped if any(stripped) or len(stripped) > 1 else []


def single(keyword: str) -> Callable[[Dataset], Any]:
    """Reads an attribute of one value; of several it is none, but for text, which is joined."""
    vr = dictionary_VR(keyword)

    def read(dataset: Dataset) -> Any:
        if vr in {"US", "FD", "UL", "SS", "SL", "FL"}:
            value = dataset[keyword].value if keyword in dataset else None
            return value if isinstance(value, (int, float)) else None
        found = texts(dataset, keyword)
        if vr in _TEXT | _WHOLE_TEXT:
            return "\\".join(text or "" for text in found) or None
        return parse(vr, found[0]) if len(found) == 1 and found[0] is not None else None

    return read


def several(keyword: str) -> Callable[[Dataset], Any]:
    """Reads an attribute that may have several values."""
    vr = dictionary_VR(keyword)

    def read(dataset: Dataset) -> Any:
        found = texts(dataset, keyword)
        return [None if text is None else parse(vr, text) for text in found] or None

    return read


def raw(keyword: str) -> Callable[[Dataset], Any]:
    """Reads the text of an attribute as it was written."""
    return lambda dataset: "\\".join(text or "" for text in texts(dataset, keyword)) or None


def names(keyword: str, group: str, *, many: bool = False) -> Callable[[Dataset], Any]:
    """Reads a component group of a person's name."""

    def read(dataset: Dataset) -> Any:
        value = dataset[keyword].value if keyword in dataset else None
        if not value:
            return None
        listed = [value] if isinstance(value, (str, PersonName)) else list(value)
        found = [(getattr(PersonName(v), group) or "").rstrip(" \0") or None for v in listed]
        return found if many else (found[0] if len(found) == 1 else None)

    return read


def items(sequence: str, keyword: str) -> Callable[[Dataset], Any]:
    """Reads an attribute of a sequence's items, a list in their order."""

    def read(dataset: Dataset) -> Any:
        found = [single(keyword)(item) for item in dataset.get(sequence) or ()]
        return found or None

    return read


def private(creator: str, group: int, element: int) -> Callable[[Dataset], Any]:
    """Reads an element of the block that a creator reserved."""

    def read(dataset: Dataset) -> Any:
        try:
            value = dataset.private_block(group, creator)[element].value
        except KeyError:
            return None
        return str(value).strip(" \0") or None if not isinstance(value, bytes) else value.decode()

    return read


def _text(*keywords: str) -> list[Spec]:
    return [Spec(k, "VARCHAR", single(k)) for k in keywords]


_TYPES = {"DA": "DATE", "TM": "TIME", "DT": "TIMESTAMP", "IS": "BIGINT", "DS": "DOUBLE"}
_TYPES |= {"US": "BIGINT", "FD": "DOUBLE"}


def _typed(*keywords: str) -> list[Spec]:
    return [Spec(k, _TYPES[dictionary_VR(k)], single(k)) for k in keywords]


def _lists(*keywords: str) -> list[Spec]:
    return [Spec(k, _TYPES.get(dictionary_VR(k), "VARCHAR") + "[]", several(k)) for k in keywords]


def _name(keyword: str) -> list[Spec]:
    return [
        Spec(keyword, "VARCHAR", names(keyword, "alphabetic")),
        Spec(f"{keyword}_Ideographic", "VARCHAR", names(keyword, "ideographic")),
        Spec(f"{keyword}_Phonetic", "VARCHAR", names(keyword, "phonetic")),
    ]


# Attributes by the level that PS3.3 gives them to, each a column of the levels below too.
_STUDY = [
    *_text("StudyInstanceUID", "PatientID", "PatientSex", "AccessionNumber", "StudyID"),
    *_text("StudyDescription", "PatientAge"),
    *_name("PatientName"),
    Spec("ReferringPhysicianName", "VARCHAR", names("ReferringPhysicianName", "alphabetic")),
    Spec("OtherPatientNames", "VARCHAR[]", names("OtherPatientNames", "alphabetic", many=True)),
    *_typed("PatientBirthDate", "StudyDate", "StudyTime", "PatientWeight"),
    *[Spec(f"{k}_raw", "VARCHAR", raw(k)) for k in ("StudyDate", "StudyTime", "PatientBirthDate")],
]
_SERIES = [
    *_text("SeriesInstanceUID", "Modality", "SeriesDescription", "BodyPartExamined", "Laterality"),
    *_text("ProtocolName", "Manufacturer"),
    *_typed("SeriesNumber", "SeriesDate"),
    Spec("OperatorsName", "VARCHAR[]", names("OperatorsName", "alphabetic", many=True)),
    Spec(
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "VARCHAR[]",
        items("RequestAttributesSequence", "ScheduledProcedureStepID"),
        '"RequestAttributesSequence.ScheduledProcedureStepID"',
    ),
]
_INSTANCE = [
    *_text("SOPInstanceUID", "SOPClassUID", "ImageComments"),
    *_typed("InstanceNumber", "Rows", "Columns", "BitsAllocated", "NumberOfFrames"),
    *_typed("SliceThickness", "ContentDate", "AcquisitionDateTime", "KVP", "TableSpeed"),
    *_lists("ImageType", "PixelSpacing"),
    Spec(
        "acme_01",
        "VARCHAR",
        private("ACME WORKS 1.0", 0x0019, 0x01),
        "private('ACME WORKS 1.0', '0019', '01')",
    ),
]
_COUNTED_STUDY = [
    Spec("ModalitiesInStudy", "VARCHAR[]", None),
    Spec("NumberOfStudyRelatedSeries", "BIGINT", None),
    Spec("NumberOfStudyRelatedInstances", "BIGINT", None),
]
_COUNTED_SERIES = [Spec("NumberOfSeriesRelatedInstances", "BIGINT", None)]

COLUMNS: dict[str, dict[str, Spec]] = {
    "studies": {s.name: s for s in _STUDY + _COUNTED_STUDY},
    "series": {s.name: s for s in _STUDY + _SERIES + _COUNTED_SERIES},
    "instances": {s.name: s for s in _STUDY + _SERIES + _INSTANCE},
}


# -- rows ----------------------------------------------------------------------------------------


@dataclass
class Rows:
    """The rows of the three levels, each by its UID."""

    studies: dict[str, Row] = field(default_factory=dict)
    series: dict[str, Row] = field(default_factory=dict)
    instances: dict[str, Row] = field(default_factory=dict)
    patients: dict[str, Row] = field(default_factory=dict)

    def add(self, file: bytes) -> bool:
        """Take a file in, or refuse it: it is no instance, is there, or says else of a parent.

        A server keeps the words of one of the instances, and which is its own matter.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken values are part of what is tested
            try:
                dataset = pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True)
                found = {
                    name: spec.read(dataset)
                    for name, spec in COLUMNS["instances"].items()
                    if spec.read is not None
                }
            except Exception as error:  # whatever pydicom makes of a file that is broken
                if isinstance(error, (AttributeError, NameError)):
                    raise
                return False
        if (
            not all(_UID.fullmatch(found[key] or "") for key in KEYS)
            or found["SOPInstanceUID"] in self.instances
        ):
            return False
        levels = (
            (self.patients, "PatientID", {n: found[n] for n in ("PatientName", "PatientSex")}),
            (self.studies, KEYS[0], {s.name: found[s.name] for s in _STUDY}),
            (self.series, KEYS[1], {s.name: found[s.name] for s in _STUDY + _SERIES}),
        )
        if any(rows.get(found[key], row) != row for rows, key, row in levels):
            return False
        for rows, key, row in levels:
            rows[found[key]] = row
        self.instances[found[KEYS[2]]] = found
        return True

    def tables(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the rows plain tables called studies, series and instances."""
        self._count()
        for name in TABLES:
            columns = COLUMNS[name]
            schema = pa.schema([(c.name, _arrow(c)) for c in columns.values()])
            table = pa.Table.from_pylist(list(getattr(self, name).values()), schema)
            connection.register("oracle_rows", table)
            connection.execute(f"CREATE TABLE {name} AS FROM oracle_rows")
            connection.unregister("oracle_rows")

    def _count(self) -> None:
        series: dict[str, list[Row]] = {}
        for row in self.series.values():
            series.setdefault(row["StudyInstanceUID"], []).append(row)
        below: dict[str, int] = {}
        for row in self.instances.values():
            for key in KEYS[:2]:
                below[row[key]] = below.get(row[key], 0) + 1
        for uid, row in self.studies.items():
            modalities = {s["Modality"] for s in series[uid]} - {None}
            row["ModalitiesInStudy"] = sorted(modalities) or None
            row["NumberOfStudyRelatedSeries"] = len(series[uid])
            row["NumberOfStudyRelatedInstances"] = below[uid]
        for uid, row in self.series.items():
            row["NumberOfSeriesRelatedInstances"] = below[uid]


def _arrow(spec: Spec) -> pa.DataType:
    element = _ARROW[spec.element]
    return pa.list_(element) if spec.many else element
