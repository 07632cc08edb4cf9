"""Topics, subscriptions and messages in an SQLite file.

A message is kept for each subscription until it is acknowledged or its retention is over. A pull
hides what it gives until the deadline; what is not acknowledged by then is given again.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomsql.emulator.neighbours.base import NeighbourError
from dicomsql.emulator.neighbours.database import Database

__all__ = ["DELETED_TOPIC", "Message", "Post", "Pulled"]

DELETED_TOPIC = "_deleted-topic_"

_VERSION = 1
_SCHEMA = """
CREATE TABLE topics (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, body TEXT NOT NULL,
    deadline INTEGER NOT NULL, retention REAL NOT NULL);
CREATE INDEX subscriptions_by_topic ON subscriptions (topic);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    data BLOB NOT NULL, attributes TEXT NOT NULL, ordering_key TEXT NOT NULL,
    published REAL NOT NULL);
CREATE TABLE deliveries (
    subscription_id INTEGER NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
    message_id INTEGER NOT NULL REFERENCES messages,
    ready REAL NOT NULL, ack_id TEXT,
    PRIMARY KEY (subscription_id, message_id)) WITHOUT ROWID;
CREATE INDEX deliveries_by_message ON deliveries (message_id);
CREATE UNIQUE INDEX deliveries_by_ack ON deliveries (ack_id);
"""
_ACK_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Message:
    """What is published."""

    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str = ""


@dataclass(frozen=True, slots=True)
class Pulled:
    """A message as a subscriber gets it.

    Attributes:
        published: seconds since 1970.
    """

    ack_id: str
    number: int
    message: Message
    published: float


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription; `topic` is `_deleted-topic_` where its topic has gone."""

    name: str
    topic: str
    body: dict[str, Any]


