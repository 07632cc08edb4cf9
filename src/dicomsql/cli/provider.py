"""The command `provider`: lists, shows, checks and builds provider documents."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicomsql.cli.failures import UsageError
from dicomsql.cli.opening import resolution_of
from dicomsql.errors import DocumentError, PlanningError

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import Method, Resource


def run(arguments: argparse.Namespace) -> int:
    """Run one of the commands of `provider`.

    Raises:
        UsageError: an option, the configuration or a name does not fit.
        DocumentError: a document is broken.
    """
    return _ACTIONS[arguments.action](arguments)


def _catalog(arguments: argparse.Namespace) -> tuple[Catalog, Path | None]:
    from dicomsql.catalog.load import Catalog

    settings = resolution_of(arguments).settings
    connections = {
        name: (connection.service, connection.endpoint)
        for name, connection in settings.connections.items()
    }
    return Catalog.open(settings.providers, connections=connections), settings.providers


def _list(arguments: argparse.Namespace) -> int:
    from dicomsql.catalog.places import provider_files
    from dicomsql.catalog.reading import parse, read_bytes

    catalog, extra = _catalog(arguments)
    own = {
        parse(read_bytes(file.path), str(file.path)).get("name")
        for file in (provider_files(extra) if extra else ())
    }
    found = [
        {
            "name": provider.name,
            "version": provider.version,
            "title": provider.title,
            "from": str(extra) if provider.name in own else "comes with dicomsql",
            "services": [
                {"name": entry.name, "title": entry.title, "description": entry.description}
                for entry in catalog.entries(provider.name)
            ],
        }
        for provider in catalog.providers()
    ]
    if arguments.json:
        return _write(json.dumps(found))
    for one in found:
        _write(f"{one['name']}  {one['version']}  {one['title']} ({one['from']})")
        _write_pairs([(s["name"], s["description"] or s["title"]) for s in _of(one, "services")])
    return 0


def _show(arguments: argparse.Namespace) -> int:
    catalog, _ = _catalog(arguments)
    parts = tuple(arguments.name.split("."))
    try:
        if len(parts) == 1:
            entries = catalog.entries(parts[0])
            found: Any = [{"name": e.name, "description": e.description} for e in entries]
        elif len(parts) == 2:
            service = catalog.service(*parts)
            resources = [catalog.resource(*parts, name) for name in service.resource_names]
            found = [{"name": r.name, "description": _verbs(r)} for r in resources]
        elif len(parts) == 3:
            methods = catalog.resource(*parts).methods.values()
            found = [_method(method) for method in methods]
        else:
            raise UsageError("A name has up to three parts: PROVIDER.SERVICE.RESOURCE.")
    except PlanningError as error:
        raise UsageError(str(error)) from None
    if arguments.json:
        return _write(json.dumps(found))
    if len(parts) < 3:
        _write_pairs([(one["name"], one["description"]) for one in found], indent="")
        return 0
    for one in found:
        _write(f"{one['name']}  {one['verb'].upper()}  {one['http']} {one['path']}")
        for kind in ("required", "optional"):
            if one[kind]:
                _write(f"  {kind}: {', '.join(one[kind])}")
    return 0


def _method(method: Method) -> dict[str, Any]:
    return {
        "name": method.name,
        "verb": method.verb,
        "http": method.http_method,
        "path": method.path,
        "required": [p.name for p in method.parameters if p.required],
        "optional": [p.name for p in method.parameters if not p.required],
        "description": method.description,
    }


def _verbs(resource: Resource) -> str:
    said = ", ".join(verb.upper() for verb in resource.verbs)
    return f"{said}: {resource.description}" if resource.description else said


def _check(arguments: argparse.Namespace) -> int:
    wrong = 0
    for name in arguments.files:
        for path, error in _checked(Path(name).expanduser()):
            if error is None:
                _write(f"{path}: right")
            else:
                wrong += 1
                _write(f"wrong: {error}")
    return 1 if wrong else 0


def _checked(path: Path) -> Iterator[tuple[Path, DocumentError | None]]:
    """Documents, each with what is wrong in it."""
    if path.is_dir():
        yield from _registry(path)
        return
    yield path, _fault(path)


def _registry(root: Path) -> Iterator[tuple[Path, DocumentError | None]]:
    from dicomsql.catalog.places import provider_files, service_file
    from dicomsql.catalog.reading import parse, read_bytes

    try:
        files = provider_files(root)
    except DocumentError as error:
        yield root, error
        return
    for file in files:
        fault = _fault(file.path)
        yield file.path, fault
        if fault is not None:
            continue
        services = parse(read_bytes(file.path), str(file.path))["providerServices"]
        for service in services.values():
            try:
                path = service_file(file, service["service"]["$ref"])
            except DocumentError as error:
                yield file.path, error
                continue
            yield path, _fault(path)


def _fault(path: Path) -> DocumentError | None:
    """What is wrong in a document, if something is."""
    from dicomsql.catalog.check import check_provider, check_service
    from dicomsql.catalog.reading import parse, read_bytes

    try:
        document = parse(read_bytes(path), str(path))
        check = check_provider if "providerServices" in document else check_service
        check(document, str(path))
    except DocumentError as error:
        return error
    return None


def _build(arguments: argparse.Namespace) -> int:
    from dicomsql.catalog.building import build

    provider, _, service = arguments.name.partition(".")
    if not service:
        raise UsageError("--name takes the provider and the service, such as pacs.archive.")
    built = build(Path(arguments.file).expanduser(), provider, service)
    root = Path(arguments.into).expanduser()
    files = {root / name: text for name, text in built.files.items()}
    there = next((file for file in files if file.exists()), None)
    if there is not None:
        raise UsageError(f"{there} is there already; it is not overwritten.")
    for file, text in files.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"Cannot write {file}: {error.strerror}.") from None
        _write(str(file))
    for note in built.notes:
        sys.stderr.write(f"note: {note}\n")
    return 0


def _of(one: dict[str, Any], key: str) -> list[dict[str, str]]:
    return list(one[key])


def _write_pairs(pairs: list[tuple[str, str]], indent: str = "  ") -> None:
    width = max((len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        _write(f"{indent}{name:<{width}}  {text}".rstrip())


def _write(line: str) -> int:
    sys.stdout.write(f"{line}\n")
    return 0


_ACTIONS = {"list": _list, "show": _show, "check": _check, "build": _build}
