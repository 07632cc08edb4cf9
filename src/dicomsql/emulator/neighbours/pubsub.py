"""Pub/Sub's JSON API: topics, subscriptions that are pulled from, and their messages."""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomsql.emulator.neighbours import remote
from dicomsql.emulator.neighbours.base import Topics
from dicomsql.emulator.neighbours.messages import Message, Post, Pulled, Subscription
from dicomsql.emulator.neighbours.web import Ask, Handler, Method, known, unimplemented
from dicomsql.emulator.status import invalid, invalid_field

__all__ = ["PubSub", "open_pubsub"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_PAGE = frozenset({"pageSize", "pageToken"})
_DEFAULT_PAGE, _LARGEST_PAGE = 100, 1000
_MOST_PULLED = 1000
# Seconds that a pull waits for a message before it answers that there is none, and between looks.
_WAIT, _LOOK = 1.0, 0.05
_SHORTEST, _LONGEST = 10, 600  # of an ack deadline, in seconds
_WEEK = 7 * 24 * 3600
_ANY = "GET POST PUT PATCH DELETE"
_TOPIC_FIELDS = ("name", "labels", "messageRetentionDuration", "state", "satisfiesPzs")
_TOPIC_UNDONE = (
    *("messageStoragePolicy", "kmsKeyName", "schemaSettings", "ingestionDataSourceSettings"),
    *("messageTransforms", "tags"),
)
_SUBSCRIPTION_FIELDS = (
    *("name", "topic", "ackDeadlineSeconds", "labels", "messageRetentionDuration", "state"),
    *("expirationPolicy", "topicMessageRetentionDuration"),
)
_SUBSCRIPTION_UNDONE = (
    *("pushConfig", "bigqueryConfig", "cloudStorageConfig", "retainAckedMessages", "filter"),
    *("enableMessageOrdering", "deadLetterPolicy", "retryPolicy", "detached", "messageTransforms"),
    *("enableExactlyOnceDelivery", "analyticsHubSubscriptionInfo", "tags", "bigtableConfig"),
)


@dataclass(frozen=True, slots=True)
class PubSub:
    """Pub/Sub, as the stores use it and as it is answered."""

    topics: Topics
    methods: tuple[Method, ...]
    close: Callable[[], None]


def open_pubsub(place: Path, server: str) -> PubSub:
    """Pub/Sub in a folder, or on another server.

    Args:
        server: its root URL; ours if empty.
    """
    kinds = ("topics", "subscriptions", "snapshots", "schemas")
    if server:
        other = remote.Server(server, "Pub/Sub", "PUBSUB_EMULATOR_HOST")
        paths = [f"/v1/projects/{{project}}/{kind}{rest}" for kind in kinds for rest in _RESTS]
        methods = tuple(other.method(path) for path in paths)
        return PubSub(remote.RemoteTopics(other), methods, lambda: None)
    post = Post(place)
    return PubSub(post, tuple(_methods(post)), post.close)


_RESTS = ("", "/{rest*}")


def _methods(post: Post) -> Iterator[Method]:
    api = _Api(post)
    project = "/v1/projects/{project}"
    topic, subscription = f"{project}/topics/{{topic}}", f"{project}/subscriptions/{{name}}"
    table: tuple[tuple[str, str, Handler, frozenset[str]], ...] = (
        ("GET", f"{project}/topics", api.list_topics, _PAGE),
        ("PUT", topic, api.create_topic, frozenset()),
        ("GET", topic, api.get_topic, frozenset()),
        ("DELETE", topic, api.delete_topic, frozenset()),
        ("POST", f"{topic}:publish", api.publish, frozenset()),
        ("GET", f"{topic}/subscriptions", api.list_of_topic, _PAGE),
        ("GET", f"{project}/subscriptions", api.list_subscriptions, _PAGE),
        ("PUT", subscription, api.create_subscription, frozenset()),
        ("GET", subscription, api.get_subscription, frozenset()),
        ("DELETE", subscription, api.delete_subscription, frozenset()),
        ("POST", f"{subscription}:pull", api.pull, frozenset()),
        ("POST", f"{subscription}:acknowledge", api.acknowledge, frozenset()),
        ("POST", f"{subscription}:modifyAckDeadline", api.modify_deadline, frozenset()),
    )
    for verb, path, handler, parameters in table:
        yield Method(verb, path, handler, parameters)
    yield unimplemented("PATCH", topic)
    yield unimplemented("PATCH", subscription)
    verbs = {
        topic: ("getIamPolicy setIamPolicy testIamPermissions"),
        subscription: ("getIamPolicy setIamPolicy testIamPermissions detach modifyPushConfig seek"),
    }
    for resource, names in verbs.items():
        for name in names.split():
            yield unimplemented("GET" if name == "getIamPolicy" else "POST", f"{resource}:{name}")
    yield unimplemented("GET", f"{topic}/snapshots")
    for kind in ("snapshots", "schemas"):
        for rest in ("", "/{rest*}"):
            yield unimplemented(_ANY, f"{project}/{kind}{rest}")
    for name in ("validate", "validateMessage"):
        yield unimplemented("POST", f"{project}/schemas:{name}")


class _Api:
    """The methods over what is kept."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def create_topic(self, ask: Ask) -> dict[str, Any]:
        body = ask.body()
        known(body, _TOPIC_FIELDS, _TOPIC_UNDONE)
        name = _full(ask, "topics", ask.names["topic"], new=True)
        kept = {"labels": _labels(body)} if body.get("labels") else {}
        self._post.add_topic(name, kept)
        return {"name": name, **kept}

    def get_topic(self, ask: Ask) -> dict[str, Any]:
        name = _full(ask, "topics", ask.names["topic"])
        return {"name": name, **self._post.topic(name)}

    def list_topics(self, ask: Ask) -> dict[str, Any]:
        prefix = f"projects/{ask.names['project']}/topics/"
        size, after = _page(ask, prefix)
        found = self._post.topics(prefix, after, size + 1)
        names = [name for name, _ in found]
        shown = [{"name": name, **body} for name, body in found[:size]]
        return _listed("topics", shown, names, size)

    def delete_topic(self, ask: Ask) -> dict[str, Any]:
        self._post.remove_topic(_full(ask, "topics", ask.names["topic"]))
        return {}

    def publish(self, ask: Ask) -> dict[str, Any]:
        body = ask.body()
        known(body, ("messages",))
        messages = body.get("messages")
        if not isinstance(messages, list) or not 1 <= len(messages) <= 1000:
            raise invalid_field("messages", "Give 1 to 1000 messages.")
        read = [_message(message, number) for number, message in enumerate(messages)]
        name = _full(ask, "topics", ask.names["topic"])
        return {"messageIds": [str(n) for n in self._post.publish_all(name, read)]}

    def list_of_topic(self, ask: Ask) -> dict[str, Any]:
        topic = _full(ask, "topics", ask.names["topic"])
        self._post.topic(topic)
        size, after = _page(ask, "projects/")
        found = self._post.subscriptions("projects/", topic, after, size + 1)
        names = [subscription.name for subscription in found]
        return _listed("subscriptions", names[:size], names, size)

    def create_subscription(self, ask: Ask) -> dict[str, Any]:
        body = ask.body()
        known(body, _SUBSCRIPTION_FIELDS, _SUBSCRIPTION_UNDONE)
        name = _full(ask, "subscriptions", ask.names["name"], new=True)
        topic = body.get("topic")
        if not isinstance(topic, str) or not re.fullmatch(r"projects/[^/]+/topics/[^/]+", topic):
            raise invalid_field("topic", "Invalid topic: projects/PROJECT/topics/TOPIC is needed.")
        deadline = body.get("ackDeadlineSeconds") or _SHORTEST
        if not isinstance(deadline, int) or not _SHORTEST <= deadline <= _LONGEST:
            raise invalid_field(
                "ack_deadline_seconds", f"Invalid ack deadline: {_SHORTEST} to {_LONGEST} seconds."
            )
        retention = _seconds(body.get("messageRetentionDuration"))
        kept = {
            "ackDeadlineSeconds": deadline,
            "messageRetentionDuration": f"{retention}s",
            **({"labels": _labels(body)} if body.get("labels") else {}),
        }
        self._post.add_subscription(name, topic, kept, deadline, retention)
        return _shown(Subscription(name, topic, kept))

    def get_subscription(self, ask: Ask) -> dict[str, Any]:
        return _shown(self._post.subscription(_named(ask)))

    def list_subscriptions(self, ask: Ask) -> dict[str, Any]:
        prefix = f"projects/{ask.names['project']}/subscriptions/"
        size, after = _page(ask, prefix)
        found = self._post.subscriptions(prefix, "", after, size + 1)
        names = [subscription.name for subscription in found]
        return _listed("subscriptions", [_shown(s) for s in found[:size]], names, size)

    def delete_subscription(self, ask: Ask) -> dict[str, Any]:
        self._post.remove_subscription(_named(ask))
        return {}

    def pull(self, ask: Ask) -> dict[str, Any]:
        """Waits a moment for the first message, unless returnImmediately says not to."""
        body = ask.body()
        known(body, ("maxMessages", "returnImmediately"))
        most = body.get("maxMessages")
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise invalid_field("max_messages", "Invalid maxMessages: a number from 1 is needed.")
        deadline = time.monotonic() + (0 if body.get("returnImmediately") else _WAIT)
        name = _named(ask)
        while True:
            found = self._post.pull(name, min(most, _MOST_PULLED))
            if found or time.monotonic() >= deadline:
                break
            time.sleep(_LOOK)
        return {"receivedMessages": [_received(given) for given in found]} if found else {}

    def acknowledge(self, ask: Ask) -> dict[str, Any]:
        body = ask.body()
        known(body, ("ackIds",))
        self._post.acknowledge(_named(ask), _ack_ids(body))
        return {}

    def modify_deadline(self, ask: Ask) -> dict[str, Any]:
        body = ask.body()
        known(body, ("ackIds", "ackDeadlineSeconds"))
        seconds = body.get("ackDeadlineSeconds", 0)
        if not isinstance(seconds, int) or not 0 <= seconds <= _LONGEST:
            raise invalid_field(
                "ack_deadline_seconds", f"Invalid ack deadline: 0 to {_LONGEST} seconds."
            )
        self._post.postpone(_named(ask), _ack_ids(body), seconds)
        return {}


def _full(ask: Ask, kind: str, name: str, *, new: bool = False) -> str:
    if new and (not _NAME.fullmatch(name) or name.startswith("goog")):
        raise invalid(
            f"Invalid resource name in {kind}: 3 to 255 letters, digits and -._~+%, a letter first,"
            " and not goog."
        )
    return f"projects/{ask.names['project']}/{kind}/{name}"


def _named(ask: Ask) -> str:
    return _full(ask, "subscriptions", ask.names["name"])


def _labels(body: dict[str, Any]) -> dict[str, str]:
    labels = body["labels"]
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise invalid_field("labels", "Invalid labels: texts by name are needed.")
    return labels


def _message(message: Any, number: int) -> Message:
    where = f"messages[{number}]"
    if not isinstance(message, dict):
        raise invalid_field(where, f"Invalid value at '{where}': an object was expected.")
    known(message, ("data", "attributes", "orderingKey", "messageId", "publishTime"))
    attributes = message.get("attributes") or {}
    if not isinstance(attributes, dict) or not all(isinstance(v, str) for v in attributes.values()):
        raise invalid_field(where, f"Invalid attributes at '{where}': texts by name are needed.")
    data, key = message.get("data") or "", message.get("orderingKey") or ""
    if not isinstance(data, str) or not isinstance(key, str):
        raise invalid_field(where, f"Invalid value at '{where}': texts were expected.")
    if not data and not attributes:
        raise invalid_field(where, "A message needs data or attributes.")
    try:
        # the JSON of protocol buffers takes both alphabets, with the padding and without
        plain = data.replace("-", "+").replace("_", "/").rstrip("=")
        content = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid_field(where, f"Invalid data at '{where}': base64 is needed.") from None
    return Message(content, attributes, key)


def _received(given: Pulled) -> dict[str, Any]:
    moment = datetime.datetime.fromtimestamp(given.published, datetime.UTC)
    message: dict[str, Any] = {
        "messageId": str(given.number),
        "publishTime": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z",
    }
    if given.message.data:
        message["data"] = base64.b64encode(given.message.data).decode()
    if given.message.attributes:
        message["attributes"] = dict(given.message.attributes)
    if given.message.ordering_key:
        message["orderingKey"] = given.message.ordering_key
    return {"ackId": given.ack_id, "message": message}


def _shown(subscription: Subscription) -> dict[str, Any]:
    return {
        "name": subscription.name,
        "topic": subscription.topic,
        "pushConfig": {},
        **subscription.body,
        "expirationPolicy": {},
        "state": "ACTIVE",
    }


def _ack_ids(body: dict[str, Any]) -> list[str]:
    ack_ids = body.get("ackIds")
    if not isinstance(ack_ids, list) or not all(isinstance(i, str) for i in ack_ids) or not ack_ids:
        raise invalid_field("ack_ids", "Give the ackIds that a pull has given.")
    return ack_ids


def _seconds(text: Any) -> int:
    """A retention, such as `600s`; from ten minutes to 31 days, a week if none is given."""
    if text is None:
        return _WEEK
    match = re.fullmatch(r"(\d{1,9})(\.\d{1,9})?s", str(text))
    if match is None or not 600 <= int(match[1]) <= 31 * 24 * 3600:
        raise invalid_field(
            "message_retention_duration", "Invalid retention: from 600s to 2678400s."
        )
    return int(match[1])


def _page(ask: Ask, prefix: str) -> tuple[int, str]:
    size = ask.number("pageSize", _DEFAULT_PAGE, _LARGEST_PAGE) or _DEFAULT_PAGE
    token = ask.parameter("pageToken")
    after = ""
    if token:
        with contextlib.suppress(binascii.Error, ValueError):
            after = base64.urlsafe_b64decode(token).decode()
        if not after.startswith(prefix):
            raise invalid_field(
                "page_token", "Invalid page token: give the nextPageToken of the page before."
            )
    return size, after


def _listed(kind: str, shown: list[Any], names: list[str], size: int) -> dict[str, Any]:
    answer: dict[str, Any] = {kind: shown} if shown else {}
    if len(names) > size:
        answer["nextPageToken"] = base64.urlsafe_b64encode(names[size - 1].encode()).decode()
    return answer