class Post:
    """The topics of one emulator's folder, which several processes may use."""

    def __init__(self, place: Path) -> None:
        self._index = Database(place / "pubsub.sqlite", _SCHEMA, _VERSION)

    def close(self) -> None:
        """Let go of the file."""
        self._index.close()

    # Topics, as the stores use them

    def check(self, topic: str) -> None:
        """See `base.Topics`."""
        self.topic(topic)

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        """See `base.Topics`."""
        self.publish_all(topic, [Message(data, attributes)])

    # as the JSON API uses them

    def add_topic(self, name: str, body: Mapping[str, Any]) -> None:
        """Make a topic; ALREADY_EXISTS."""
        with self._index.write() as db:
            try:
                db.execute("INSERT INTO topics VALUES (?, ?)", (name, json.dumps(dict(body))))
            except sqlite3.IntegrityError:
                raise _there_already(name) from None

    def topic(self, name: str) -> dict[str, Any]:
        """What was said of a topic when it was made; NOT_FOUND."""
        with self._index.read() as db:
            row = db.execute("SELECT body FROM topics WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise _missing(name)
        return dict(json.loads(row[0]))

    def topics(self, prefix: str, after: str, limit: int) -> list[tuple[str, dict[str, Any]]]:
        """The topics whose names begin so and come after `after`."""
        with self._index.read() as db:
            rows = db.execute(
                "SELECT name, body FROM topics WHERE name > ? AND substr(name, 1, ?) = ?"
                " ORDER BY name LIMIT ?",
                (max(after, prefix), len(prefix), prefix, limit),
            ).fetchall()
        return [(name, json.loads(body)) for name, body in rows]

    def remove_topic(self, name: str) -> None:
        """Remove a topic; its subscriptions stay, with what they have. NOT_FOUND."""
        with self._index.write() as db:
            if not db.execute("DELETE FROM topics WHERE name = ?", (name,)).rowcount:
                raise _missing(name)
            db.execute("UPDATE subscriptions SET topic = ? WHERE topic = ?", (DELETED_TOPIC, name))

    def publish_all(self, topic: str, messages: Sequence[Message]) -> list[int]:
        """Publish messages; gives their numbers. NOT_FOUND."""
        now = time.time()
        with self._index.write() as db:
            if not db.execute("SELECT 1 FROM topics WHERE name = ?", (topic,)).fetchone():
                raise _missing(topic)
            found = db.execute("SELECT id FROM subscriptions WHERE topic = ?", (topic,)).fetchall()
            numbers = []
            for message in messages:
                said = json.dumps(dict(message.attributes))
                cursor = db.execute(
                    "INSERT INTO messages (data, attributes, ordering_key, published)"
                    " VALUES (?, ?, ?, ?)",
                    (message.data, said, message.ordering_key, now),
                )
                number = int(cursor.lastrowid or 0)
                numbers.append(number)
                db.executemany(
                    "INSERT INTO deliveries VALUES (?, ?, ?, NULL)",
                    [(row, number, now) for (row,) in found],
                )
            if not found:
                db.executemany("DELETE FROM messages WHERE id = ?", [(n,) for n in numbers])
        return numbers

    def add_subscription(
        self, name: str, topic: str, body: Mapping[str, Any], deadline: int, retention: float
    ) -> None:
        """Make a subscription; NOT_FOUND for its topic, ALREADY_EXISTS.

        Args:
            deadline: seconds that a subscriber has to acknowledge a message.
            retention: seconds that a message is kept.
        """
        with self._index.write() as db:
            if not db.execute("SELECT 1 FROM topics WHERE name = ?", (topic,)).fetchone():
                raise _missing(topic)
            try:
                db.execute(
                    "INSERT INTO subscriptions (name, topic, body, deadline, retention)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (name, topic, json.dumps(dict(body)), deadline, retention),
                )
            except sqlite3.IntegrityError:
                raise _there_already(name) from None

    def subscription(self, name: str) -> Subscription:
        """A subscription; NOT_FOUND."""
        with self._index.read() as db:
            row = db.execute(
                "SELECT name, topic, body FROM subscriptions WHERE name = ?", (name,)
            ).fetchone()
        if row is None:
            raise _missing(name)
        return Subscription(row[0], row[1], json.loads(row[2]))

    def subscriptions(self, prefix: str, topic: str, after: str, limit: int) -> list[Subscription]:
        """The subscriptions after `after` whose names begin so; of a topic, if one is given."""
        with self._index.read() as db:
            rows = db.execute(
                "SELECT name, topic, body FROM subscriptions WHERE name > ?"
                " AND substr(name, 1, ?) = ? AND (? = '' OR topic = ?) ORDER BY name LIMIT ?",
                (max(after, prefix), len(prefix), prefix, topic, topic, limit),
            ).fetchall()
        return [Subscription(row[0], row[1], json.loads(row[2])) for row in rows]

    def remove_subscription(self, name: str) -> None:
        """Remove a subscription and what it has; NOT_FOUND."""
        with self._index.write() as db:
            if not db.execute("DELETE FROM subscriptions WHERE name = ?", (name,)).rowcount:
                raise _missing(name)
            _forget_undelivered(db)

    def pull(self, name: str, most: int) -> list[Pulled]:
        """Messages that wait, in the order in which they were published; NOT_FOUND."""
        self.subscription(name)
        if not self._waits(name):
            return []  # no lock taken for nothing, since subscribers ask again and again
        now = time.time()
        with self._index.write() as db:
            row = db.execute(
                "SELECT id, deadline, retention FROM subscriptions WHERE name = ?", (name,)
            ).fetchone()
            if row is None:
                raise _missing(name)
            number, deadline, retention = row
            db.execute(
                "DELETE FROM deliveries WHERE subscription_id = ? AND message_id IN"
                " (SELECT id FROM messages WHERE published < ?)",
                (number, now - retention),
            )
            _forget_undelivered(db)
            rows = db.execute(
                "SELECT m.id, m.data, m.attributes, m.ordering_key, m.published"
                " FROM deliveries d JOIN messages m ON m.id = d.message_id"
                " WHERE d.subscription_id = ? AND d.ready <= ? ORDER BY m.id LIMIT ?",
                (number, now, most),
            ).fetchall()
            pulled = [
                Pulled(
                    uuid.uuid4().hex, row[0], Message(row[1], json.loads(row[2]), row[3]), row[4]
                )
                for row in rows
            ]
            db.executemany(
                "UPDATE deliveries SET ready = ?, ack_id = ?"
                " WHERE subscription_id = ? AND message_id = ?",
                [(now + deadline, given.ack_id, number, given.number) for given in pulled],
            )
        return pulled

    def acknowledge(self, name: str, ack_ids: Sequence[str]) -> None:
        """Let messages go; one whose deadline has passed may come again. NOT_FOUND."""
        self._check_ack_ids(ack_ids)
        with self._index.write() as db:
            row = _subscription_row(db, name)
            db.executemany(
                "DELETE FROM deliveries WHERE subscription_id = ? AND ack_id = ?",
                [(row, ack_id) for ack_id in ack_ids],
            )
            _forget_undelivered(db)

    def postpone(self, name: str, ack_ids: Sequence[str], seconds: int) -> None:
        """Set the deadline of messages to so many seconds from now; NOT_FOUND."""
        self._check_ack_ids(ack_ids)
        with self._index.write() as db:
            row, ready = _subscription_row(db, name), time.time() + seconds
            db.executemany(
                "UPDATE deliveries SET ready = ? WHERE subscription_id = ? AND ack_id = ?",
                [(ready, row, ack_id) for ack_id in ack_ids],
            )

    def _waits(self, name: str) -> bool:
        with self._index.read() as db:
            found = db.execute(
                "SELECT 1 FROM subscriptions s JOIN deliveries d ON d.subscription_id = s.id"
                " WHERE s.name = ? AND d.ready <= ? LIMIT 1",
                (name, time.time()),
            ).fetchone()
        return found is not None

    def _check_ack_ids(self, ack_ids: Sequence[str]) -> None:
        if not all(_ACK_ID.fullmatch(ack_id) for ack_id in ack_ids):
            raise NeighbourError(
                "INVALID_ARGUMENT", "Some acknowledgement ids are none that a pull has given."
            )


def _subscription_row(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT id FROM subscriptions WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise _missing(name)
    return int(row[0])


def _forget_undelivered(db: sqlite3.Connection) -> None:
    """Remove the messages that no subscription waits for any more."""
    db.execute(
        "DELETE FROM messages WHERE NOT EXISTS"
        " (SELECT 1 FROM deliveries d WHERE d.message_id = messages.id)"
    )


def _missing(name: str) -> NeighbourError:
    return NeighbourError("NOT_FOUND", f"Resource not found (resource={name.rpartition('/')[2]}).")


def _there_already(name: str) -> NeighbourError:
    return NeighbourError(
        "ALREADY_EXISTS",
        f"Resource already exists in the project (resource={name.rpartition('/')[2]}).",
    )
