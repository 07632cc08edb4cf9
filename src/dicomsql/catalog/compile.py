"""Boils a checked service document down to the catalog's values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dicomsql.catalog import shapes
from dicomsql.catalog.compiled import CompiledProvider, CompiledService, ServiceEntry
from dicomsql.catalog.model import (
    Attribute,
    Column,
    Consent,
    DicomTable,
    Measure,
    Method,
    Moves,
    OffsetPaging,
    Operations,
    Parameter,
    Preview,
    Provider,
    Resource,
    Rowset,
    Schema,
    Service,
    TokenPaging,
)
from dicomsql.catalog.openapi import (
    RESOURCES,
    Document,
    answer_schema,
    body_schema,
    operation_parameters,
    pointed,
    pointer,
)
from dicomsql.errors import DocumentError

VERBS = ("select", "insert", "update", "replace", "delete")

# StackQL's kinds of authorization that mean credentials of Google.
GOOGLE_AUTH = frozenset({"service_account", "interactive"})

# The tokens that Google's lists use, and so StackQL where a document names none.
DEFAULT_PAGINATION = {
    "requestToken": {"key": "pageToken"},
    "responseToken": {"key": "nextPageToken"},
}

Entry = Mapping[str, Any]


def compile_provider(document: Document) -> CompiledProvider:
    """The values of a checked provider document."""
    entries = tuple(
        ServiceEntry(
            name=name,
            title=entry.get("title", ""),
            version=entry.get("version", ""),
            description=entry.get("description", ""),
            reference=entry["service"]["$ref"],
        )
        for name, entry in document["providerServices"].items()
    )
    auth = document.get("config", {}).get("auth", {})
    provider = Provider(
        name=document["name"],
        version=document["version"],
        title=document.get("title", ""),
        services=tuple(entry.name for entry in entries),
        auth="google" if auth.get("type") in GOOGLE_AUTH else "none",
        scopes=tuple(auth.get("scopes", ())),
    )
    # Of the configuration only what services inherit; what it says of credentials stays here.
    config = {k: v for k, v in document.get("config", {}).items() if k == "pagination"}
    return CompiledProvider(provider, entries, config)


def compile_service(
    document: Document, provider: str, entry: ServiceEntry, inherited: Entry, name: str
) -> CompiledService:
    """The values of a checked service document.

    Args:
        provider: the provider's name.
        entry: what the provider says of the service.
        inherited: the provider's own configuration.
        name: of the file, for errors.

    Raises:
        DocumentError: a list is paged in a way that dicomsql does not know.
    """
    info, extension = document.get("info", {}), document.get("x-dicomsql", {})
    operations = extension.get("operations")
    compiler = _Compiler(document, provider, entry.name, inherited, name)
    entries = document["components"][RESOURCES]
    service = Service(
        provider=provider,
        name=entry.name,
        title=entry.title or info.get("title", ""),
        description=entry.description or info.get("description", ""),
        version=entry.version or info.get("version", ""),
        operations=Operations(**operations) if operations else None,
        resource_names=tuple(entries),
        parallel=extension.get("parallel", Service.__dataclass_fields__["parallel"].default),
    )
    schemas = document["components"].get("schemas", {})
    return CompiledService(
        service=service,
        resources=tuple(compiler.resource(key, value) for key, value in entries.items()),
        schemas=tuple(Schema(key, value) for key, value in schemas.items()),
    )


class _Compiler:
    """One service document on its way to values."""

    def __init__(
        self, document: Document, provider: str, service: str, inherited: Entry, name: str
    ) -> None:
        self.document = document
        self.provider = provider
        self.service = service
        self.name = name
        self.schemas: Mapping[str, Entry] = document["components"].get("schemas", {})
        self.config = {**inherited, **document.get("x-stackQL-config", {})}

    def resource(self, name: str, entry: Entry) -> Resource:
        verbs = {
            verb: tuple(
                r["$ref"].rsplit("/", 1)[1] for r in entry.get("sqlVerbs", {}).get(verb, ())
            )
            for verb in VERBS
        }
        of_method = {method: verb for verb in reversed(VERBS) for method in verbs[verb]}
        dicom = entry.get("x-dicomsql", {}).get("dicom")
        methods = {
            method: self._method(name, entry, method, of_method.get(method, "exec"), bool(dicom))
            for method in entry["methods"]
        }
        # EXEC reaches every method; the verb lists those that nothing else reaches.
        verbs["exec"] = tuple(m for m in methods if m not in of_method)
        return Resource(
            provider=self.provider,
            service=self.service,
            name=name,
            title=entry.get("title", ""),
            description=entry.get("description", ""),
            methods=methods,
            verbs={verb: names for verb, names in verbs.items() if names},
            own_id=_own_id(methods, verbs),
            dicom=_dicom(dicom) if dicom else None,
            offered=entry.get("x-dicomsql", {}).get("offered", False),
        )

    def _method(
        self, resource: str, resource_entry: Entry, name: str, verb: str, dicom: bool
    ) -> Method:
        entry = resource_entry["methods"][name]
        reference = entry["operation"]["$ref"]
        operation = pointed(self.document, reference)
        item = pointed(self.document, reference.rsplit("/", 1)[0])
        path, http_method = _path_and_method(reference)
        request, response = entry.get("request", {}), entry.get("response", {})
        extension = entry.get("x-dicomsql", {})
        parameters = self._parameters(path, item, operation, extension.get("fields", ""))
        answer = answer_schema(operation, response)
        key = shapes.members(response.get("objectKey", ""))
        body = body_schema(operation, request)
        body_name = _schema_name(body)
        row_name = extension.get("rowName", {})
        source = extension.get("idFromName")
        # The rows of a DICOM table are datasets, whose columns stand with the resource.
        plain = answer is not None and not (dicom and verb == "select")
        servers = (
            entry.get("servers")
            or operation.get("servers")
            or item.get("servers")
            or self.document.get("servers", ())
        )
        return Method(
            provider=self.provider,
            service=self.service,
            resource=resource,
            name=name,
            verb=verb,
            http_method=http_method,
            path=path,
            parameters=parameters,
            description=entry.get("description", ""),
            body=body_name,
            body_media=_media(operation.get("requestBody", {}), request),
            body_required=self._required(body, request, http_method),
            response=_schema_name(answer),
            accept=extension.get("accept") or response.get("mediaType") or "application/json",
            object_key=f"$.{'.'.join(key)}" if key else "",
            columns=self._columns(answer, key) if plain and answer is not None else (),
            page_columns=shapes.columns(self.schemas, answer) if key and answer else (),
            row_name=row_name.get("member", ""),
            row_name_template=row_name.get("template", ""),
            paging=self._paging(resource_entry, resource, name, parameters, answer),
            fields=extension.get("fields", ""),
            mask=extension.get("mask", ""),
            id_from_name=(source["parameter"], source["field"]) if source else None,
            operation=extension.get("operation", False),
            repeatable=extension.get("repeatable", False),
            open_query=extension.get("openQuery", False),
            query=tuple(extension.get("query", {}).items()),
            failures=extension.get("failures", ""),
            refusals=tuple(
                (int(status), text) for status, text in extension.get("refusals", {}).items()
            ),
            rowset=_rowset(extension["rowset"]) if "rowset" in extension else None,
            consent=_consent(extension["consent"]) if "consent" in extension else None,
            servers=tuple(_base_url(server) for server in servers),
        )

    def _parameters(
        self, path: str, item: Entry, operation: Entry, selector: str
    ) -> tuple[Parameter, ...]:
        """Path parameters in the path's order, then the others in the document's.

        The partial-response selector is the planner's to fill, and no parameter of a table.
        """
        order = re.findall(r"\{\+?([^{}]+)\}", path)
        found = [
            p
            for p in operation_parameters(self.document, item, operation)
            if p["in"] != "cookie" and p["name"] != selector
        ]
        found.sort(key=lambda p: order.index(p["name"]) if p["in"] == "path" else len(order))
        return tuple(self._parameter(p) for p in found)

    def _parameter(self, entry: Entry) -> Parameter:
        schema = shapes.followed(self.schemas, entry.get("schema", {}))
        repeated = schema.get("type") == "array"
        if repeated:
            schema = shapes.followed(self.schemas, schema.get("items", {}))
        return Parameter(
            name=entry["name"],
            location=entry["in"],
            required=entry["in"] == "path" or entry.get("required", False),
            type=schema.get("type", "string"),
            format=schema.get("format", ""),
            repeated=repeated,
            description=entry.get("description", ""),
            session=entry.get("x-dicomsql", {}).get("session"),
        )

    def _required(self, body: Entry | None, request: Entry, http_method: str) -> tuple[str, ...]:
        if body is None:
            return ()
        own = (
            shapes.followed(self.schemas, body).get("required", ())
            if http_method != "PATCH"
            else ()
        )
        return tuple(dict.fromkeys([*request.get("required", ()), *own]))

    def _columns(self, answer: Entry, path: tuple[str, ...]) -> tuple[Column, ...]:
        row = shapes.within(self.schemas, answer, path) or {}
        columns = shapes.columns(self.schemas, row)
        if not columns and path and row.get("type", "object") != "object":
            # A list of plain values is one column that carries the list's name.
            return (Column(path[-1], shapes.sql_type(self.schemas, row)),)
        return columns

    def _paging(
        self,
        resource_entry: Entry,
        resource: str,
        name: str,
        parameters: tuple[Parameter, ...],
        answer: Entry | None,
    ) -> TokenPaging | OffsetPaging | None:
        entry = resource_entry["methods"][name]
        extension = entry.get("x-dicomsql", {})
        if "window" in extension:
            window = extension["window"]
            return OffsetPaging(
                limit=window["limit"],
                offset=window["offset"],
                max_limit=window["maxLimit"],
                max_offset=window["maxOffset"],
                capped=window.get("capped", False),
            )
        own = entry.get("config", {}).get("pagination")
        pagination = (
            own
            or resource_entry.get("config", {}).get("pagination")
            or self.config.get("pagination")
            or DEFAULT_PAGINATION
        )
        request, response = pagination.get("requestToken", {}), pagination.get("responseToken", {})
        token = str(response.get("key", "")).removeprefix("$.")
        if not own:
            # A rule for all methods is meant for those whose answer has the token.
            known = shapes.properties_of(self.schemas, answer) if answer else {}
            if token.split(".")[0] not in known:
                return None
        places = (request.get("location", "query"), response.get("location", "body"))
        if places != ("query", "body") or not token or "key" not in request:
            # A list that dicomsql cannot page would be short without anyone knowing.
            raise DocumentError(
                "only paging by a query parameter and a member of the answer is supported",
                document=self.name,
                path=pointer("components", RESOURCES, resource, "methods", name),
            )
        size, most = self._page_size(entry, parameters)
        return TokenPaging(request["key"], token, size, most)

    def _page_size(self, entry: Entry, parameters: tuple[Parameter, ...]) -> tuple[str, int]:
        extension = entry.get("x-dicomsql", {}).get("pageSize")
        if extension:
            return extension["parameter"], extension.get("max", 0)
        top = entry.get("config", {}).get("queryParamPushdown", {}).get("top", {})
        if "paramName" in top:
            return top["paramName"], top.get("maxValue", 0)
        return ("pageSize", 0) if any(p.name == "pageSize" for p in parameters) else ("", 0)


def _own_id(methods: Mapping[str, Method], verbs: Mapping[str, tuple[str, ...]]) -> str:
    """The parameter that a path to one resource ends with, and a path to all lacks."""
    collection = {
        name
        for verb in ("select", "insert")
        for method in verbs[verb]
        if not methods[method].path.endswith("}")
        for name in methods[method].path_parameters
    }
    for verb in ("select", "delete", "update", "replace"):
        for method in verbs[verb]:
            ends = re.search(r"\{([^{}]+)\}$", methods[method].path)
            if ends and ends[1] not in collection:
                return ends[1]
    return ""


def _dicom(entry: Entry) -> DicomTable:
    fuzzy = entry.get("fuzzy", {})
    return DicomTable(
        level=entry["level"],
        source=entry["source"],
        attributes=tuple(
            Attribute(
                keyword=a["keyword"],
                match=tuple(a.get("match", ())),
                returned=a.get("returned", "include"),
                usual=a.get("usual", True),
            )
            for a in entry["attributes"]
        ),
        open=entry.get("open", False),
        identity=tuple(entry.get("identity", {}).items()),
        include=entry.get("include", ""),
        include_any=entry.get("includeAny", False),
        include_all=entry.get("includeAll", DicomTable.__dataclass_fields__["include_all"].default),
        fuzzy=(fuzzy.get("parameter", ""), fuzzy.get("value", "")),
        separator=entry.get("separator", DicomTable.__dataclass_fields__["separator"].default),
        sendable=entry.get("sendable", ""),
        elsewhere=entry.get("elsewhere", ""),
        tables=tuple(entry.get("tables", {}).items()),
        metadata=tuple(entry.get("metadata", {}).items()),
        sizes=tuple((size["resource"], size["column"]) for size in entry.get("sizes", ())),
        split=entry.get("split", ""),
        moves=_moves(entry["moves"]) if "moves" in entry else None,
        preview=_preview(entry["preview"]) if "preview" in entry else None,
    )


def _moves(entry: Entry) -> Moves:
    return Moves(
        store=entry.get("store", ""),
        store_in_study=entry.get("storeInStudy", ""),
        replace=entry.get("replace", ""),
        delete=entry.get("delete", ""),
        retrieve=tuple(entry.get("retrieve", {}).items()),
        rendered=entry.get("rendered", ""),
        rendered_frame=entry.get("renderedFrame", ""),
        single=entry.get("single", False),
        tells_conflicts=entry.get("tellsConflicts", False),
        exists=tuple(entry.get("exists", ())),
    )


def _preview(entry: Entry) -> Preview:
    return Preview(
        method=entry["method"],
        accept=entry["accept"],
        query=tuple(entry.get("query", {}).items()),
        none=tuple(entry.get("none", ())),
    )


def _rowset(entry: Entry) -> Rowset:
    more = entry["more"]
    return Rowset(
        schema=entry["schema"],
        rows=entry["rows"],
        complete=entry["complete"],
        token=entry["token"],
        total=entry.get("total", ""),
        affected=entry.get("affected", ""),
        more=more["method"],
        more_token=more["token"],
        more_values=tuple(more["parameters"].items()),
    )


def _consent(entry: Entry) -> Consent:
    return Consent(
        kind=entry["kind"],
        phrase=entry["phrase"],
        things=entry["things"],
        explicit=entry.get("explicit", False),
        measures=tuple(
            Measure(
                resource=m["resource"],
                counts=tuple(m["counts"].items()),
                number=m.get("number", ""),
                each=m.get("each", ""),
                probe=m.get("probe", ""),
            )
            for m in entry.get("measures", ())
        ),
        always=entry.get("always", False),
    )


def _path_and_method(reference: str) -> tuple[str, str]:
    _, _, path, method = reference.split("/")
    return path.replace("~1", "/").replace("~0", "~"), method.upper()


def _schema_name(schema: Entry | None) -> str:
    reference = str((schema or {}).get("$ref", ""))
    return (
        reference.removeprefix(shapes.REFERENCE) if reference.startswith(shapes.REFERENCE) else ""
    )


def _media(body: Entry, request: Entry) -> str:
    content = body.get("content", {})
    if not content:
        return ""
    media = str(request.get("mediaType", ""))
    return media if media in content else str(next(iter(content)))


def _base_url(server: Entry) -> str:
    """The server's URL with its variables' defaults, without a slash at the end."""
    url = str(server["url"])
    for name, variable in server.get("variables", {}).items():
        url = url.replace("{" + name + "}", str(variable.get("default", "{" + name + "}")))
    return url.rstrip("/")
