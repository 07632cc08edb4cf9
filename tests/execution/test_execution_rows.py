"""The decoders of answers by themselves: members below members, ids from names, bytes, datasets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dicomsql.catalog.model import Column, DicomTable, Method, Type
from dicomsql.errors import InternalError, OperationalError
from dicomsql.execution.calls import Page
from dicomsql.execution.rows import arrow_type, columns_array, decoder_for
from dicomsql.planning.plan import ColumnKind, RowShape, ScanColumn

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
    decoded = bare.decode(page([{}, {}]), {"studiesId": "9"})
    assert decoded.keys is None
    assert decoded.batch.num_rows == 2


def test_types() -> None:
    assert str(arrow_type("BIGINT[]")) == "list<item: int64>"
    with pytest.raises(InternalError, match="STRUCT"):
        arrow_type("STRUCT")
    array = columns_array([{"a": "ü"}, None, [1]], "JSON", "x", "y")
    assert array.storage.to_pylist() == ['{"a":"ü"}', None, "[1]"]
