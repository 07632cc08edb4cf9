"""Request bodies: which fields each message has, how they are checked, and field masks over them.

The tables follow the discovery document of the API, version v1.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dicomsql.emulator.status import StatusError, invalid_field


@dataclass(frozen=True, slots=True)
class Scalar:
    """A field with one value.

    `read` gives it in its canonical form, None where it is the field's default, or raises
    ValueError.
    """

    kind: str
    read: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Map:
    """A map from text to text."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A list."""

    member: Schema


@dataclass(frozen=True, slots=True)
class Message:
    """An object; `output` are fields that a request may hold and that change nothing."""

    fields: dict[str, Schema]
    output: frozenset[str] = frozenset()


Schema = Scalar | Map | Repeated | Message


def _read_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError


def _read_flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError


def _read_integer(value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,10}", str(value)):
        raise ValueError
    number = int(value)
    if not -(2**31) <= number < 2**31:
        raise ValueError
    return number


def enumeration(*names: str) -> Scalar:
    """A field with one of some names, by name or by number; the first stands for none."""

    def read(value: Any) -> str | None:
        number = value if type(value) is int else names.index(_read_text(value))
        if not 0 <= number < len(names):
            raise ValueError
        return names[number] if number else None

    return Scalar("TYPE_ENUM", read)


STRING = Scalar("TYPE_STRING", _read_text)
BOOLEAN = Scalar("TYPE_BOOL", _read_flag)
INTEGER = Scalar("TYPE_INT32", _read_integer)
_EMPTY = Message({})
WRITE_DISPOSITION = enumeration(
    "WRITE_DISPOSITION_UNSPECIFIED", "WRITE_EMPTY", "WRITE_TRUNCATE", "WRITE_APPEND"
)

DATASET = Message(
    {
        "name": STRING,
        "timeZone": STRING,
        "encryptionSpec": Message({"kmsKeyName": STRING}),
        "satisfiesPzi": BOOLEAN,
        "satisfiesPzs": BOOLEAN,
    },
    output=frozenset({"name", "satisfiesPzi", "satisfiesPzs"}),
)
DICOM_STORE = Message(
    {
        "name": STRING,
        "labels": Map(),
        "notificationConfig": Message({"pubsubTopic": STRING, "sendForBulkImport": BOOLEAN}),
        "notificationConfigs": Repeated(Message({"pubsubTopic": STRING})),
        "streamConfigs": Repeated(
            Message(
                {
                    "bigqueryDestination": Message(
                        {
                            "tableUri": STRING,
                            "force": BOOLEAN,
                            "writeDisposition": WRITE_DISPOSITION,
                            "includeSourceStore": BOOLEAN,
                            "schemaFlattened": _EMPTY,
                            "schemaJson": _EMPTY,
                        }
                    )
                }
            )
        ),
    },
    output=frozenset({"name"}),
)
_LOG_TYPE = enumeration("LOG_TYPE_UNSPECIFIED", "ADMIN_READ", "DATA_WRITE", "DATA_READ")
_POLICY = Message(
    {
        "version": INTEGER,
        "etag": STRING,
        "bindings": Repeated(
            Message(
                {
                    "role": STRING,
                    "members": Repeated(STRING),
                    "condition": Message(
                        {
                            "expression": STRING,
                            "title": STRING,
                            "description": STRING,
                            "location": STRING,
                        }
                    ),
                }
            )
        ),
        "auditConfigs": Repeated(
            Message(
                {
                    "service": STRING,
                    "auditLogConfigs": Repeated(
                        Message({"logType": _LOG_TYPE, "exemptedMembers": Repeated(STRING)})
                    ),
                }
            )
        ),
    }
)
SET_IAM_POLICY = Message({"policy": _POLICY, "updateMask": STRING})
TEST_IAM_PERMISSIONS = Message({"permissions": Repeated(STRING)})
CANCEL_OPERATION = _EMPTY


def check(body: Any, schema: Message, root: str) -> dict[str, Any]:
    """The body in canonical form: camelCase names, no output-only fields, no nulls.

    Args:
        root: what Google's messages call the body, such as `dicom_store`.

    Raises:
        StatusError: 400 for a field that the message does not have or a value of another type.
    """
    return {k: v for k, v in _message(body, schema, root).items() if k not in schema.output}


def apply_mask(
    current: dict[str, Any], patch: dict[str, Any], mask: str | None, schema: Message
) -> dict[str, Any]:
    """What a PATCH makes of a resource: the mask's fields from the patch, the others kept.

    A field that the mask names and the patch lacks is cleared. `*` replaces everything.

    Raises:
        StatusError: 400 without a mask, or for a path that the message does not have.
    """
    paths = [part.strip() for part in (mask or "").split(",")]
    if not all(paths):
        raise invalid_field(
            "update_mask", "Invalid update_mask: give it as the parameter updateMask."
        )
    if paths == ["*"]:
        return dict(patch)
    changed = dict(current)
    for path in paths:
        head, _, rest = path.partition(".")
        name = camel_case(head)
        field = schema.fields.get(name)
        if field is None or name in schema.output:
            raise invalid_field("update_mask", f'Invalid update_mask: "{path}" cannot be updated.')
        if rest:
            below = _apply_below(changed.get(name, {}), patch.get(name, {}), rest, field, path)
            _put(changed, name, below)
        else:
            _put(changed, name, patch.get(name))
    return changed


