"""IAM policies of datasets and DICOM stores. They are kept and given back; nobody is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from typing import Any

from dicomsql.emulator import schemas
from dicomsql.emulator.call import Call, dataset_id, store_id
from dicomsql.emulator.status import StatusError, invalid, invalid_field

# what Google answers for a resource that never had a policy
_FRESH: dict[str, Any] = {"etag": "ACAB"}
_DEFAULT_MASK = "bindings,etag"


def get_policy(call: Call) -> dict[str, Any]:
    """datasets.getIamPolicy, dicomStores.getIamPolicy"""
    with call.folder.read() as db:
        return _current(db, *_resource(db, call))


def set_policy(call: Call) -> dict[str, Any]:
    """datasets.setIamPolicy, dicomStores.setIamPolicy: the fields of the mask are replaced."""
    body = schemas.check(call.json_body(), schemas.SET_IAM_POLICY, "request")
    given = body.get("policy")
    if given is None:
        raise invalid_field("policy", "The field policy is required.")
    mask = [schemas.camel_case(p.strip()) for p in body.get("updateMask", _DEFAULT_MASK).split(",")]
    _check_policy(given)
    with call.folder.write() as db:
        table, row = _resource(db, call)
        current = _current(db, table, row)
        if given.get("etag", current["etag"]) != current["etag"]:
            raise StatusError(
                "ABORTED",
                "There were concurrent policy changes. Please retry the whole read-modify-write"
                " with exponential backoff.",
            )
        policy = {k: v for k, v in current.items() if k != "etag"}
        for name in ("bindings", "auditConfigs", "version"):
            if name in mask or (name == "version" and name in given):
                policy[name] = given.get(name)
        policy = {k: v for k, v in policy.items() if v}
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
    if any("*" in permission for permission in permissions):
        raise invalid_field("permissions", "Invalid permissions: wildcards are not allowed.")
    with call.folder.read() as db:
        _resource(db, call)
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


def _check_policy(policy: dict[str, Any]) -> None:
    if policy.get("version", 0) not in {0, 1, 3}:
        raise invalid("Invalid policy version: 0, 1 or 3 is needed.")
    for binding in policy.get("bindings", []):
        if not binding.get("role") or not binding.get("members"):
            raise invalid("Each binding needs a role and at least one member.")
        if "condition" in binding and policy.get("version") != 3:
            raise invalid("A policy with a condition needs version 3.")
