"""Statements in every shape that StackQL's pages for dicom_stores print, filled in and run.

The shapes: body columns bare and with `data__`, an anchor comment before INSERT, comments that
swallow commas and the last semicolon, RETURNING, `@@json`, a list as rows and as raw pages, and an
INSERT that gives a name and no id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import respx
from httpx import Response

from dicomsql.config import Settings
from dicomsql.errors import ApiError, ConsentError
from dicomsql.session import Session

PLACE = {"projectsId": "p", "locationsId": "us-central1", "datasetsId": "d", "dicomStoresId": "s"}
STORE = "projects/p/locations/us-central1/datasets/d/dicomStores/"

WHERE = """
WHERE projectsId = '{{ projectsId }}' -- required
AND locationsId = '{{ locationsId }}' -- required
AND datasetsId = '{{ datasetsId }}' -- required
"""

EXEC_ARGUMENTS = """
@projectsId='{{ projectsId }}' --required,
@locationsId='{{ locationsId }}' --required,
@datasetsId='{{ datasetsId }}' --required,
@dicomStoresId='{{ dicomStoresId }}' --required"""


def run(session: Session, text: str, **variables: object) -> list[tuple[object, ...]]:
    """The rows of the text's last statement."""
    rows: list[tuple[object, ...]] = []
    for statement in session.parse(text, {**PLACE, **variables}):
        result = session.execute(statement)
        rows = []
        for batch in result.batches():
            rows += zip(*(c.to_pylist() for c in batch.columns), strict=True)
    return rows


@pytest.fixture
def session(own_root: Path) -> Iterator[Session]:
    with Session(Settings(local=own_root)) as session:
        yield session


def test_get_with_a_comment_that_swallows_the_semicolon(session: Session) -> None:
    text = f"SELECT\nname,\nlabels\nFROM google.healthcare.dicom_stores{WHERE}" + (
        "AND dicomStoresId = '{{ dicomStoresId }}' -- required;\n"
    )
    assert run(session, text + "\nSELECT 2 AS two;") == [(2,)]
    assert run(session, text) == [(STORE + "s", '{"env":"test"}')]


def test_list_as_rows_and_as_raw_pages(session: Session) -> None:
    for name in ("t", "u"):
        run(session, INSERT_BY_PREFIX, name=STORE + name, dicomStoreId=name, labels={"env": "x"})
    rows = run(session, f"SELECT name\nFROM google.healthcare.dicom_stores{WHERE};")
    assert rows == [(STORE + "s",), (STORE + "t",), (STORE + "u",)]
    text = f"""SELECT
dicomStores,
nextPageToken
FROM google.healthcare.dicom_stores{WHERE}AND pageSize = '{{{{ pageSize }}}}'
AND pageToken = '{{{{ pageToken }}}}'
AND filter = '{{{{ filter }}}}';"""
    ((stores, token),) = run(session, text, pageSize=1, pageToken="", filter="labels.env=x")
    assert [s["name"] for s in json.loads(str(stores))] == [STORE + "t"]
    ((stores, token),) = run(session, text, pageSize=1, pageToken=token, filter="labels.env=x")
    assert [s["name"] for s in json.loads(str(stores))] == [STORE + "u"]
    assert token is None


INSERT_BY_PREFIX = """
INSERT INTO google.healthcare.dicom_stores (
data__name,
data__labels,
projectsId,
locationsId,
datasetsId,
dicomStoreId
)
SELECT
'{{ name }}',
'{{ labels }}',
'{{ projectsId }}',
'{{ locationsId }}',
'{{ datasetsId }}',
'{{ dicomStoreId }}'
RETURNING
name,
labels,
notificationConfigs
;
"""


def test_insert_with_prefixed_columns(session: Session) -> None:
    rows = run(session, INSERT_BY_PREFIX, name=STORE + "t", dicomStoreId="t", labels='{"env": "x"}')
    assert rows == [(STORE + "t", '{"env":"x"}', None)]


def test_insert_by_name_with_an_anchor_and_bare_columns(session: Session) -> None:
    text = """
/*+ create */
INSERT INTO google.healthcare.dicom_stores (
datasetsId,
locationsId,
projectsId,
name,
notificationConfig,
labels
)
SELECT
'{{ datasetsId }}',
'{{ locationsId }}',
'{{ projectsId }}',
'{{ name }}',
'{{ notificationConfig }}',
'{{ labels }}'
;
"""
    topic = {"pubsubTopic": "projects/p/topics/told"}
    run(session, text, name="by-name", labels={"a": "b"}, notificationConfig=topic)
    run(session, text, name=STORE + "by-full-name", labels={"a": "b"}, notificationConfig=topic)
    rows = run(
        session,
        f"SELECT dicomStoresId, notificationConfig->>'pubsubTopic' FROM "
        f"google.healthcare.dicom_stores{WHERE} AND json_extract(labels, '$.a') = 'b'",
    )
    assert rows == [("by-full-name", topic["pubsubTopic"]), ("by-name", topic["pubsubTopic"])]


