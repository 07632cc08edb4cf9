"""Pub/Sub in the emulator: topics, subscriptions, deadlines."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsql.emulator.neighbours import messages
from dicomsql.emulator.neighbours.messages import Message, Post

TOPIC = "/v1/projects/p/topics/news"
SUBSCRIPTION = "/v1/projects/p/subscriptions/reader"


@pytest.fixture
def client(tmp_path: Path, open_emulator: Callable[..., Any]) -> Iterator[Any]:
    """An emulator with a topic and a subscription to it."""
    with open_emulator(tmp_path / "root", environment={}) as client:
        assert client.request("PUT", TOPIC, json={}).status_code == 200
        made = client.request("PUT", SUBSCRIPTION, json={"topic": TOPIC.removeprefix("/v1/")})
        assert made.json()["ackDeadlineSeconds"] == 10
        yield client


def publish(client: Any, *texts: str) -> list[str]:
    sent = [{"data": base64.b64encode(text.encode()).decode()} for text in texts]
    answer = client.post(f"{TOPIC}:publish", json={"messages": sent})
    found: list[str] = answer.json()["messageIds"]
    return found


def pull(client: Any, most: int = 10) -> list[tuple[str, str]]:
    """Acknowledgement ids and texts."""
    body = {"maxMessages": most, "returnImmediately": True}
    answer = client.post(f"{SUBSCRIPTION}:pull", json=body).json()
    return [
        (received["ackId"], base64.b64decode(received["message"]["data"]).decode())
        for received in answer.get("receivedMessages", [])
    ]


def test_published_pulled_acknowledged(client: Any) -> None:
    numbers = publish(client, "a", "b", "c")
    assert len(set(numbers)) == 3
    first = pull(client, 2)
    assert [text for _, text in first] == ["a", "b"]
    assert [text for _, text in pull(client)] == ["c"]
    assert pull(client) == []
    acknowledged = client.post(f"{SUBSCRIPTION}:acknowledge", json={"ackIds": [first[0][0]]})
    assert acknowledged.json() == {}
    now = {"ackIds": [ack for ack, _ in first], "ackDeadlineSeconds": 0}
    assert client.post(f"{SUBSCRIPTION}:modifyAckDeadline", json=now).json() == {}
    assert [text for _, text in pull(client)] == ["b"]


def test_what_is_not_acknowledged_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 1_000_000.0
    monkeypatch.setattr(messages.time, "time", lambda: moment)
    post, other = Post(tmp_path), Post(tmp_path)
    post.add_topic("projects/p/topics/t", {})
    for name in ("s1", "s2"):
        post.add_subscription(name, "projects/p/topics/t", {}, 10, 600.0)
    post.publish_all("projects/p/topics/t", [Message(b"x", {"k": "v"}, "key")])
    (given,) = post.pull("s1", 5)
    assert (given.message.attributes, given.message.ordering_key) == ({"k": "v"}, "key")
    assert other.pull("s1", 5) == []
    moment += 11
    (again,) = other.pull("s1", 5)
    assert (again.number, again.ack_id != given.ack_id) == (given.number, True)
    post.acknowledge("s1", [given.ack_id])
    moment += 11
    assert len(post.pull("s1", 5)) == 1, "an id of a pull before this one acknowledges nothing"
    moment += 600
    assert post.pull("s2", 5) == [], "its retention is over"
    post.close()
    other.close()


def test_messages_without_a_subscription_are_not_kept(client: Any, tmp_path: Path) -> None:
    assert client.delete(SUBSCRIPTION).json() == {}
    publish(client, "lost")
    client.request("PUT", SUBSCRIPTION, json={"topic": TOPIC.removeprefix("/v1/")})
    assert pull(client) == []
    publish(client, "kept")
    assert client.delete(TOPIC).json() == {}
    assert client.get(SUBSCRIPTION).json()["topic"] == "_deleted-topic_"
    assert [text for _, text in pull(client)] == ["kept"]


def test_lists(client: Any) -> None:
    for name in ("other", "third"):
        client.request("PUT", f"/v1/projects/p/topics/{name}", json={"labels": {"k": "v"}})
    page = client.get("/v1/projects/p/topics?pageSize=2").json()
    assert [topic["name"] for topic in page["topics"]] == [
        "projects/p/topics/news",
        "projects/p/topics/other",
    ]
    rest = client.get(f"/v1/projects/p/topics?pageToken={page['nextPageToken']}").json()
    assert rest == {"topics": [{"name": "projects/p/topics/third", "labels": {"k": "v"}}]}
    full = SUBSCRIPTION.removeprefix("/v1/")
    assert client.get(f"{TOPIC}/subscriptions").json() == {"subscriptions": [full]}
    listed = client.get("/v1/projects/p/subscriptions").json()["subscriptions"]
    assert [subscription["name"] for subscription in listed] == [full]
    assert client.get("/v1/projects/q/subscriptions").json() == {}


@pytest.mark.parametrize(
    ("verb", "path", "body", "status"),
    [
        ("PUT", TOPIC, {}, 409),
        ("PUT", "/v1/projects/p/topics/1x", {}, 400),
        ("PUT", "/v1/projects/p/topics/google", {}, 400),
        ("PUT", "/v1/projects/p/topics/other", {"nonsense": 1}, 400),
        ("PUT", "/v1/projects/p/topics/other", {"schemaSettings": {"schema": "x"}}, 501),
        ("PUT", SUBSCRIPTION, {"topic": "projects/p/topics/news"}, 409),
        ("PUT", SUBSCRIPTION + "2", {"topic": "projects/p/topics/missing"}, 404),
        ("PUT", SUBSCRIPTION + "2", {"topic": "news"}, 400),
        (
            "PUT",
            SUBSCRIPTION + "2",
            {"topic": "projects/p/topics/news", "ackDeadlineSeconds": 5},
            400,
        ),
        (
            "PUT",
            SUBSCRIPTION + "2",
            {"topic": "projects/p/topics/news", "filter": 'attributes:"x"'},
            501,
        ),
        ("GET", "/v1/projects/p/topics/missing", None, 404),
        ("DELETE", "/v1/projects/p/topics/missing", None, 404),
        ("POST", "/v1/projects/p/topics/missing:publish", {"messages": [{"data": "eA=="}]}, 404),
        ("POST", f"{TOPIC}:publish", {"messages": [{"data": "?"}]}, 400),
        ("POST", f"{TOPIC}:publish", {"messages": [{}]}, 400),
        ("POST", f"{TOPIC}:publish", {}, 400),
        ("POST", f"{SUBSCRIPTION}:pull", {}, 400),
        ("POST", f"{SUBSCRIPTION}:acknowledge", {"ackIds": ["x"]}, 400),
        ("POST", f"{SUBSCRIPTION}:seek", {}, 501),
        ("PATCH", TOPIC, {}, 501),
        ("GET", "/v1/projects/p/snapshots", None, 501),
        ("GET", "/v1/projects/p/topics?pageToken=x", None, 400),
        ("GET", "/v1/projects/p/topics?other=1", None, 400),
        ("GET", f"{TOPIC}:nonsense", None, 404),
    ],
)
def test_refusals(client: Any, verb: str, path: str, body: Any, status: int) -> None:
    answer = client.request(verb, path, json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(("topic", "status"), [("new", 200), ("t", 400), ("goog-x", 400)])
def test_the_topic_of_a_store_may_be_in_a_project_of_one_letter(
    emulator: Any, topic: str, status: int
) -> None:
    if status == 200:
        assert emulator.request("PUT", f"/v1/projects/p/topics/{topic}").status_code == 200
    path = "/v1/projects/p/locations/us-central1/datasets/d/dicomStores?dicomStoreId=told"
    body = {"notificationConfig": {"pubsubTopic": f"projects/p/topics/{topic}"}}
    answer = emulator.post(path, json=body)
    assert answer.status_code == status
    assert status == 200 or "3 to 255 letters" in answer.json()["error"]["message"]
