"""Locations, datasets, DICOM stores, policies and operations, as the API's documents have them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from dicomsql.emulator import paging

LOCATION = "/v1/projects/p/locations/us-central1"
DATASET = LOCATION + "/datasets/d"
STORE = DATASET + "/dicomStores/s"
TOPIC = "projects/p/topics/dicom"


def streams(*tables: str, **more: Any) -> str:
    """A store that streams to tables."""
    destinations = [{"bigqueryDestination": {"tableUri": table, **more}} for table in tables]
    return json.dumps({"streamConfigs": destinations})


def failure(answer: Any) -> tuple[int, str, str]:
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    return answer.status_code, error["status"], error["message"]


class TestLocations:
    def test_get_and_list(self, emulator: Any) -> None:
        assert emulator.get(LOCATION).json() == {
            "name": "projects/p/locations/us-central1",
            "locationId": "us-central1",
        }
        first = emulator.get("/v1/projects/p/locations?pageSize=20").json()
        rest = emulator.get(
            "/v1/projects/p/locations",
            params={"pageSize": 20, "pageToken": first["nextPageToken"]},
        ).json()
        assert "nextPageToken" not in rest
        assert len(first["locations"]) + len(rest["locations"]) == 29
        assert failure(emulator.get("/v1/projects/p/locations/moon"))[0] == 404
        assert failure(emulator.get("/v1/projects/p/locations?filter=x"))[1] == "UNIMPLEMENTED"


class TestDatasets:
    def test_create_is_an_operation_that_is_done(self, emulator: Any) -> None:
        answer = emulator.post(
            "/v1beta1/projects/p/locations/eu/datasets?datasetId=Ü-1.x", json={"timeZone": "UTC"}
        )
        operation = answer.json()
        assert operation["done"] is True
        assert operation["response"] == {
            "@type": "type.googleapis.com/google.cloud.healthcare.v1beta1.Dataset",
            "name": "projects/p/locations/eu/datasets/Ü-1.x",
            "timeZone": "UTC",
        }
        assert operation["metadata"]["@type"].endswith("v1beta1.OperationMetadata")
        again = emulator.get("/v1/" + operation["name"]).json()
        assert again == operation
        listed = emulator.get("/v1/projects/p/locations/eu/datasets/Ü-1.x/operations").json()
        assert listed == {"operations": [operation]}

    @pytest.mark.parametrize(
        ("path", "body", "expected"),
        [
            ("?datasetId=d", {}, (409, "ALREADY_EXISTS")),
            ("", {}, (400, "INVALID_ARGUMENT")),
            ("?datasetId=a b", {}, (400, "INVALID_ARGUMENT")),
            ("?datasetId=" + "x" * 257, {}, (400, "INVALID_ARGUMENT")),
            ("?datasetId=e", {"timeZone": "Mars/Olympus"}, (400, "INVALID_ARGUMENT")),
            ("?datasetId=e", {"colour": 1}, (400, "INVALID_ARGUMENT")),
            ("?datasetId=e&colour=1", {}, (400, "INVALID_ARGUMENT")),
            ("?datasetId=e&datasetId=f", {}, (400, "INVALID_ARGUMENT")),
            ("?datasetId=e", [], (400, "INVALID_ARGUMENT")),
            ("?datasetId=e", {"encryptionSpec": {"kmsKeyName": "k"}}, (400, "INVALID_ARGUMENT")),
        ],
    )
    def test_what_create_refuses(
        self, emulator: Any, path: str, body: Any, expected: tuple[int, str]
    ) -> None:
        answer = emulator.post(LOCATION + "/datasets" + path, json=body)
        assert failure(answer)[:2] == expected
        assert len(emulator.get(LOCATION + "/datasets").json()["datasets"]) == 1

    @pytest.mark.parametrize("place", ["p/locations/moon", "a%20b/locations/us-central1"])
    def test_a_place_that_cannot_be_is_not_permitted(self, emulator: Any, place: str) -> None:
        path = f"/v1/projects/{place}/datasets"
        for answer in (
            emulator.post(path + "?datasetId=e"),
            emulator.get(path),
            emulator.get(path + "/d"),
        ):
            assert failure(answer)[:2] == (403, "PERMISSION_DENIED")

    def test_get_patch_delete(self, emulator: Any) -> None:
        patched = emulator.patch(
            DATASET, params={"updateMask": "time_zone"}, json={"timeZone": "Europe/Berlin"}
        )
        assert patched.json()["timeZone"] == "Europe/Berlin"
        assert emulator.get(DATASET).json() == patched.json()
        cleared = emulator.patch(DATASET + "?updateMask=timeZone", json={})
        assert cleared.json() == {"name": DATASET.removeprefix("/v1/")}
        for mask in ("", "?updateMask=", "?updateMask=name", "?updateMask=timeZone.x"):
            assert failure(emulator.patch(DATASET + mask, json={}))[0] == 400
        key = {"encryptionSpec": {"kmsKeyName": "k"}}
        assert failure(emulator.patch(DATASET + "?updateMask=*", json=key))[0] == 400
        assert emulator.delete(DATASET).json() == {}
        assert emulator.get(LOCATION + "/datasets").json() == {}

    @pytest.mark.parametrize(
        "path",
        ["", ":getIamPolicy", "/operations", "/operations/1", "/dicomStores", "/dicomStores/s"],
    )
    def test_a_missing_one_is_not_permitted(self, emulator: Any, path: str) -> None:
        answer = emulator.get(LOCATION + "/datasets/missing" + path)
        assert failure(answer)[:2] == (403, "PERMISSION_DENIED")

    @pytest.mark.parametrize(
        ("body", "status"),
        [({"labels": {"A": ""}}, 403), ({"colour": 1}, 400)],
    )
    def test_what_can_be_refused_before_it_is_looked_for(
        self, emulator: Any, body: Any, status: int
    ) -> None:
        """The front end reads the message, the service looks at its values only if it may."""
        path = LOCATION + "/datasets/missing/dicomStores?dicomStoreId=a%20b"
        assert failure(emulator.post(path, json=body))[0] == status

    def test_what_was_below_is_gone_too(
        self, emulator: Any, make_dicom: Any, tmp_path: Any
    ) -> None:
        emulator.stow([make_dicom()])
        assert list(tmp_path.rglob("*.dcm"))
        emulator.delete(DATASET)
        assert not list(tmp_path.rglob("*.dcm"))
        emulator.prepare()
        assert emulator.get(STORE + "/dicomWeb/studies").status_code == 204
        assert "operations" in emulator.get(DATASET + "/operations").json()


class TestStores:
    def test_create_takes_the_id_from_the_parameter(self, emulator: Any) -> None:
        body = {
            "name": "projects/x/other",
            "labels": {"env": "prod"},
            "notification_config": {"pubsubTopic": TOPIC, "sendForBulkImport": True},
            "streamConfigs": [{"bigqueryDestination": {"tableUri": "bq://a.b.c", "force": None}}],
        }
        answer = emulator.post(DATASET + "/dicomStores?dicomStoreId=t", json=body)
        assert answer.json() == {
            "name": DATASET.removeprefix("/v1/") + "/dicomStores/t",
            "labels": {"env": "prod"},
            "notificationConfig": {"pubsubTopic": TOPIC, "sendForBulkImport": True},
            "streamConfigs": [{"bigqueryDestination": {"tableUri": "bq://a.b.c"}}],
        }
        assert emulator.get(DATASET + "/dicomStores/t").json() == answer.json()
        again = emulator.post(DATASET + "/dicomStores?dicomStoreId=t", json={})
        assert failure(again)[:2] == (409, "ALREADY_EXISTS")
        assert failure(emulator.post(DATASET + "/dicomStores", json={}))[0] == 400

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ('{"x": 1}', "Unknown name \"x\" at 'dicom_store': Cannot find field."),
            ('{"notificationConfig": {"y": 1}}', "'dicom_store.notification_config'"),
            ('{"notificationConfig": 1}', "an object was expected"),
            ('{"notificationConfig": {"sendForBulkImport": "no"}}', "TYPE_BOOL"),
            ('{"notificationConfigs": {}}', "a list was expected"),
            ('{"labels": {"a": 1}}', "TYPE_STRING"),
            ('{"labels": []}', "an object was expected"),
            ('{"labels": {"": "x"}}', "Invalid label key"),
            ('{"labels": {"A": "x"}}', "Invalid label key"),
            ('{"labels": {"1a": "x"}}', "Invalid label key"),
            ('{"labels": {"a": "X"}}', "Invalid label value"),
            ('{"labels": {"a": "' + "x" * 64 + '"}}', "Invalid label value"),
            (json.dumps({"labels": {f"a{n}": "" for n in range(65)}}), "64 labels"),
            ('{"notificationConfig": {"pubsubTopic": "t"}}', "notification_config.pubsub_topic"),
            ('{"notificationConfigs": [{}]}', "notification_configs[0].pubsub_topic"),
            ('{"notificationConfigs": [{"pubsubTopic": "projects/p/topics/goog-x"}]}', "TOPIC"),
            ('{"streamConfigs": [{}]}', "bigquery_destination.table_uri"),
            (streams("a.b.c"), "bq://PROJECT.DATASET.TABLE"),
            (streams("bq://a.b"), "bq://PROJECT.DATASET.TABLE"),
            (streams("bq://a.b.c", "bq://a.b.c"), "twice"),
            (streams("bq://a.b.c", writeDisposition="WRITE_SOON"), "TYPE_ENUM"),
            (streams("bq://a.b.c", writeDisposition=4), "TYPE_ENUM"),
            (streams("bq://a.b.c", schemaJson={}, schemaFlattened={}), "give one"),
            ("{", "no valid JSON"),
            ('{"labels": NaN}', "no valid JSON"),
            ("[" * 100_000, "no valid JSON"),
            ("[" * 500 + "]" * 500, "at most 100 levels"),
            ('{"labels": {"a": "\\ud800"}}', "no valid JSON"),
            ('{"labels": {"\\udc00": "x"}}', "no valid JSON"),
            (b'{"labels": {"a": "\xed\xa0\x80"}}', "no valid JSON"),
        ],
    )
    def test_bodies_that_are_refused(self, emulator: Any, body: str | bytes, message: str) -> None:
        answer = emulator.post(DATASET + "/dicomStores?dicomStoreId=t", content=body)
        assert failure(answer)[0] == 400
        assert message in failure(answer)[2]

    def test_a_body_over_the_limit(self, emulator: Any) -> None:
        answer = emulator.post(DATASET + "/dicomStores?dicomStoreId=t", content=b" " * 10_485_761)
        assert "payload size" in failure(answer)[2]

    def test_patch_changes_what_the_mask_names(self, emulator: Any) -> None:
        labels = {"labels": {"env": "prod", "team": "a"}}
        assert emulator.patch(STORE + "?updateMask=labels", json=labels).json()["labels"] == {
            "env": "prod",
            "team": "a",
        }
        one = {"labels": {"env": "test", "other": "x"}}
        patched = emulator.patch(STORE + "?updateMask=labels.env,labels.team", json=one).json()
        assert patched["labels"] == {"env": "test"}
        topic = {"notificationConfig": {"pubsubTopic": TOPIC}}
        mask = "?updateMask=notificationConfig.pubsubTopic"
        assert emulator.patch(STORE + mask, json=topic).json()["labels"] == {"env": "test"}
        assert "labels" not in emulator.patch(STORE + "?updateMask=*", json=topic).json()
        for wrong in ("colour", "name", "labels,colour", "notificationConfig.colour"):
            assert failure(emulator.patch(STORE + "?updateMask=" + wrong, json={}))[0] == 400
        assert failure(emulator.patch(STORE, json=topic))[0] == 400
        assert failure(emulator.patch(STORE + "x?updateMask=labels", json={}))[0] == 404

    def test_pages(self, emulator: Any) -> None:
        for n in range(104):
            emulator.post(DATASET + f"/dicomStores?dicomStoreId=n{n:03}", json={})
        path = DATASET + "/dicomStores"
        first = emulator.get(path).json()
        assert len(first["dicomStores"]) == 100
        second = emulator.get(path, params={"pageToken": first["nextPageToken"]}).json()
        assert len(second["dicomStores"]) == 5
        assert "nextPageToken" not in second
        assert len(emulator.get(path + "?pageSize=1000").json()["dicomStores"]) == 105
        for wrong in (
            "pageSize=1001",
            "pageSize=-1",
            "pageSize=x",
            "pageToken=%21",
            "pageToken=eA",
            "pageToken=W10",
            "pageToken=bnVsbA",
            "pageToken=" + "W" * 20_000,
        ):
            answer = emulator.get(f"{path}?{wrong}")
            assert failure(answer)[0] == 400
            (violation,) = answer.json()["error"]["details"][0]["fieldViolations"]
            assert violation["field"] in {"page_size", "page_token"}

    def test_a_token_is_good_for_its_list_only(self, emulator: Any) -> None:
        for name in ("a", "b"):
            emulator.post(f"{LOCATION}/datasets?datasetId={name}")
            for store in ("s", "t", "u"):
                labels = {"labels": {"env": "x"}}
                emulator.post(
                    f"{LOCATION}/datasets/{name}/dicomStores?dicomStoreId={store}", json=labels
                )
        path = LOCATION + "/datasets/a/dicomStores"
        asked = {"pageSize": "1", "filter": "labels.env=x"}
        token = emulator.get(path, params=asked).json()["nextPageToken"]
        for size in ("1", "2"):
            more = {**asked, "pageSize": size, "pageToken": token}
            assert emulator.get(path, params=more).json()["dicomStores"][0]["name"][-1] == "t"
        for other, change in (
            (LOCATION + "/datasets/b/dicomStores", {}),
            (LOCATION + "/datasets/a/operations", {"filter": ""}),
            (LOCATION + "/datasets", {"filter": ""}),
            (path, {"filter": "labels.env=y"}),
            (path, {"filter": ""}),
        ):
            question = {k: v for k, v in {**asked, "pageToken": token, **change}.items() if v}
            assert "page_token" in failure(emulator.get(other, params=question))[2]

    def test_a_token_expires(self, emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        emulator.post(DATASET + "/dicomStores?dicomStoreId=t")
        path = DATASET + "/dicomStores?pageSize=1&pageToken="
        token = emulator.get(path).json()["nextPageToken"]
        now = time.time()
        monkeypatch.setattr(paging.time, "time", lambda: now + paging.LIFETIME - 60)
        assert len(emulator.get(path + token).json()["dicomStores"]) == 1
        monkeypatch.setattr(paging.time, "time", lambda: now + paging.LIFETIME + 60)
        assert "expired" in failure(emulator.get(path + token))[2]

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("labels.env=prod", "ab"),
            ('labels.env="pro"', "ab"),
            ("labels.env = prod AND labels.team=x", "a"),
            ("labels.env=test OR labels.team=x", "ac"),
            ("NOT labels.env=prod", "cs"),
            ("NOT (labels.env=prod OR labels.env=test)", "s"),
            ("labels.team:*", "a"),
            ('labels.team="AND"', ""),
        ],
    )
    def test_filter(self, emulator: Any, text: str, found: str) -> None:
        stores = {"a": {"env": "prod", "team": "x"}, "b": {"env": "prod2"}, "c": {"env": "test"}}
        for name, labels in stores.items():
            emulator.post(f"{DATASET}/dicomStores?dicomStoreId={name}", json={"labels": labels})
        rows = emulator.get(DATASET + "/dicomStores", params={"filter": text}).json()
        assert "".join(s["name"][-1] for s in rows.get("dicomStores", [])) == found

    @pytest.mark.parametrize(
        "text",
        [
            "labels.a!=b",
            "name=x",
            "labels.a",
            "labels.a=",
            "labels.a=(",
            "(labels.a=b",
            "labels.a=b c",
            'labels.a="b',
            "labels.a<b",
            "AND",
            " ",
            "(" * 5000 + "labels.a=b" + ")" * 5000,
            "(" * 5000,
            "NOT " * 5000 + "labels.a=b",
        ],
    )
    def test_filters_that_are_refused(self, emulator: Any, text: str) -> None:
        answer = emulator.get(DATASET + "/dicomStores", params={"filter": text})
        assert failure(answer)[0] == 400
        assert "Invalid filter" in failure(answer)[2]

    def test_a_filter_as_deep_as_is_allowed(self, emulator: Any) -> None:
        text = "(" * 49 + "NOT labels.a=b" + ")" * 49
        answer = emulator.get(DATASET + "/dicomStores", params={"filter": text})
        assert "50 levels" in failure(answer)[2]
        rows = emulator.get(DATASET + "/dicomStores", params={"filter": text[1:-1]}).json()
        assert len(rows["dicomStores"]) == 1

    def test_a_deep_selection_of_fields(self, emulator: Any) -> None:
        fields = "a(" * 3000 + "b" + ")" * 3000
        assert failure(emulator.get(DATASET, params={"fields": fields}))[0] == 400

    @pytest.mark.parametrize(
        ("verb", "path"),
        [
            ("POST", "?dicomStoreId=a%20b"),
            ("POST", ""),
            ("PATCH", "/s?updateMask=name"),
            ("PATCH", "/s"),
        ],
    )
    def test_no_error_says_the_same_twice(self, emulator: Any, verb: str, path: str) -> None:
        answer = emulator.request(verb, DATASET + "/dicomStores" + path, json={})
        (detail,) = answer.json()["error"]["details"]
        (violation,) = detail["fieldViolations"]
        assert list(violation) == ["field"]
        assert violation["field"] in failure(answer)[2]

    def test_delete(self, emulator: Any, make_dicom: Any) -> None:
        emulator.stow([make_dicom()])
        assert emulator.delete(STORE).json() == {}
        for path in ("", "/dicomWeb/studies", ":getDICOMStoreMetrics"):
            assert failure(emulator.get(STORE + path))[:2] == (404, "NOT_FOUND")
        assert failure(emulator.delete(STORE))[0] == 404
        emulator.post(DATASET + "/dicomStores?dicomStoreId=s")
        assert emulator.get(STORE + "/dicomWeb/studies").status_code == 204


@pytest.mark.parametrize("resource", [DATASET, STORE])
def test_iam_policies(emulator: Any, resource: str) -> None:
    fresh = emulator.get(resource + ":getIamPolicy?options.requestedPolicyVersion=3").json()
    assert fresh == {"etag": "ACAB"}
    bindings = [{"role": "roles/viewer", "members": ["user:a@example.com"]}]
    policy = {"policy": {"etag": "ACAB", "bindings": bindings}}
    changed = emulator.post(resource + ":setIamPolicy", json=policy).json()
    assert changed["bindings"] == bindings
    assert changed["etag"] not in {"", "ACAB"}
    assert emulator.get(resource + ":getIamPolicy").json() == changed
    stale = emulator.post(resource + ":setIamPolicy", json=policy)
    assert failure(stale)[:2] == (409, "ABORTED")
    audit = {"policy": {"auditConfigs": [{"service": "allServices"}]}, "updateMask": "auditConfigs"}
    both = emulator.post(resource + ":setIamPolicy", json=audit).json()
    assert both["bindings"] == bindings
    assert both["auditConfigs"] == [{"service": "allServices"}]
    assert failure(emulator.get(resource + ":getIamPolicy?options.requestedPolicyVersion=2"))[0]
    member = {"policy": {"bindings": [{"role": "roles/viewer", "members": ["Doe^John"]}]}}
    refused = failure(emulator.post(resource + ":setIamPolicy", json=member))
    assert refused[0] == 400
    assert "Doe" not in refused[2]
    for wrong in (
        {},
        {"policy": {}, "updateMask": "colour"},
        {"policy": {"etag": "?"}},
        {"policy": {"bindings": [{**bindings[0], "role": "viewer"}]}},
        {"policy": {"bindings": [{**bindings[0], "members": ["alice"]}]}},
        {"policy": {"bindings": [{**bindings[0], "members": ["allUsers"] * 1501}]}},
        {"policy": {"auditConfigs": [{"auditLogConfigs": [{"logType": "ALL"}]}]}},
        {"policy": {"version": 2}},
        {"policy": {"bindings": [{"role": "r"}]}},
        {"policy": {"bindings": [{**bindings[0], "condition": {"expression": "true"}}]}},
        {"policy": {"version": "x"}},
    ):
        assert failure(emulator.post(resource + ":setIamPolicy", json=wrong))[0] == 400
    asked = {"permissions": ["healthcare.datasets.get"]}
    assert emulator.post(resource + ":testIamPermissions", json=asked).json() == asked
    wild = {"permissions": ["healthcare.*"]}
    assert failure(emulator.post(resource + ":testIamPermissions", json=wild))[0] == 400
    assert emulator.post(resource + ":testIamPermissions", json={}).json() == {}


def test_policies_with_conditions(emulator: Any) -> None:
    condition = {"expression": "request.time < timestamp('2030-01-01T00:00:00Z')", "title": "t"}
    viewer = {"role": "roles/viewer", "members": ["group:g@example.com"], "condition": condition}
    policy = {"version": 3, "bindings": [viewer, viewer]}
    kept = emulator.post(STORE + ":setIamPolicy", json={"policy": policy}).json()
    assert kept["bindings"] == [viewer]
    assert kept["version"] == 3
    path = STORE + ":getIamPolicy"
    assert emulator.get(path + "?options.requestedPolicyVersion=3").json() == kept
    shown = emulator.get(path).json()
    assert shown["version"] == 1
    assert shown["etag"] == kept["etag"]
    (binding,) = shown["bindings"]
    assert binding["role"].startswith("roles/viewer_withcond_")
    assert "condition" not in binding
    blind = failure(emulator.post(STORE + ":setIamPolicy", json={"policy": shown}))
    assert blind[0] == 400
    assert "policy.version" in blind[2]


class TestOperations:
    def test_list_pages_and_what_it_does_not_do(self, emulator: Any, make_dicom: Any) -> None:
        emulator.stow([make_dicom(f"1.{n}", f"2.{n}", f"3.{n}") for n in range(3)])
        for n in range(3):
            emulator.delete(f"{STORE}/dicomWeb/studies/1.{n}")
        path = DATASET + "/operations"
        first = emulator.get(path + "?pageSize=3").json()
        rest = emulator.get(path, params={"pageToken": first["nextPageToken"]}).json()
        assert len({o["name"] for o in first["operations"] + rest["operations"]}) == 4
        assert failure(emulator.get(path + "?filter=x"))[1] == "UNIMPLEMENTED"
        assert failure(emulator.get(path + "?returnPartialSuccess=true"))[1] == "UNIMPLEMENTED"

    def test_a_missing_one_and_one_that_has_ended(self, emulator: Any) -> None:
        path = DATASET + "/operations"
        (operation,) = emulator.get(path).json()["operations"]
        assert emulator.post(f"/v1/{operation['name']}:cancel", json={}).json() == {}
        assert emulator.get("/v1/" + operation["name"]).json() == operation
        assert failure(emulator.get(path + "/1"))[0] == 404
        assert failure(emulator.post(path + "/1:cancel"))[0] == 404


class TestPaths:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", DATASET + "/fhirStores"),
            ("POST", DATASET + "/fhirStores/f:import"),
            ("GET", DATASET + "/fhirStores/f/fhir/Patient/1"),
            ("GET", DATASET + "/fhirStores/f/fhir/Patient/1/$everything"),
            ("POST", DATASET + "/hl7V2Stores/h/messages:ingest"),
            ("GET", DATASET + "/consentStores"),
            ("POST", LOCATION + "/services/nlp:analyzeEntities"),
        ],
    )
    def test_what_is_not_emulated_says_so(self, emulator: Any, method: str, path: str) -> None:
        assert failure(emulator.request(method, path))[:2] == (501, "UNIMPLEMENTED")

    def test_not_even_for_what_does_not_exist(self, emulator: Any) -> None:
        assert failure(emulator.get(DATASET + "x/fhirStores"))[0] == 403

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/"),
            ("GET", "/v2/projects/p/locations"),
            ("GET", STORE + ":nonsense"),
            ("PUT", STORE),
            ("PUT", STORE + "/dicomWeb/studies"),
            ("PATCH", STORE + "/dicomWeb/studies/1/metadata"),
            ("PUT", DATASET + "/fhirStores"),
            ("GET", DATASET + "/fhirStores/f:nonsense"),
            ("GET", DATASET + "/annotationStores"),
            ("GET", DATASET + "/fhirStores/f/fhir/Observation/1/$lastn"),
            ("GET", STORE + "/dicomWeb"),
            ("GET", STORE + "/dicomWeb/studies/"),
            ("GET", STORE + "/dicomWeb/studies/1/rendered"),
        ],
    )
    def test_all_else_is_not_found(self, emulator: Any, method: str, path: str) -> None:
        assert failure(emulator.request(method, path))[:2] == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("dicomStores/name", [{"name": "n"}]),
        ("dicomStores(labels/a)", [{"labels": {"a": "1"}}]),
        ("dicomStores(name,labels(b)),nextPageToken", [{"name": "n", "labels": {"b": "2"}}]),
        ("dicomStores(labels(*))", [{"labels": {"a": "1", "b": "2"}}]),
        ("*", [{"name": "n", "labels": {"a": "1", "b": "2"}}]),
        ("*/name", [{"name": "n"}]),
        ("dicomStores.name", [{"name": "n"}]),
        ("dicomStores.labels.a", [{"labels": {"a": "1"}}]),
    ],
)
def test_partial_responses(emulator: Any, fields: str, expected: Any) -> None:
    emulator.patch(STORE + "?updateMask=labels", json={"labels": {"a": "1", "b": "2"}})
    rows = emulator.get(DATASET + "/dicomStores", params={"fields": fields}).json()["dicomStores"]
    assert [{**r, "name": "n"} if "name" in r else r for r in rows] == expected


@pytest.mark.parametrize("fields", ["bogus", "name,bogus", "streamConfigs(bogus)", "*/bogus"])
def test_partial_responses_of_a_field_that_there_is_not(emulator: Any, fields: str) -> None:
    assert failure(emulator.get(STORE, params={"fields": fields}))[0] == 400
    assert emulator.get(STORE, params={"fields": "labels,nextPageToken"}).json() == {}


@pytest.mark.parametrize("mask", ["labels,,", ",labels", "labels, ,name"])
def test_a_mask_with_an_empty_path(emulator: Any, mask: str) -> None:
    answer = emulator.patch(STORE, params={"updateMask": mask}, json={"labels": {"a": "1"}})
    assert failure(answer)[0] == 400


def test_messages_name_what_was_asked_for(emulator: Any) -> None:
    assert DATASET[4:] + "/operations/17" in failure(emulator.get(DATASET + "/operations/17"))[2]
    assert failure(emulator.get(DATASET + "/fhirStores/f"))[2].count("/fhirStores/f") == 1
    answer = emulator.post("/storage/v1/b/bucket/o/a/compose")
    assert answer.status_code == 501 and "/b/bucket/o/a/compose" in answer.text


@pytest.mark.parametrize("fields", [",", "a(", "a()", "a)", "a b", "(a)"])
def test_partial_responses_with_a_broken_selector(emulator: Any, fields: str) -> None:
    answer = emulator.get(STORE, params={"fields": fields})
    assert "field mask" in failure(answer)[2]
