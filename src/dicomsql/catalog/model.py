"""What the provider documents say, as frozen values: services, resources, methods, columns.

These are plain data that planning reads; `dicomsql.catalog.load` makes them from a document. No
value here knows a particular service: what is special about one stands in its document, under
StackQL's keys where those can say it and under `x-dicomsql` where they cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Type(StrEnum):
    """A column's SQL type, as DuckDB spells it."""

    VARCHAR = "VARCHAR"
    BIGINT = "BIGINT"
    DOUBLE = "DOUBLE"
    BOOLEAN = "BOOLEAN"
    TIMESTAMPTZ = "TIMESTAMPTZ"
    JSON = "JSON"
    BLOB = "BLOB"
    DATE = "DATE"
    TIME = "TIME"
    TIMESTAMP = "TIMESTAMP"
    UBIGINT = "UBIGINT"


@dataclass(frozen=True)
class Column:
    """A column of a method's result.

    Attributes:
        name: as the document spells it.
        type: its SQL type.
        path: members to walk from the row object to the value; usually just the name.
        description: a short one, may be empty.
    """

    name: str
    type: Type
    path: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class Parameter:
    """A request parameter of a method.

    Attributes:
        location: `path`, `query` or `header`.
        type: the OpenAPI type: `string`, `integer`, `number`, `boolean`.
        format: the OpenAPI format, such as `int32` or `google-fieldmask`; may be empty.
        repeated: takes a list of values, sent as one query parameter each.
        session: the session's default that fills it; empty where none does, None for the one of
            its own name.
    """

    name: str
    location: str
    required: bool
    type: str = "string"
    format: str = ""
    repeated: bool = False
    description: str = ""
    session: str | None = None


@dataclass(frozen=True)
class TokenPaging:
    """A list whose answer names the token of its next page.

    Attributes:
        request_token: query parameter that takes the token.
        response_token: member of the answer that holds it.
        size: query parameter for the page size; empty where there is none.
        max_size: what the server allows at most; 0 where it is not known.
    """

    request_token: str
    response_token: str
    size: str = ""
    max_size: int = 0


@dataclass(frozen=True)
class OffsetPaging:
    """A search that is walked by limit and offset.

    Attributes:
        max_limit: results the server gives at most in one answer.
        max_offset: the largest offset it accepts; 0 where there is no such bound.
        capped: a server may give fewer results than asked for though it has more, so that a short
            page does not say that it is the last.
    """

    limit: str
    offset: str
    max_limit: int
    max_offset: int
    capped: bool = False


@dataclass(frozen=True)
class Measure:
    """How the size of what a method touches is learned before it runs.

    Attributes:
        resource: the resource whose SELECT gives the size; its parameters are the method's.
        counts: label -> column, in the order to show them (`studies` -> `studyCount`, ...).
        number: the column that is the number to consent to.
        each: a resource to list first; the measure is then taken of every row and added up.
        probe: a resource to select at most two rows from: decides between none, one and more
            where the measure says at most one, since metrics lag behind writes.
    """

    resource: str
    counts: tuple[tuple[str, str], ...]
    number: str = ""
    each: str = ""
    probe: str = ""


@dataclass(frozen=True)
class Consent:
    """That a method loses or bills something.

    Attributes:
        kind: `destructive`, `costly` or `bulk` (destructive from the second call of one
            statement on).
        phrase: what happens, such as `delete` or `set the IAM policy of`.
        things: what one call touches, in the plural, such as `DICOM stores`.
        explicit: every path parameter must stand in the statement, none comes from the session.
        measures: what to ask for the size; empty where the number is that of the calls.
        always: has to be allowed however little is measured, since the measures do not see all
            that is touched (a dataset has stores of other kinds too).
    """

    kind: str
    phrase: str
    things: str
    explicit: bool = False
    measures: tuple[Measure, ...] = ()
    always: bool = False


@dataclass(frozen=True)
class Operations:
    """How a service's long-running operations are followed.

    Paths hold `{name}`, the operation's full resource name, which is inserted with its slashes;
    that to cancel is empty where operations cannot be. The other members are member paths inside
    the operation object.
    """

    poll: str
    cancel: str = ""
    counter: str = "metadata.counter"


