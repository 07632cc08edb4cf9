"""Service Usage and Resource Manager, as scripts that set a project up use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SERVICES = "/v1/projects/demo-project/services"
HEALTHCARE = f"{SERVICES}/healthcare.googleapis.com"


@pytest.fixture
def client(tmp_path: Path, open_emulator: Callable[..., Any]) -> Iterator[Any]:
    with open_emulator(tmp_path / "root") as made:
        yield made


def get(client: Any, path: str, status: int = 200) -> Any:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_service_is_disabled_until_it_is_enabled(client: Any) -> None:
    assert get(client, HEALTHCARE)["state"] == "DISABLED"
    operation = client.post(f"{HEALTHCARE}:enable", json={}).json()
    assert operation["done"] is True
    assert operation["response"]["service"] == get(client, HEALTHCARE)
    assert get(client, f"/v1/{operation['name']}") == operation
    enabled = get(client, f"{SERVICES}?filter=state:ENABLED")["services"]
    assert [s["config"]["name"] for s in enabled] == ["healthcare.googleapis.com"]
    assert client.post(f"{HEALTHCARE}:disable", json={}).json()["done"] is True
    assert "services" not in get(client, f"{SERVICES}?filter=state:ENABLED")


def test_several_services_are_enabled_at_once_or_none(client: Any) -> None:
    names = ["pubsub.googleapis.com", "compute.googleapis.com"]
    wrong = client.post(f"{SERVICES}:batchEnable", json={"serviceIds": [*names, "no service"]})
    assert wrong.status_code == 403
    assert "services" not in get(client, f"{SERVICES}?filter=state:ENABLED")
    done = client.post(f"{SERVICES}:batchEnable", json={"serviceIds": names}).json()
    assert [s["state"] for s in done["response"]["services"]] == ["ENABLED", "ENABLED"]
    query = "&".join(f"names=projects/demo-project/services/{name}" for name in names)
    assert len(get(client, f"{SERVICES}:batchGet?{query}")["services"]) == 2
    for body in ({}, {"serviceIds": []}, {"serviceIds": ["x.googleapis.com"] * 21}, {"a": 1}):
        assert client.post(f"{SERVICES}:batchEnable", json=body).status_code == 400


def test_services_come_in_pages(client: Any) -> None:
    found: list[str] = []
    token = ""
    while True:
        page = get(client, f"{SERVICES}?pageSize=4&pageToken={token}")
        found += [s["config"]["name"] for s in page["services"]]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert found == sorted(found)
    assert len(found) == 6
    for query in ("pageSize=201", "pageSize=x", "pageToken=x", "filter=name:x", "unknown=1"):
        assert client.get(f"{SERVICES}?{query}").status_code == 400


def test_what_is_not_there_or_not_done_is_said(client: Any) -> None:
    assert get(client, "/v1/operations/none", 404)["error"]["status"] == "NOT_FOUND"
    assert get(client, "/v1/operations", 501)["error"]["status"] == "UNIMPLEMENTED"
    assert get(client, "/v1/projects/p/services/NO", 403)["error"]["code"] == 403
    assert client.post("/v3/projects", json={"projectId": "new-project"}).status_code == 501
    assert client.delete("/v3/projects/demo-project").status_code == 501


def test_projects_are_those_with_a_dataset_or_a_service(client: Any) -> None:
    assert get(client, "/v3/projects:search") == {}
    datasets = "/v1/projects/{}/locations/us-central1/datasets?datasetId=d"
    for project in ("demo-project", "other-project"):
        assert client.post(datasets.format(project), json={}).status_code == 200
    found = get(client, "/v3/projects:search")["projects"]
    assert [p["projectId"] for p in found] == ["demo-project", "other-project"]
    one = get(client, "/v3/projects:search?query=id:other* state:ACTIVE")["projects"]
    assert [p["projectId"] for p in one] == ["other-project"]
    assert get(client, f"/v3/{one[0]['name']}") == one[0]
    old = get(client, "/v1/projects")["projects"]
    assert [f"projects/{p['projectNumber']}" for p in old] == [p["name"] for p in found]
    # A project needs nothing in it to be one; what cannot be an id is none.
    assert get(client, "/v3/projects/new-project")["state"] == "ACTIVE"
    assert get(client, "/v3/projects/X", 403)["error"]["status"] == "PERMISSION_DENIED"
    assert get(client, "/v3/projects", 400)
    assert get(client, "/v3/projects?parent=organizations/1") == {}


def test_enabled_services_outlast_a_restart(
    tmp_path: Path, open_emulator: Callable[..., Any]
) -> None:
    for status in ("DISABLED", "ENABLED"):
        with open_emulator(tmp_path / "root") as client:
            assert get(client, HEALTHCARE)["state"] == status
            client.post(f"{HEALTHCARE}:enable", json={})
    kept = tmp_path / "root" / "services.sqlite"
    assert kept.stat().st_mode & 0o777 == 0o600