def check_labels(labels: dict[str, str]) -> None:
    """Google's limits on labels (DicomStore.labels in the discovery document).

    Keys are taken with digits, `_` and `-` after the first letter, as all Google APIs have them;
    the pattern printed in the document names letters alone.

    Raises:
        StatusError: 400.
    """
    if len(labels) > 64:
        raise invalid_field("labels", f"A store can have 64 labels; {len(labels)} were given.")
    for key, value in labels.items():
        for what, part, least in (("key", key, 1), ("value", value, 0)):
            fits = least <= len(part) <= 63 and len(part.encode()) <= 128
            letters = all(unicodedata.category(c) in _LABEL_CATEGORIES or c in "_-" for c in part)
            starts = what == "value" or unicodedata.category(part[:1] or " ") in {"Ll", "Lo"}
            if not (fits and letters and starts):
                raise invalid_field(
                    "labels",
                    f"Invalid label {what} in labels: at most 63 characters (128 bytes),"
                    " lower-case letters, digits, _ and -; a key begins with a letter.",
                )


def check_destinations(store: dict[str, Any]) -> None:
    """The topics and tables that a store names (DicomStore in the discovery document).

    Raises:
        StatusError: 400 for a name that can be none, and for a destination that is named twice.
    """
    topic = store.get("notificationConfig", {}).get("pubsubTopic")
    if topic and not _TOPIC.fullmatch(topic):
        raise _no_name("notification_config.pubsub_topic", _TOPIC_FORM)
    for number, config in enumerate(store.get("notificationConfigs", [])):
        if not _TOPIC.fullmatch(config.get("pubsubTopic", "")):
            where = f"notification_configs[{number}].pubsub_topic"
            raise _no_name(where, _TOPIC_FORM)
    tables = []
    for number, config in enumerate(store.get("streamConfigs", [])):
        where = f"stream_configs[{number}].bigquery_destination"
        destination = config.get("bigqueryDestination", {})
        table = destination.get("tableUri", "")
        if len(table) > 2000 or not _TABLE.fullmatch(table):
            raise _no_name(where + ".table_uri", "bq://PROJECT.DATASET.TABLE")
        if "schemaFlattened" in destination and "schemaJson" in destination:
            raise invalid_field(where, f"{where} has schema_flattened and schema_json; give one.")
        tables.append(table)
    if len(set(tables)) < len(tables):
        raise invalid_field("stream_configs", "stream_configs names one table twice.")


def check_id(name: str, value: str | None) -> str:
    """The id of a new resource: 1 to 256 letters, digits, `_`, `-`, `.`.

    Raises:
        StatusError: 400.
    """
    if not value:
        raise invalid_field(name, f"The parameter {name} is required.")
    fits = len(value) <= 256 and value not in {".", ".."}
    if not fits or not all(unicodedata.category(c)[0] in "LN" or c in "_-." for c in value):
        raise invalid_field(
            name, f"Invalid {name}: 1 to 256 letters, digits, underscores, dashes and dots."
        )
    return value


# names of topics: cloud.google.com/pubsub/docs/pubsub-basics; of tables: BigQueryDestination
_TOPIC = re.compile(r"projects/[A-Za-z0-9][\w.:-]*/topics/(?!goog)[A-Za-z][\w.~+%-]{2,254}")
_TOPIC_FORM = (
    "projects/PROJECT/topics/TOPIC, with 3 to 255 letters, digits and -._~+% in TOPIC, a letter"
    " first, and not goog,"
)
_TABLE = re.compile(r"bq://[A-Za-z0-9][A-Za-z0-9_.:-]*\.\w{1,1024}\.[\w -]{1,1024}")
_LABEL_CATEGORIES = frozenset({"Ll", "Lo", "Nd", "Nl", "No"})


def camel_case(name: str) -> str:
    """`notification_config` -> `notificationConfig`: the JSON of protocol buffers takes both."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def _no_name(where: str, form: str) -> StatusError:
    return invalid_field(where, f"Invalid {where}: {form} is needed.")


def _put(target: dict[str, Any], name: str, value: Any) -> None:
    if value in (None, "", {}, []):
        target.pop(name, None)
    else:
        target[name] = value


def _apply_below(
    current: dict[str, Any], patch: dict[str, Any], rest: str, field: Schema, path: str
) -> dict[str, Any]:
    if isinstance(field, Message):
        return apply_mask(current, patch, rest, field)
    if not isinstance(field, Map):
        raise invalid_field("update_mask", f'Invalid update_mask: "{path}" cannot be updated.')
    changed = dict(current)
    if rest in patch:
        changed[rest] = patch[rest]
    else:
        changed.pop(rest, None)
    return changed


def _message(body: Any, schema: Message, where: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise invalid_field(where, f"Invalid value at '{where}': an object was expected.")
    found = {}
    for key, value in body.items():
        name = camel_case(key)
        field = schema.fields.get(name)
        if field is None:
            shown = key if re.fullmatch(r"[\w.$-]{1,80}", key) else "?"
            raise invalid_field(
                where,
                f"Invalid JSON payload received. Unknown name \"{shown}\" at '{where}':"
                " Cannot find field.",
            )
        read = None if value is None else _value(value, field, f"{where}.{_snake_case(name)}")
        if read is not None:
            found[name] = read
    return found


def _value(value: Any, field: Schema, where: str) -> Any:
    if isinstance(field, Message):
        return _message(value, field, where)
    if isinstance(field, Repeated):
        if not isinstance(value, list):
            raise invalid_field(where, f"Invalid value at '{where}': a list was expected.")
        return [_value(v, field.member, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(field, Map):
        if not isinstance(value, dict):
            raise invalid_field(where, f"Invalid value at '{where}': an object was expected.")
        return {
            k: _value(v, STRING, f"{where}[{i}].value") for i, (k, v) in enumerate(value.items())
        }
    try:
        return field.read(value)
    except ValueError:
        raise invalid_field(where, f"Invalid value at '{where}' ({field.kind}).") from None


def _snake_case(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)