@dataclass(frozen=True)
class Rowset:
    """That an answer is a table whose columns only the answer itself tells, as a query's are.

    All but the last three are member paths inside the answer.

    Attributes:
        schema: the list of its columns, each with `name`, `type`, `mode` and `fields`.
        rows: the list of its rows, each `{"f": [{"v": value}, ...]}`.
        complete: false while the rows are still being made.
        token: names the next page of rows; not there on the last one.
        total: the number of all rows; empty where the answer does not say it.
        affected: the number of rows that were written, where that is what was done.
        more: `resource.method` that gives further pages, and asks again while it is not complete.
        more_token: its parameter for the token.
        more_values: (its parameter, member path inside the first answer).
    """

    schema: str
    rows: str
    complete: str
    token: str
    total: str
    affected: str
    more: str
    more_token: str
    more_values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Method:
    """One method of a resource: one HTTP call.

    Attributes:
        verb: `select`, `insert`, `update`, `replace`, `delete` or `exec` (none of the others).
        http_method: `GET`, `POST`, ...
        path: template such as `/v1/projects/{projectsId}/locations`.
        body: name of the request schema, empty where the method takes no body.
        body_media: media type of the request, empty where it takes none.
        body_required: body fields that must be given.
        response: name of the response schema, empty where unknown.
        accept: media type to ask for.
        object_key: JSON path of the rows inside the answer (`$.dicomStores`), empty where the
            answer itself is the row (or the list of rows, for DICOM JSON).
        columns: columns of a row.
        page_columns: columns of the raw answer where `object_key` is not empty.
        row_name: member of a row that holds a resource name, such as `name`; with
            `row_name_template` it fills the resource's id columns.
        row_name_template: such as `projects/{projectsId}/locations/{locationsId}`.
        paging: how further pages are asked for; None where there are none.
        fields: query parameter that takes Google's partial-response selector; empty where none.
        mask: query parameter that takes the field mask of an update; empty where none.
        id_from_name: (query parameter, body field): the parameter is the last segment of the
            field's value where only the field is given.
        operation: answers with a long-running operation.
        repeatable: may be sent again though it is a POST.
        open_query: takes query parameters that it does not declare.
        query: (name, value) of query parameters that every call has; the statement's own win.
        failures: member of the answer that lists what failed of a call that succeeded; empty where
            there is none.
        refusals: (status, sentence): what a status means that a server explains badly or not.
        rowset: the answer is a table with columns of its own; None for all others.
        consent: None where it neither destroys nor costs.
        servers: base URLs, the first is used.
    """

    provider: str
    service: str
    resource: str
    name: str
    verb: str
    http_method: str
    path: str
    parameters: tuple[Parameter, ...]
    description: str = ""
    body: str = ""
    body_media: str = ""
    body_required: tuple[str, ...] = ()
    response: str = ""
    accept: str = "application/json"
    object_key: str = ""
    columns: tuple[Column, ...] = ()
    page_columns: tuple[Column, ...] = ()
    row_name: str = ""
    row_name_template: str = ""
    paging: TokenPaging | OffsetPaging | None = None
    fields: str = ""
    mask: str = ""
    id_from_name: tuple[str, str] | None = None
    operation: bool = False
    repeatable: bool = False
    open_query: bool = False
    query: tuple[tuple[str, str], ...] = ()
    failures: str = ""
    refusals: tuple[tuple[int, str], ...] = ()
    rowset: Rowset | None = None
    consent: Consent | None = None
    servers: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        return f"{self.provider}.{self.service}.{self.resource}.{self.name}"

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters if p.required)

    @property
    def path_parameters(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters if p.location == "path")

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name, whatever its case."""
        lowered = name.lower()
        return next((p for p in self.parameters if p.name.lower() == lowered), None)


@dataclass(frozen=True)
class Attribute:
    """A DICOM attribute as a column of a search or metadata table.

    Attributes:
        keyword: as PS3.6 spells it.
        match: how the server can filter by it: any of `exact`, `range`, `fuzzy`, `wildcard`,
            `list` (several values in one parameter); empty where it cannot.
        returned: `default` (every answer has it), `include` (where asked for), `metadata` (only
            the metadata has it), or `counted` (no answer has it: it is counted from the levels
            below).
        usual: is part of `SELECT *`.
    """

    keyword: str
    match: tuple[str, ...] = ()
    returned: str = "include"
    usual: bool = True


@dataclass(frozen=True)
class Moves:
    """How a service moves instances; methods are named `resource.method`, empty where none.

    Attributes:
        store: POST that stores (STOW-RS).
        store_in_study: the same for instances of one study.
        replace: inserts or replaces, where the server has an overwrite of its own.
        delete: deletes one instance.
        retrieve: level (`study`, `series`, `instance`) -> GET of the instances' files.
        rendered: GET of an instance's picture.
        rendered_frame: GET of one frame's.
        single: the store takes one instance without multipart, as `application/dicom`.
        tells_conflicts: the answer to a store tells an instance that is there with other bytes
            from one that is there with the same, which is a success.
        exists: FailureReasons (0008,1197) that such a conflict may have; other reasons are of the
            instance itself. Where the list has codes that mean more, the store is asked.
    """

    store: str = ""
    store_in_study: str = ""
    replace: str = ""
    delete: str = ""
    retrieve: tuple[tuple[str, str], ...] = ()
    rendered: str = ""
    rendered_frame: str = ""
    single: bool = False
    tells_conflicts: bool = False
    exists: tuple[int, ...] = ()


@dataclass(frozen=True)
class MoveMethods:
    """The methods behind `Moves`; None where the service has none.

    Attributes:
        search: level -> the search of that level within the level above it: `study` of a store,
            `series` of a study, `instance` of a series.
        in_study: the search of all instances of a study; None where the document has none that can
            be relied upon.
        metadata: the metadata of one instance, for what no search returns.
        ids: level -> the path parameter that takes its UID.
    """

    moves: Moves
    store: Method | None = None
    store_in_study: Method | None = None
    replace: Method | None = None
    delete: Method | None = None
    study: Method | None = None
    series: Method | None = None
    instance: Method | None = None
    rendered: Method | None = None
    rendered_frame: Method | None = None
    search: tuple[tuple[str, Method], ...] = ()
    metadata: Method | None = None
    ids: tuple[tuple[str, str], ...] = ()
    in_study: Method | None = None


@dataclass(frozen=True)
class Preview:
    """How the small picture of a row is got that the column `preview` shows.

    Attributes:
        method: `resource.method`, a GET whose path names the row by its UIDs.
        accept: media type to ask for.
        query: (name, value) of query parameters that ask for a small picture. A server may refuse
            them: a row that is refused with them is asked for without, until the server has been
            seen to take them.
        none: statuses that say that a row has no picture; any other refusal is a failure.
    """

    method: str
    accept: str
    query: tuple[tuple[str, str], ...] = ()
    none: tuple[int, ...] = ()


@dataclass(frozen=True)
class DicomTable:
    """What the document says of a resource whose rows are DICOM datasets.

    Attributes:
        level: `study`, `series` or `instance`.
        source: `search` (QIDO-RS) or `metadata` (WADO-RS metadata).
        attributes: what the document says of single attributes. Every keyword of PS3.6 of the
            level or one above is a column, listed or not.
        identity: parameter -> attribute that means the same (`studiesId` -> `StudyInstanceUID`).
        include: query parameter that asks for more attributes; empty where there is none.
        include_any: it takes every keyword, not only the attributes that are listed.
        include_all: the value that asks for every attribute; empty where the server has none.
        fuzzy: (query parameter, value) that switches fuzzy matching on.
        separator: what separates the values of a `list` in one parameter.
        sendable: regular expression that the whole of a filter's value must match to be sent, for
            servers that misread others; empty where any may be.
        tables: level -> resource that searches it, in the same service.
        metadata: level -> resource whose rows are the instances' whole datasets, found by the
            parameters down to that level (`series` -> `series_metadata`).
        sizes: (resource, column) of metrics that tell how many rows there are, narrowest first; one
            applies where the calls' parameters are all that its method requires.
        split: attribute whose ranges divide a search that offsets cannot reach the end of.
        moves: how instances are moved; only at the resource of instances.
        preview: how a row's picture is got; None where the table has no column `preview`.
    """

    level: str
    source: str
    attributes: tuple[Attribute, ...]
    open: bool = False
    identity: tuple[tuple[str, str], ...] = ()
    include: str = ""
    include_any: bool = False
    include_all: str = "all"
    fuzzy: tuple[str, str] = ("", "")
    separator: str = ","
    sendable: str = ""
    elsewhere: str = ""
    tables: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    sizes: tuple[tuple[str, str], ...] = ()
    split: str = ""
    moves: Moves | None = None
    preview: Preview | None = None


@dataclass(frozen=True)
class Resource:
    """A resource: a table with its methods.

    Attributes:
        methods: by name, in the document's order.
        verbs: SQL verb -> names of its methods, the document's order.
        own_id: the path parameter that names one of these resources (`dicomStoresId` for
            `dicom_stores`); no session default fills it. Empty where there is none.
        dicom: set where the rows are DICOM datasets.
        offered: its ids name places and no person, so that they are listed, unasked, for whoever
            types a statement.
    """

    provider: str
    service: str
    name: str
    title: str
    description: str
    methods: Mapping[str, Method]
    verbs: Mapping[str, tuple[str, ...]]
    own_id: str = ""
    dicom: DicomTable | None = None
    offered: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.provider}.{self.service}.{self.name}"

    def for_verb(self, verb: str) -> tuple[Method, ...]:
        """The methods of a SQL verb, in the document's order."""
        return tuple(self.methods[name] for name in self.verbs.get(verb, ()))


@dataclass(frozen=True)
class Service:
    """A service of a provider; its resources are read on demand by the catalog."""

    provider: str
    name: str
    title: str
    description: str
    version: str
    operations: Operations | None
    resource_names: tuple[str, ...]
    # Concurrency that the server is known to bear; the session's setting wins.
    parallel: int = 8


@dataclass(frozen=True)
class Provider:
    """A provider with the names of its services."""

    name: str
    version: str
    title: str
    services: tuple[str, ...]
    # Credentials to look for: `google` or `none`.
    auth: str = "none"
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schema:
    """A body schema: OpenAPI's object as a mapping, with the names it refers to resolvable."""

    name: str
    definition: Mapping[str, Any] = field(default_factory=dict)