def test_update_with_and_without_a_mask(session: Session) -> None:
    with_mask = """
UPDATE google.healthcare.dicom_stores
SET
data__name = '{{ name }}',
data__labels = '{{ labels }}'
WHERE
projectsId = '{{ projectsId }}' --required
AND locationsId = '{{ locationsId }}' --required
AND datasetsId = '{{ datasetsId }}' --required
AND dicomStoresId = '{{ dicomStoresId }}' --required
AND updateMask = '{{ updateMask}}'
RETURNING
name,
labels;
"""
    rows = run(session, with_mask, name=STORE + "s", labels={"a": "1"}, updateMask="labels")
    assert rows == [(STORE + "s", '{"a":"1"}')]
    without = """
UPDATE google.healthcare.dicom_stores
SET
name = '{{ name }}',
labels = '{{ labels }}'
WHERE
datasetsId = '{{ datasetsId }}'
AND dicomStoresId = '{{ dicomStoresId }}'
AND locationsId = '{{ locationsId }}'
AND projectsId = '{{ projectsId }}';
"""
    run(session, without, name=STORE + "s", labels={"b": "2"})
    (row,) = run(session, f"SELECT labels FROM google.healthcare.dicom_stores{WHERE}")
    assert row == ('{"b":"2"}',)


def test_delete_of_an_empty_store(session: Session) -> None:
    run(session, INSERT_BY_PREFIX, name=STORE + "t", dicomStoreId="t", labels={})
    text = f"DELETE FROM google.healthcare.dicom_stores{WHERE}AND dicomStoresId = 't' --required;"
    run(session, text)
    rows = run(session, f"SELECT dicomStoresId FROM google.healthcare.dicom_stores{WHERE}")
    assert rows == [("s",)]


@pytest.mark.parametrize(
    ("method", "body"),
    [
        (
            "deidentify",
            '{\n"destinationStore": "{{ destinationStore }}",\n"config": "{{ config }}"}',
        ),
        ("set_blob_storage_settings", '{"blobStorageSettings": "{{ blobStorageSettings }}"}'),
        ("import", '{"gcsSource": "{{ gcsSource }}"}'),
        ("export", '{"gcsDestination": "{{ gcsDestination }}"}'),
    ],
)
def test_costly_methods_ask_and_then_begin_an_operation(
    own_root: Path, method: str, body: str
) -> None:
    text = f"EXEC google.healthcare.dicom_stores.{method}{EXEC_ARGUMENTS}\n@@json=\n'{body}';"
    values = {
        "destinationStore": STORE + "t",
        "config": {"dicom": {"filterProfile": "MINIMAL_KEEP_LIST_PROFILE"}},
        "blobStorageSettings": {"blobStorageClass": "NEARLINE"},
        "gcsSource": {"uri": "gs://bucket/**"},
        "gcsDestination": {"uriPrefix": "gs://bucket/out"},
    }
    with Session(Settings(local=own_root)) as session, pytest.raises(ConsentError):
        run(session, text, **values)
    with Session(Settings(local=own_root, yes=True)) as session:
        run(session, INSERT_BY_PREFIX, name=STORE + "t", dicomStoreId="t", labels={})
        (row,) = run(session, text, **values)
        assert "/operations/" in str(row)


@pytest.mark.respx(using="httpx")
def test_the_request_of_an_exec_is_right(respx_mock: respx.MockRouter) -> None:
    base = "http://127.0.0.1:1"
    place = f"{base}/v1/{STORE}s"
    respx_mock.get(f"{place}:getDICOMStoreMetrics").mock(
        Response(200, json={"instanceCount": "7", "studyCount": "1", "seriesCount": "1"})
    )
    call = respx_mock.post(f"{place}:deidentify").mock(
        Response(200, json={"name": "projects/p/locations/us-central1/datasets/d/operations/1"})
    )
    text = f"""EXEC google.healthcare.dicom_stores.deidentify{EXEC_ARGUMENTS}
@@json=
'{{
"destinationStore": "{{{{ destinationStore }}}}",
"config": "{{{{ config }}}}",
"gcsConfigUri": "{{{{ gcsConfigUri }}}}"
}}';"""
    with Session(Settings(endpoint=base, yes=True)) as session:
        ((name, done),) = [
            row[:2]
            for row in run(
                session,
                text,
                destinationStore=STORE + "t",
                config={"dicom": {"skipIdRedaction": True}},
                gcsConfigUri="gs://bucket/config",
            )
        ]
    assert (str(name).rsplit("/", 1)[-1], done) == ("1", False)
    assert json.loads(call.calls.last.request.content) == {
        "destinationStore": STORE + "t",
        "config": {"dicom": {"skipIdRedaction": True}},
        "gcsConfigUri": "gs://bucket/config",
    }
    assert "authorization" not in call.calls.last.request.headers


@pytest.mark.parametrize("level", ["studies", "series", "instances"])
def test_searches_by_exec(session: Session, level: str) -> None:
    text = f"EXEC google.healthcare.dicom_stores.search_for_{level}{EXEC_ARGUMENTS};"
    rows = run(session, text)
    assert len(rows) == 5
    assert all("0020000D" in str(row) or level != "studies" for row in rows)


def test_store_instances_takes_the_raw_body_as_json(session: Session) -> None:
    text = f"""EXEC google.healthcare.dicom_stores.store_instances{EXEC_ARGUMENTS}
@@json=
'{{
"contentType": "{{{{ contentType }}}}",
"data": "{{{{ data }}}}",
"extensions": "{{{{ extensions }}}}"
}}';"""
    with pytest.raises(ApiError) as caught:
        run(session, text, contentType="application/dicom", data="AAAA", extensions=[])
    # Three bytes are no DICOM file; the store says so with its own reason.
    assert caught.value.failure.status == 409
