"""Request bodies: which fields each message has, how they are checked, and field masks over them.

The tables follow the discovery document of the API, version v1.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dicomsql.emulator.status import invalid, invalid_field


@dataclass(frozen=True, slots=True)
class Scalar:
    """A field with one value; `read` gives it in its canonical form or raises ValueError."""

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
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    return int(value)


STRING = Scalar("TYPE_STRING", _read_text)
BOOLEAN = Scalar("TYPE_BOOL", _read_flag)
INTEGER = Scalar("TYPE_INT32", _read_integer)
_EMPTY = Message({})

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
                            "writeDisposition": STRING,
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
                        Message({"logType": STRING, "exemptedMembers": Repeated(STRING)})
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
    paths = [part.strip() for part in (mask or "").split(",") if part.strip()]
    if not paths:
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


_LABEL_CATEGORIES = frozenset({"Ll", "Lo", "Nd", "Nl", "No"})


def camel_case(name: str) -> str:
    """`notification_config` -> `notificationConfig`: the JSON of protocol buffers takes both."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


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
        if value is not None:
            found[name] = _value(value, field, f"{where}.{_snake_case(name)}")
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
        raise invalid(f"Invalid value at '{where}' ({field.kind}).") from None


def _snake_case(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)
