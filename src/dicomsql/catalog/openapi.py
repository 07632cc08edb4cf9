"""Finds its way in an OpenAPI document: pointers, parameters, the schemas of bodies and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]

# Where StackQL keeps a service's resources, below `components`.
RESOURCES = "x-stackQL-resources"


def pointer(*parts: object) -> str:
    """A JSON pointer (RFC 6901) from its parts."""
    return "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in parts)


def pointed(document: Any, reference: str) -> Any:
    """What a `#/...` reference points at.

    Raises:
        KeyError: nothing is there.
    """
    found = document
    for part in reference.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            if not name.isdecimal() or int(name) >= len(found):
                raise KeyError(reference)
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            raise KeyError(reference)
    return found


def operation_parameters(
    document: Document, item: Mapping[str, Any], operation: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """An operation's parameters with its path's, references followed, the operation's winning."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for entry in [*item.get("parameters", ()), *operation.get("parameters", ())]:
        parameter = pointed(document, entry["$ref"]) if "$ref" in entry else entry
        found[parameter["in"], parameter["name"]] = parameter
    return list(found.values())


def answer_schema(
    operation: Mapping[str, Any], response: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """The schema of an operation's answer; None where the document does not say."""
    answers = operation["responses"]
    key = response.get("openAPIDocKey")
    if key not in answers:
        key = next((k for k in answers if str(k).startswith("2")), None)
    return _content_schema(answers.get(key, {}), response.get("mediaType", ""))


def body_schema(
    operation: Mapping[str, Any], request: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """The schema of an operation's request body; None where it takes none."""
    return _content_schema(operation.get("requestBody", {}), request.get("mediaType", ""))


def _content_schema(part: Mapping[str, Any], media: str) -> Mapping[str, Any] | None:
    content = part.get("content", {})
    chosen: Mapping[str, Any] = content.get(media) or next(iter(content.values()), {})
    schema = chosen.get("schema")
    return schema if isinstance(schema, Mapping) else None
