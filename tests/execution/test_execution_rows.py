"""The decoders of answers by themselves: members below members, ids from names, bytes, datasets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dicomsql.catalog.model import Column, DicomTable, Method, Type
from dicomsql.errors import InternalError, OperationalError
from dicomsql.execution.calls import Page
from dicomsql.execution.decoded import arrow_type
from dicomsql.execution.rows import columns_array, decoder_for
from dicomsql.planning.read_plan import ColumnKind, RowShape, ScanColumn

METHOD = Method(
    *("library", "shelving", "shelves", "list", "select", "GET", "/v2/shelves", ()),
    object_key="$.found.shelves",
    columns=(
        Column("name", Type.VARCHAR),
        Column("width", Type.DOUBLE, ("size", "width")),
        Column("size", Type.JSON),
        Column("full", Type.BOOLEAN),
    ),
    row_name="name",
    row_name_template="libraries/{libraryId}/shelves/{shelfId}",
)
ROWS = {
    "found": {
        "shelves": [
            {"name": "libraries/l/shelves/s", "size": {"width": 2}, "full": True, "more": [1]},
            {"name": "elsewhere", "size": 7},
            {},
        ]
    }
}


def row(name: str, kind: str = "VARCHAR") -> ScanColumn:
    return ScanColumn(name, ColumnKind.ROW, name, kind)


def parameter(name: str) -> ScanColumn:
    return ScanColumn(name, ColumnKind.PARAMETER, name, "VARCHAR")


def page(content: object, media: str = "application/json") -> Page:
    return Page(
        content
        if isinstance(content, bytes)
        else json.dumps(content, separators=(",", ":")).encode(),
        media,
        200,
    )


def test_members_and_parameters() -> None:
    columns = [row("width", "DOUBLE"), row("size", "JSON"), row("full", "BOOLEAN"),
               parameter("libraryId"), parameter("shelfId"), parameter("region")]  # fmt: skip
    decoder = decoder_for(METHOD, columns, RowShape.ROWS, None)
    batch = decoder.decode(page(ROWS), {"region": "north"}).batch
    assert batch.schema == decoder.schema
    plain = [list(column) for column in zip(*batch.to_pydict().values(), strict=True)]
    assert plain == [
        [2.0, '{"width":2}', True, "l", "s", "north"],
        [None, "7", None, None, None, "north"],
        [None, None, None, None, None, "north"],
    ]


def test_ids_that_no_template_tells_are_null() -> None:
    method = replace(METHOD, row_name_template="", object_key="")
    decoder = decoder_for(method, [parameter("shelfId")], RowShape.ROWS, None)
    assert decoder.decode(page({"name": "a/b"}), {}).batch.to_pydict() == {"shelfId": [None]}


@pytest.mark.parametrize("content", [{}, {"found": None}, {"found": {}}, b""])
def test_no_rows(content: object) -> None:
    decoder = decoder_for(METHOD, [row("name")], RowShape.ROWS, None)
    assert decoder.decode(page(content), {}).batch.num_rows == 0


def test_a_list_without_an_envelope() -> None:
    decoder = decoder_for(replace(METHOD, object_key=""), [row("name")], RowShape.ROWS, None)
    assert decoder.decode(page([{"name": "a"}, {"name": "b"}]), {}).batch.num_rows == 2
    assert decoder.decode(page({"name": "a"}), {}).batch.num_rows == 1


def test_what_is_wrong_is_named_as_the_document_names_it() -> None:
    decoder = decoder_for(METHOD, [row("full", "BOOLEAN")], RowShape.ROWS, None)
    with pytest.raises(OperationalError, match=r"full") as caught:
        decoder.decode(page({"found": {"shelves": [{"full": "Jane"}]}}), {})
    assert "Jane" not in str(caught.value)
    nested = decoder_for(METHOD, [row("width", "DOUBLE")], RowShape.ROWS, None)
    with pytest.raises(OperationalError, match=r"the answer's width is no DOUBLE"):
        nested.decode(page({"found": {"shelves": [{"size": {"width": "Jane"}}]}}), {})


def test_an_answer_that_is_no_json_is_bytes_with_their_type() -> None:
    columns = [row("contentType"), row("data", "BLOB"), parameter("studiesId")]
    decoder = decoder_for(METHOD, columns, RowShape.BODY, None)
    batch = decoder.decode(page(b"\x89PNG", "image/png"), {"studiesId": "1.2"}).batch
    assert batch.to_pydict() == {
        "contentType": ["image/png"],
        "data": [b"\x89PNG"],
        "studiesId": ["1.2"],
    }


def test_datasets_with_their_parameters_and_keys() -> None:
    table = DicomTable("series", "search", (), identity=(("seriesId", "SeriesInstanceUID"),))
    columns = [
        ScanColumn("Modality", ColumnKind.ATTRIBUTE, "Modality", "VARCHAR"),
        *map(parameter, ("seriesId", "studiesId", "unknown")),
    ]
    uid, modality = {"vr": "UI", "Value": ["1.2"]}, {"vr": "CS", "Value": ["CT"]}
    found = [{"0020000E": uid, "00080060": modality}]
    keyed = decoder_for(METHOD, columns, RowShape.ROWS, table, ("0020000D", "0020000E"))
    decoded = keyed.decode(page(found), {"studiesId": "9"})
    assert decoded.keys is not None
    assert [column.to_pylist() for column in decoded.keys] == [[None], ["1.2"]]
    assert decoded.batch.to_pylist() == [
        {"Modality": "CT", "seriesId": "1.2", "studiesId": "9", "unknown": None}
    ]
    bare = decoder_for(METHOD, [parameter("studiesId")], RowShape.ROWS, table)
    decoded = bare.decode(page(found * 2), {"studiesId": "9"})
    assert decoded.keys is None
    assert decoded.batch.num_rows == 2


SEARCHED = DicomTable(
    "series",
    "search",
    (),
    identity=(("studiesId", "StudyInstanceUID"), ("seriesId", "SeriesInstanceUID")),
)
OF_SERIES = {"0020000E": {"vr": "UI", "Value": ["1.2"]}}


def series(*names: str, answer: object) -> list[dict[str, object]]:
    columns = [ScanColumn(name, ColumnKind.ATTRIBUTE, name, "VARCHAR") for name in names]
    decoder = decoder_for(METHOD, columns, RowShape.ROWS, SEARCHED)
    found: list[dict[str, object]] = decoder.decode(page(answer), {}).batch.to_pylist()
    return found


@pytest.mark.parametrize(
    "wrong",
    [
        {"error": "Jane"},
        {"0020000E": {"vr": "UI"}},
        {"0020000E": {"vr": "UI", "Value": [""]}},
        {"0020000E": None},
        {"0020000D": {"vr": "UI", "Value": ["1.2"]}},
    ],
)
@pytest.mark.parametrize("names", [("Modality",), ("SeriesInstanceUID",), ("tag_0020000E",)])
def test_what_has_no_uid_of_its_level_is_no_row(wrong: object, names: tuple[str, ...]) -> None:
    with pytest.raises(OperationalError, match="have no SeriesInstanceUID") as caught:
        series(*names, answer=[OF_SERIES, wrong])
    assert "1 of the 2 results" in str(caught.value)
    assert "Jane" not in str(caught.value)


def test_a_uid_of_a_level_above_that_is_read_is_not_null() -> None:
    assert series("Modality", answer=[OF_SERIES]) == [{"Modality": None}]
    for name in ("StudyInstanceUID", "tag_0020000D"):
        with pytest.raises(OperationalError, match="do not tell their StudyInstanceUID"):
            series(name, answer=[OF_SERIES])


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"{}", "a JSON object"),
        (b'{"message":"Jane"}', "a JSON object"),
        (b"[[1]]", "member 1 of its array is no object"),
        (b"[null]", "member 1 of its array is no object"),
        (b'"Jane"', "a JSON string"),
        (b"[1]", "member 1 of its array is no object"),
        (b"null", "another JSON value"),
        (b"<html>Jane</html>", "markup"),
        (b'[{"0020000E":{"vr":"UI","Value":["1', "ends in the middle"),
        (b'[{"0020000E":{"vr":"UI","Value":["1.2"]}}]]', "breaks off being JSON"),
        (b"[][]", "breaks off being JSON"),
        ("[]".encode("utf-16"), "not UTF-8"),
    ],
)
def test_an_answer_that_is_no_dicom_json_is_named(answer: bytes, told: str) -> None:
    with pytest.raises(OperationalError, match=told) as caught:
        series("Modality", answer=answer)
    assert str(caught.value).startswith(METHOD.full_name)
    assert "Jane" not in str(caught.value)


def test_types() -> None:
    assert str(arrow_type("BIGINT[]")) == "list<item: int64>"
    with pytest.raises(InternalError, match="STRUCT"):
        arrow_type("STRUCT")
    array = columns_array([{"a": "ü"}, None, [1]], "JSON", "x", "y")
    assert array.storage.to_pylist() == ['{"a":"ü"}', None, "[1]"]
