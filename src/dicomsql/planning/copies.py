"""COPY into its plan: files into a store, a store's instances into files or another store, rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.errors import (
    DatabaseError,
    LanguageError,
    NotSupportedError,
    PlanningError,
    nearest,
)
from dicomsql.language.statements import CopyIn
from dicomsql.planning import exports, options
from dicomsql.planning.moving import (
    check_instances,
    instances_of,
    move_methods,
    place_names,
    read_from,
    same_store,
    store_at,
)
from dicomsql.planning.named import checked_layout, named_by, one_column, output_columns
from dicomsql.planning.options import Options
from dicomsql.planning.pieces import Pieces
from dicomsql.planning.plan import (
    Conflict,
    CopySettings,
    ExportPlan,
    RetrievePlan,
    Returning,
    StorePlan,
    TransferPlan,
)
from dicomsql.planning.query import plan_query

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import MoveMethods, Resource
    from dicomsql.language.statements import CopyOut, Fragment
    from dicomsql.planning.answers import Context, Evaluate
    from dicomsql.planning.parameters import Parameters
    from dicomsql.planning.plan import CopyPlan, DicomStore, Named
    from dicomsql.planning.read_plan import ReadPlan

# The table that RETURNING reads, and its columns.
COPIED = "copied"
_COPIED_COLUMNS = {
    **dict.fromkeys(("path", "StudyInstanceUID", "SeriesInstanceUID"), "VARCHAR"),
    **dict.fromkeys(("SOPInstanceUID", "status", "reason"), "VARCHAR"),
    "bytes": "BIGINT",
}

# Columns of a query that name local files.
_PATHS = ("path", "filename")

# In front of the path parameters of a source, where a statement has a target too.
_SOURCE = "source_"

_MOST_PARALLEL = 256
# What one request holds is sent again whole where the line breaks.
_MOST_MEGABYTES = 4_000


@dataclass(frozen=True, slots=True)
class CopyPlanner:
    """Plans one COPY.

    Attributes:
        evaluate: computes a constant expression.
        parameters: values of the statement's placeholders.
    """

    catalog: Catalog
    context: Context
    evaluate: Evaluate
    statement: CopyIn | CopyOut
    parameters: Parameters

    def plan(self) -> CopyPlan | None:
        """The plan; None where the statement is the engine's.

        Raises:
            LanguageError, PlanningError: the statement is wrong.
        """
        statement = self.statement
        return self.into(statement) if isinstance(statement, CopyIn) else self.out(statement)

    def into(self, statement: CopyIn) -> StorePlan | TransferPlan | None:
        """Plan COPY ... FROM; None where its target is a table of the engine.

        Raises:
            LanguageError, PlanningError: the statement is wrong.
        """
        resource = self._target(statement)
        if resource is None:
            return None
        check_instances(self.catalog, resource)
        moves = move_methods(self.catalog, resource)
        if moves.store is None:
            raise NotSupportedError(f"Nothing can be stored into {resource.full_name}.")
        given = Options(self._pieces, statement.options)
        if not statement.queried:
            found = options.paths(self._pieces.value(statement.origin))
            return self._files(statement, resource, moves, given, paths=found)
        query, columns = self._queried(statement.origin)
        column = one_column(columns, _PATHS)
        if column and "source" not in given:
            return self._files(statement, resource, moves, given, query=query, column=column)
        return self._between(statement, resource, moves, given, query=query, columns=columns)

    def out(self, statement: CopyOut) -> RetrievePlan | ExportPlan | None:
        """Plan COPY ... TO; None where the engine has all that it reads, or is asked by name.

        Raises:
            LanguageError, PlanningError: the statement is wrong.
        """
        given = Options(self._pieces, statement.options)
        if format_ := exports.of_instances(given):
            return self._files_of(statement, given, format_)
        if exports.is_engines(given):
            return None
        try:
            text = self._pieces.parsed(statement.query)
        except LanguageError:
            return None  # grammar that only the engine knows, or a fault that it tells
        if not isinstance(text.tree, exp.Query):
            return None
        query = plan_query(text, self.catalog, self.context, self.evaluate)
        if not query.scans and not query.files:
            return None
        path = self._path(statement.destination)
        if statement.returning is not None:
            raise PlanningError(
                "RETURNING shows what became of instances; COPY of rows to a file has none."
            )
        form, chosen = exports.export_of(path, given)
        return ExportPlan(query, path, form, chosen)

    # -- into a store ----------------------------------------------------------------------------

    def _target(self, statement: CopyIn) -> Resource | None:
        parts = statement.target.parts
        try:
            return self.catalog.resolve(parts, self.context.use)
        except PlanningError:
            if len(parts) <= 2 and not self.context.use:
                return None  # the engine's own table, or a name that only it can judge
            raise

    def _files(
        self,
        statement: CopyIn,
        resource: Resource,
        moves: MoveMethods,
        given: Options,
        *,
        paths: tuple[str, ...] = (),
        query: ReadPlan | None = None,
        column: str = "",
    ) -> StorePlan:
        study = dict(moves.ids)["study"] if moves.store_in_study is not None else ""
        given.check([*_SETTINGS, "on_conflict", *place_names(moves), *([study] if study else [])])
        return StorePlan(
            target=self._store(resource, moves, given),
            paths=paths,
            conflict=self._conflict(resource, moves, given),
            study=given.get(study, options.uid, "") if study else "",
            settings=_settings(given),
            returning=self._returning(statement.returning),
            query=query,
            column=column,
        )

    def _between(
        self,
        statement: CopyIn,
        resource: Resource,
        moves: MoveMethods,
        given: Options,
        *,
        query: ReadPlan,
        columns: tuple[str, ...],
    ) -> TransferPlan:
        source, named = self._source(query, columns, given, _SOURCE)
        of_source = (_SOURCE + name for name in place_names(source.moves))
        known = (*_SETTINGS, "on_conflict", "source", *place_names(moves), *of_source)
        given.check(known)
        target = self._store(resource, moves, given)
        if not named.places and same_store(source, target):
            if places := place_names(moves):
                how = f"by the option {places[-1]}, or read from one (WHERE {places[-1]} = '...')"
            else:
                how = "by the name of its connection, or read from one"
            raise PlanningError(
                f"COPY would copy {resource.full_name} into itself: the query reads from the store "
                f"that is copied into. Copy into another one, {how}.",
                resource=resource.full_name,
            )
        return TransferPlan(
            query=query,
            named=named,
            source=source,
            target=target,
            conflict=self._conflict(resource, moves, given),
            settings=_settings(given),
            returning=self._returning(statement.returning),
        )

    def _store(self, resource: Resource, moves: MoveMethods, given: Options) -> DicomStore:
        at = given.texts(place_names(moves))
        return store_at(self.context, resource, moves, at, doing="store into")

    def _conflict(self, resource: Resource, moves: MoveMethods, given: Options) -> Conflict:
        reader = options.one_of(*(str(c) for c in Conflict))
        conflict = Conflict(given.get("on_conflict", reader, str(Conflict.FAIL)))
        if conflict is Conflict.REPLACE and moves.replace is None and moves.delete is None:
            raise NotSupportedError(
                f"on_conflict 'replace' cannot be done: {resource.full_name} can neither overwrite "
                f"nor delete an instance. 'skip' leaves what is there, 'fail' tells of it."
            )
        return conflict

    # -- out of a store --------------------------------------------------------------------------

    def _files_of(self, statement: CopyOut, given: Options, format_: str) -> RetrievePlan:
        query, columns = self._queried(statement.query)
        source, named = self._source(query, columns, given, "")
        own = ["transfer_syntax"] if format_ == "dicom" else []
        known = ["FORMAT", "layout", *own, "overwrite", "parallel", "journal", "source"]
        given.check([*known, *place_names(source.moves)])
        self._check_format(source, format_)
        layout = given.get("layout", options.text, "")
        if layout:
            layout = checked_layout(layout, columns, frames=format_ != "dicom")
        return RetrievePlan(
            query=query,
            named=named,
            source=source,
            folder=self._path(statement.destination),
            format=format_,
            transfer_syntax=given.get("transfer_syntax", options.transfer_syntax, "*"),
            layout=layout,
            overwrite=given.get("overwrite", options.switch, False),
            settings=_settings(given),
            returning=self._returning(statement.returning),
        )

    def _check_format(self, source: DicomStore, format_: str) -> None:
        moves = source.moves
        able = moves.instance if format_ == "dicom" else moves.rendered or moves.rendered_frame
        if able is None:
            raise NotSupportedError(
                f"{source.resource} cannot be copied as {format_}: its provider document names no "
                f"method for that."
            )

    def _path(self, fragment: Fragment) -> str:
        found = options.paths(self._pieces.value(fragment))
        if len(found) != 1:
            raise PlanningError("COPY ... TO takes one folder or file.")
        return found[0]

    # -- what both have --------------------------------------------------------------------------

    def _queried(self, fragment: Fragment) -> tuple[ReadPlan, tuple[str, ...]]:
        """The plan of a query, and the names of its columns."""
        text = self._pieces.parsed(fragment)
        query = plan_query(text, self.catalog, self.context, self.evaluate)
        return query, output_columns(query, text.tree, self.evaluate)

    def _source(
        self, query: ReadPlan, columns: tuple[str, ...], given: Options, prefix: str
    ) -> tuple[DicomStore, Named]:
        """The store that a query's rows name instances of, and the columns that name them.

        Args:
            prefix: of the options that give the store's place.
        """
        resource = self._read_resource(query, given)
        moves = move_methods(self.catalog, resource)
        names = place_names(moves)
        named = named_by(columns, moves, names)
        at = dict.fromkeys((name for name, _ in named.places), "")
        said = given.texts(names, prefix)
        if twice := at.keys() & said.keys():
            name = min(twice)
            raise PlanningError(
                f"{name} is a column of the query and an option; leave one of them out."
            )
        at |= said
        scans = tuple(
            s
            for s in query.scans
            if s.dicom is not None
            and (s.method.provider, s.method.service) == (resource.provider, resource.service)
        )
        for name, value in read_from(scans, names).items():
            if value is None and name not in at:
                raise PlanningError(
                    f"The query reads from several stores. Add {name} to its columns, which says "
                    f"of which store a row is, or give one by the option {prefix}{name}."
                )
            at.setdefault(name, value or "")
        doing = "retrieve from"
        return store_at(self.context, resource, moves, at, doing=doing, prefix=prefix), named

    def _read_resource(self, query: ReadPlan, given: Options) -> Resource:
        """The instances' resource that a query's rows are of."""
        if "source" in given:
            name = given.read("source", options.text)
            return instances_of(
                self.catalog, self.catalog.resolve(tuple(name.split(".")), self.context.use)
            )
        read = {
            (s.method.provider, s.method.service): s.method.resource
            for s in query.scans
            if s.dicom is not None
        }
        if len(read) != 1:
            found = " and ".join(".".join(service) for service in read)
            reads = f"reads from {found}" if read else "reads no table of DICOM instances"
            raise PlanningError(
                f"The query of COPY {reads}, so that it is not clear where its instances are. "
                f"Name them by the option source, as in (source 'google.healthcare.instances')."
            )
        ((provider, service), name), *_ = read.items()
        return instances_of(self.catalog, self.catalog.resource(provider, service, name))

    def _returning(self, fragment: Fragment | None) -> Returning | None:
        return returning_of(fragment, self._pieces) if fragment is not None else None

    @property
    def _pieces(self) -> Pieces:
        return Pieces(self.statement, self.parameters, self.context, self.evaluate)


def returning_of(fragment: Fragment, pieces: Pieces) -> Returning:
    """What RETURNING makes of a COPY's rows: columns, and whatever may stand behind FROM.

    Raises:
        DatabaseError: the engine refuses it; it is asked before anything is moved.
    """
    text = pieces.parsed(fragment, prefix="SELECT ")
    # FROM first, so that GROUP BY or ORDER BY may end the text.
    sql = f"FROM {COPIED} SELECT {text.render()}"
    values = text.values_in(sql)
    further = any(part for name, part in text.tree.args.items() if name != "expressions")
    columns = text.tree.args.get("expressions") or []
    if further or not all(isinstance(c, exp.Column) and c.name in _COPIED_COLUMNS for c in columns):
        listed = ", ".join(f'CAST(NULL AS {t}) AS "{n}"' for n, t in _COPIED_COLUMNS.items())
        asked = f"WITH {COPIED} AS (SELECT {listed}) {sql}"
        try:
            pieces.evaluate(f"SELECT count(*) FROM (DESCRIBE {asked}\n)", values)  # noqa: S608
        except DatabaseError as error:
            if (unknown := _unknown_column(text.tree, str(error))) is None:
                raise
            known = list(_COPIED_COLUMNS)
            raise PlanningError(
                f"The result of COPY has no column {unknown}.{nearest(unknown, known)} "
                f"RETURNING chooses among {', '.join(known)}."
            ) from error
    return Returning(sql, values)


def _unknown_column(tree: exp.Expr, said: str) -> str | None:
    """The first column of a RETURNING that the result does not have and the engine complains of."""
    known = {name.lower() for name in _COPIED_COLUMNS}
    known |= {alias.alias.lower() for alias in tree.find_all(exp.Alias)}
    names = (column.name for column in tree.find_all(exp.Column))
    return next((n for n in names if n.lower() not in known and n in said), None)


_SETTINGS = ("parallel", "batch_mb", "journal")


def _settings(given: Options) -> CopySettings:
    usual = CopySettings()
    return CopySettings(
        parallel=given.get("parallel", options.whole(1, _MOST_PARALLEL), usual.parallel),
        batch=given.get("batch_mb", options.megabytes(_MOST_MEGABYTES), usual.batch),
        journal=given.get("journal", options.journal, usual.journal),
    )
