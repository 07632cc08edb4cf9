"""What the scripts that write provider documents share: YAML, the `dicom` part of a resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Json = dict[str, Any]

VERBS = ("select", "insert", "update", "replace", "delete")


def dump(document: Json) -> str:
    """YAML without aliases, in the order of the document, short collections on one line."""
    return yaml.dump(
        document,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        width=100,
        allow_unicode=True,
    )


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  (PyYAML's own signature)
        return True


def operation_reference(path: str, verb: str) -> Json:
    """The reference to an operation of the same document."""
    return {"$ref": f"#/paths/{path.replace('~', '~0').replace('/', '~1')}/{verb}"}


def sql_verbs(resource: str, entry: Mapping[str, Any]) -> Json:
    """StackQL's `sqlVerbs` of a resource, from the overlay's lists of method names."""
    base = f"#/components/x-stackQL-resources/{resource}/methods/"
    return {verb: [{"$ref": base + method} for method in entry.get(verb, [])] for verb in VERBS}


def dicom_table(dicom: Json, name: str) -> Json:
    """The `dicom` part of a resource: its level and attributes, from the overlay's lists."""
    table, levels = dicom["tables"][name], dicom["levels"]
    order = list(levels)
    reached = order[: order.index(table["level"]) + 1]
    made: Json = {"level": table["level"], "source": table["source"]}
    if table["source"] == "metadata":
        made["open"] = True
        identity = table["identity"]
        attributes = list(_metadata_attributes(dicom))
    else:
        identity = reached
        made["include"] = dicom["parameters"]["include"]
        made["includeAny"] = dicom["includeAny"]
        made["includeAll"] = dicom["includeAll"]
        for key in ("fuzzy", "separator", "sendable"):
            if key in dicom:
                made[key] = dicom[key]
        attributes = list(_search_attributes(levels, reached))
    if "elsewhere" in table:
        made["elsewhere"] = table["elsewhere"]
    made["identity"] = {k: v for level in identity for k, v in levels[level]["identity"].items()}
    made["tables"] = dicom["resources"]["search"]
    made["metadata"] = dicom["resources"]["metadata"]
    if "sizes" in table:
        made["sizes"] = table["sizes"]
    if table["source"] == "search":
        made["split"] = dicom["split"]
        if table["level"] == order[-1] and "moves" in dicom:
            made["moves"] = dicom["moves"]
        if table["level"] in dicom.get("previews", {}):
            made["preview"] = dicom["previews"][table["level"]]
    made["attributes"] = attributes
    return made


def _search_attributes(levels: Json, reached: list[str]) -> Iterator[Json]:
    own = reached[-1]
    for level in reached:
        lists = levels[level]
        keys = set(lists["identity"].values())
        at_home = level == own
        for keyword, match in _matches(lists["returned"]).items():
            # The search of a level is sure to give that level's attributes alone.
            returned = "default" if at_home else "include"
            yield _attribute(keyword, match, returned, at_home or keyword in keys)
        if at_home:
            for keyword, match in _matches(lists.get("own", ())).items():
                yield _attribute(keyword, match, "default", True)
        for keyword, match in _matches(lists["usual"]).items():
            yield _attribute(keyword, match, "include", at_home)
        if at_home:
            for keyword, match in _matches(lists.get("counted", ())).items():
                yield _attribute(keyword, match, "include", True)
        for keyword, match in _matches(lists["included"]).items():
            yield _attribute(keyword, match, "include", False)


def _matches(listed: Any) -> dict[str, list[str]]:
    """How each attribute of a list is matched; a list of nothing but names says: not at all."""
    if isinstance(listed, Mapping):
        return {keyword: match or [] for keyword, match in listed.items()}
    return {keyword: [] for keyword in listed}


def _attribute(keyword: str, match: list[str], returned: str, usual: bool) -> Json:
    made: Json = {"keyword": keyword}
    if match:
        made["match"] = match
    return made | {"returned": returned, "usual": usual}


def _metadata_attributes(dicom: Json) -> Iterator[Json]:
    levels = dicom["levels"].values()
    keys = [keyword for level in levels for keyword in level["identity"].values()]
    shown = [keyword for level in dicom["metadata"].values() for keyword in level]
    for keyword in keys + shown:
        yield {"keyword": keyword, "returned": "default", "usual": True}
