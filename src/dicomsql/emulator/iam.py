"""IAM policies of datasets and DICOM stores. They are kept and given back; nobody is refused."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import sqlite3
from typing import Any

from dicomsql.emulator import schemas
from dicomsql.emulator.call import Call, dataset_id, store_id
from dicomsql.emulator.status import StatusError, invalid_field

# what Google answers for a resource that never had a policy
_FRESH: dict[str, Any] = {"etag": "ACAB"}
_DEFAULT_MASK = "bindings,etag"
_FIELDS = ("bindings", "auditConfigs", "version", "etag")
_VERSIONS = frozenset({0, 1, 3})
_CONDITIONAL = 3  # the version of policies that may hold conditions
_MOST_MEMBERS = 1500

# Binding.role and Binding.members in the discovery document
_ROLE = re.compile(r"(?:(?:projects|organizations)/[\w.:-]+/)?roles/[\w.]+")
_MEMBER = re.compile(
    r"allUsers|allAuthenticatedUsers"
    r"|(?:deleted:)?(?:user|group|serviceAccount):[^\s@:]+@[^\s@]+"
    r"|serviceAccount:[\w.:-]+\.svc\.id\.goog\[[^\s\[\]/]+/[^\s\[\]/]+\]"
    r"|domain:[\w-]+(?:\.[\w-]+)+"
    r"|(?:deleted:)?principal(?:Set)?://\S+"
    r"|project(?:Owner|Editor|Viewer):[\w.:-]+"
)
_PERMISSION = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+){2,}")


def get_policy(call: Call) -> dict[str, Any]:
    """datasets.getIamPolicy, dicomStores.getIamPolicy"""
    name = "options.requestedPolicyVersion"
    text = call.parameter(name) or "0"
    if text not in {str(version) for version in _VERSIONS}:
        raise invalid_field(name, f"Invalid {name}: 0, 1 or 3 is needed.")
    with call.folder.read() as db:
        policy = _current(db, *_resource(db, call))
    return policy if int(text) == _CONDITIONAL else _without_conditions(policy)


def set_policy(call: Call) -> dict[str, Any]:
    """datasets.setIamPolicy, dicomStores.setIamPolicy: the fields of the mask are replaced."""
    body = schemas.check(call.json_body(), schemas.SET_IAM_POLICY, "request")
    with call.folder.write() as db:
        table, row = _resource(db, call)
        given = body.get("policy")
        if given is None:
            raise invalid_field("policy", "The field policy is required.")
        mask = _mask(body.get("updateMask") or _DEFAULT_MASK)
        _check_policy(given)
        current = _current(db, table, row)
        if given.get("etag"):
            _check_etag(given, current)
        policy = {k: v for k, v in current.items() if k != "etag"}
        for name in ("bindings", "auditConfigs", "version"):
            if name in mask or (name == "version" and name in given):
                policy[name] = given.get(name)
        policy = {k: v for k, v in policy.items() if v}
        if "bindings" in policy:
            policy["bindings"] = _merged(policy["bindings"])
        content = json.dumps([policy, current["etag"]], sort_keys=True).encode()
        policy["etag"] = base64.b64encode(hashlib.sha256(content).digest()[:8]).decode()
        db.execute(
            f"UPDATE {table} SET policy = ? WHERE id = ?",  # noqa: S608 - one of our two tables
            (json.dumps(policy), row),
        )
    return policy


def test_permissions(call: Call) -> dict[str, Any]:
    """testIamPermissions: everything that is asked for is granted."""
    body = schemas.check(call.json_body(), schemas.TEST_IAM_PERMISSIONS, "request")
    permissions = body.get("permissions", [])
    with call.folder.read() as db:
        _resource(db, call)
    for number, permission in enumerate(permissions):
        if not _PERMISSION.fullmatch(permission):
            raise invalid_field(
                f"permissions[{number}]",
                f"Invalid permissions[{number}]: SERVICE.RESOURCE.VERB is needed, without"
                " wildcards.",
            )
    return {"permissions": permissions} if permissions else {}


def _resource(db: sqlite3.Connection, call: Call) -> tuple[str, int]:
    if "store" in call.names:
        return "stores", store_id(db, call)
    return "datasets", dataset_id(db, call)


def _current(db: sqlite3.Connection, table: str, row: int) -> dict[str, Any]:
    found = db.execute(
        f"SELECT policy FROM {table} WHERE id = ?",  # noqa: S608 - one of our two tables
        (row,),
    ).fetchone()
    return dict(json.loads(found[0])) if found[0] else dict(_FRESH)


def _mask(text: str) -> list[str]:
    paths = [schemas.camel_case(path.strip()) for path in text.split(",")]
    if paths == ["*"]:
        return list(_FIELDS)
    if not set(paths).issubset(_FIELDS):
        raise invalid_field(
            "update_mask", f"Invalid update_mask: only {', '.join(_FIELDS)} can be updated."
        )
    return paths


def _check_etag(given: dict[str, Any], current: dict[str, Any]) -> None:
    try:
        base64.b64decode(given["etag"], validate=True)
    except (binascii.Error, ValueError):
        raise invalid_field("policy.etag", "Invalid value at 'policy.etag' (TYPE_BYTES).") from None
    if given["etag"] != current["etag"]:
        raise StatusError(
            "ABORTED",
            "There were concurrent policy changes. Please retry the whole read-modify-write"
            " with exponential backoff.",
        )
    if _is_conditional(current) and given.get("version") != _CONDITIONAL:
        raise invalid_field(
            "policy.version",
            f"The policy holds conditions: policy.version has to be {_CONDITIONAL} to change it.",
        )


def _check_policy(policy: dict[str, Any]) -> None:
    if policy.get("version", 0) not in _VERSIONS:
        raise invalid_field("policy.version", "Invalid policy.version: 0, 1 or 3 is needed.")
    members = 0
    for number, binding in enumerate(policy.get("bindings", [])):
        where = f"policy.bindings[{number}]"
        if not _ROLE.fullmatch(binding.get("role", "")):
            raise invalid_field(
                f"{where}.role",
                f"Invalid {where}.role: roles/ROLE, projects/PROJECT/roles/ROLE or"
                " organizations/ORGANIZATION/roles/ROLE is needed.",
            )
        if not binding.get("members"):
            raise invalid_field(f"{where}.members", f"{where}.members needs at least one member.")
        for place, member in enumerate(binding["members"]):
            _check_member(member, f"{where}.members[{place}]")
        members += len(binding["members"])
        condition = binding.get("condition")
        if condition is None:
            continue
        if policy.get("version") != _CONDITIONAL:
            raise invalid_field(
                "policy.version",
                f"A policy with a condition needs policy.version {_CONDITIONAL}.",
            )
        if not condition.get("expression") or not condition.get("title"):
            raise invalid_field(
                f"{where}.condition", f"{where}.condition needs an expression and a title."
            )
    if members > _MOST_MEMBERS:
        raise invalid_field(
            "policy.bindings", f"policy.bindings can have {_MOST_MEMBERS} members, all together."
        )
    for number, audit in enumerate(policy.get("auditConfigs", [])):
        for log in audit.get("auditLogConfigs", []):
            for place, member in enumerate(log.get("exemptedMembers", [])):
                _check_member(member, f"policy.audit_configs[{number}].exempted_members[{place}]")


def _check_member(member: str, where: str) -> None:
    # whom it names is for nobody's log
    if not _MEMBER.fullmatch(member):
        raise invalid_field(
            where,
            f"Invalid {where}: user:, group: or serviceAccount: with an address, domain:,"
            " principal://, principalSet://, allUsers or allAuthenticatedUsers is needed.",
        )


def _merged(bindings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One binding for each role and condition, each member in it once."""
    merged: dict[str, dict[str, Any]] = {}
    for binding in bindings:
        key = json.dumps([binding["role"], binding.get("condition")], sort_keys=True)
        kept = merged.setdefault(key, {**binding, "members": []})
        kept["members"] = list(dict.fromkeys([*kept["members"], *binding["members"]]))
    return list(merged.values())


def _is_conditional(policy: dict[str, Any]) -> bool:
    return any("condition" in binding for binding in policy.get("bindings", []))


def _without_conditions(policy: dict[str, Any]) -> dict[str, Any]:
    """A policy for those who know of no conditions: roles that have one get another name."""
    if not _is_conditional(policy):
        return policy
    bindings = []
    for binding in policy["bindings"]:
        shown = dict(binding)
        condition = shown.pop("condition", None)
        if condition is not None:
            mark = hashlib.sha256(json.dumps(condition, sort_keys=True).encode()).hexdigest()[:20]
            shown["role"] += f"_withcond_{mark}"
        bindings.append(shown)
    return {**policy, "bindings": bindings, "version": 1}
