"""Where the parameters of one table's calls get their values: constants, other tables' rows.

The statement wins over what surrounds it: a parameter that a join or a subquery determines is
bound to those rows even where the session has a default for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.errors import NotSupportedError
from dicomsql.planning.facts import Equal, FactFinder, Facts, InQuery, Joined
from dicomsql.planning.places import body_place, derived_place
from dicomsql.planning.read_plan import Bind, ColumnKind, Constant, Keep
from dicomsql.planning.restrictions import Restrictions
from dicomsql.planning.scopes import correlated, cte_of, is_inside
from dicomsql.planning.tokens import word_of
from dicomsql.planning.values import parameter_text, quoted

if TYPE_CHECKING:
    from dicomsql.planning.answers import Evaluate
    from dicomsql.planning.fill import Filled
    from dicomsql.planning.names import Names
    from dicomsql.planning.read_plan import Scan, ScanColumn
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.text import QueryText


@dataclass(slots=True)
class Planned:
    """A source with the scan that was planned for it.

    Attributes:
        narrow: it has few rows, as far as can be told.
        kept: its rows are read more than once.
        filled: what its own answers lack; None where they lack nothing.
    """

    source: Source
    scan: Scan
    narrow: bool
    kept: bool = False
    filled: Filled | None = None

    @property
    def local(self) -> bool:
        """Whether its rows are files of this machine."""
        return self.source.table is not None and self.source.table.local

    @property
    def columns(self) -> tuple[ScanColumn, ...]:
        """What the query finds in it."""
        return self.filled.columns if self.filled is not None else self.scan.columns

    @property
    def scans(self) -> tuple[Scan, ...]:
        """All that gives its rows, in the order in which they can be read."""
        return (self.scan, *(self.filled.fills if self.filled is not None else ()))

    @property
    def place(self) -> str:
        """What stands in its place in the engine's FROM."""
        return self.filled.derived if self.filled is not None else self.scan.name


@dataclass(frozen=True, slots=True)
class Bindings:
    """The binds of a source that are possible now, and what further ones wait for."""

    ready: tuple[Bind, ...]
    # (source that is not planned yet, parameter that its rows would bind)
    waiting: tuple[tuple[Source, str], ...]


@dataclass(slots=True)
class Binder:
    """Finds the values of parameters.

    Attributes:
        facts: of each resource, by the id of its source.
        done: the sources that are planned, by id.
        restrictions: what the query says of single tables.
        keeps: by the place of their text: the subqueries that are run once.
    """

    text: QueryText
    names: Names
    evaluate: Evaluate
    facts: dict[int, Facts] = field(default_factory=dict)
    done: dict[int, Planned] = field(default_factory=dict)
    keeps: dict[tuple[int, int], Keep] = field(default_factory=dict)
    restrictions: Restrictions = field(init=False)

    def __post_init__(self) -> None:
        self.restrictions = Restrictions(self)

    def find_facts(self, sources: list[Source]) -> None:
        """Find what the query says of each of these resources."""
        finder = self._finder()
        for source in sources:
            self.facts[id(source)] = finder.find(source)

    def _finder(self) -> FactFinder:
        return FactFinder(self.text, self.names, self.evaluate)

    # -- constants -------------------------------------------------------------------------------

    def constants(self, source: Source) -> tuple[dict[str, Constant], dict[str, Equal]]:
        """Constants of the statement by parameter, and the facts that they rest on."""
        constants: dict[str, Constant] = {}
        used: dict[str, Equal] = {}
        for name in parameter_names(source):
            equal = self._equal_for(source, name)
            if equal is not None:
                values = tuple(dict.fromkeys(parameter_text(v) for v in equal.values))
                if len(columns_for(source, name)) > 1:
                    # An empty UID is no row's, where any other parameter has to have a value.
                    values = tuple(v for v in values if v)
                constants[name] = Constant(name, values, "statement", equal.listed)
                used[name] = equal
                continue
            known = self._known_from_scans(source, name)
            if known is not None:
                constants[name] = known
        return constants, used

    def inherited(self, source: Source) -> dict[str, Constant]:
        """Parameters that the queries around give, for what this one leaves open.

        They stand there without a table, or as a column of the one that this one's rows make.
        """
        found: dict[str, Constant] = {}
        names = {n.lower(): n for n in parameter_names(source)}
        finder = self._finder()
        below, at = source.scope, source.scope.parent
        while at is not None:
            holder = next((s for s in at.sources if is_inside(below.node, s.node)), None)
            alias = holder.alias if holder is not None else ""
            for column, values, listed in finder.given(at, alias):
                name = names.get(column.lower())
                if name is None or name in found:
                    continue
                if not self._is_other(holder, name, at):
                    texts = tuple(dict.fromkeys(parameter_text(v) for v in values))
                    found[name] = Constant(name, texts, "query", listed)
            below, at = at, at.parent
        return found

    def _is_other(self, holder: Source | None, parameter: str, scope: Scope) -> bool:
        """Whether a derived table calls something else by a parameter's name."""
        if holder is None or holder.table is not None or not holder.has(parameter):
            return False
        meant = self.names.meaning(exp.column(parameter, table=holder.alias), scope)
        return meant is None or meant.parameter != parameter

    def in_some_branches(self, source: Source, parameter: str) -> set[str]:
        """The values that single branches of an OR give to a parameter."""
        finder = self._finder()
        alternatives = [c for c in source.scope.conditions(source) if isinstance(c, exp.Or)]
        return {
            parameter_text(value)
            for condition in alternatives
            for said in finder.branches(condition, source)
            for column in columns_for(source, parameter)
            for equal in said.equal.get(column, [])
            for value in equal.values
        }

    def _equal_for(self, source: Source, parameter: str) -> Equal | None:
        facts = self.facts[id(source)]
        columns = columns_for(source, parameter)
        found = [e for c in columns for e in facts.equal.get(c, [])]
        for column in columns:
            # An equality with another table's column carries that column's constants over.
            for joined in facts.joined.get(column, []):
                found += self._carried(joined, column)
        # One value says more than a list.
        return min(found, key=lambda e: len(e.values)) if found else None

    def _carried(self, joined: Joined, column: str) -> list[Equal]:
        named = _joined_column(joined, column)
        if named is None:
            return []
        other, name = named
        facts = self.facts.get(id(other))
        if facts is None or other.table is None:
            return []
        meant = other.table.column(name)
        parameter = meant.parameter if meant is not None else ""
        aliases = columns_for(other, parameter) if parameter else [name]
        return [e for alias in {name, *aliases} for e in facts.equal.get(alias, [])]

    def _known_from_scans(self, source: Source, parameter: str) -> Constant | None:
        """What a joined table's calls are already fixed to, so that its rows hold nothing else."""
        for column in columns_for(source, parameter):
            for joined in self.facts[id(source)].joined.get(column, []):
                named = _joined_column(joined, column)
                planned = self.done.get(id(named[0])) if named is not None else None
                if named is None or planned is None or named[0].table is None:
                    continue
                meant = named[0].table.column(named[1])
                if meant is None or meant.kind is not ColumnKind.PARAMETER:
                    continue
                for constant in planned.scan.constants:
                    if constant.parameter == meant.name:
                        return Constant(
                            parameter, constant.values, constant.origin, constant.set_of
                        )
        return None

    # -- binds -----------------------------------------------------------------------------------

    def binds(self, source: Source, constants: Collection[str], open_: Collection[str]) -> Bindings:
        """The binds of a source's parameters.

        Args:
            constants: parameters that have their values.
            open_: parameters that would take a default instead: these are always bound.
        """
        facts = self.facts[id(source)]
        waiting: list[tuple[Source, str]] = []
        queries: dict[str, InQuery] = {}
        groups: dict[int, tuple[Source, dict[str, str]]] = {}
        for name in parameter_names(source):
            if name in constants:
                continue
            for column in columns_for(source, name):
                for query in facts.queries.get(column, []):
                    pending = [s for s in self._inside(query.node) if id(s) not in self.done]
                    waiting += [(s, name) for s in pending]
                    if not pending:
                        queries.setdefault(name, query)
                for joined in facts.joined.get(column, []):
                    other = self._bindable(joined, source)
                    if other is None:
                        continue
                    pending = [s for s in self._feeds(other) if id(s) not in self.done]
                    waiting += [(s, name) for s in pending]
                    if not pending and (name in open_ or self._is_narrow(other, source, name)):
                        pairs = groups.setdefault(id(other), (other, {}))[1]
                        pairs.setdefault(name, self._expression(joined, column, source))
        return Bindings(tuple(self._chosen(queries, groups)), tuple(waiting))

    def _chosen(
        self, queries: dict[str, InQuery], groups: dict[int, tuple[Source, dict[str, str]]]
    ) -> Iterator[Bind]:
        """One bind for each parameter; a table that gives several of them gives them together."""
        taken: set[str] = set()
        for other, pairs in sorted(groups.values(), key=lambda g: -len(g[1])):
            free = {name: sql for name, sql in pairs.items() if name not in taken}
            if free:
                taken |= free.keys()
                try:
                    yield self._join_bind(other, free)
                except LookupError:
                    # Without the bind a default could take its place, and rows be missing.
                    raise NotSupportedError(
                        f"The rows of a join's {other.alias or 'subquery'} decide "
                        f"{' and '.join(free)}, and where its text begins and ends cannot be told. "
                        f"Put it into parentheses and give it an alias, or move it to WITH."
                    ) from None
        for name, query in queries.items():
            if name not in taken:
                yield self._query_bind(name, query)

    def _bindable(self, joined: Joined, source: Source) -> Source | None:
        """The one table whose rows give a joined value, where they can be read on their own."""
        if len(joined.others) != 1:
            return None
        other = joined.others[0]
        node = other.node
        if other.table is not None:
            return other if other is not source else None
        named = isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier)
        derived = isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query)
        if not (named or derived or isinstance(node, exp.Values)):
            return None
        if derived and correlated(node, other.scope, self.names.owners):
            return None
        if named and self._inner_cte(node):
            return None
        return None if source in self._feeds(other) else other

    def _inner_cte(self, node: exp.Expr) -> bool:
        """Whether a name means a CTE that cannot be read on its own.

        Only the statement's own WITH stands in front of a bind's query.
        """
        cte = cte_of(node, node.name.lower())
        if cte is None:
            return False
        return cte.parent is not self._own_with() or self._in_recursion(node)

    def _in_recursion(self, node: exp.Expr) -> bool:
        """Whether a name stands inside of the CTE that it names."""
        cte = cte_of(node, node.name.lower())
        at = node.parent
        while at is not None and at is not cte:
            at = at.parent
        return cte is not None and at is cte

    def _is_narrow(self, other: Source, source: Source, parameter: str) -> bool:
        """Whether binding to a source may save calls, or is the only way."""
        planned = self.done.get(id(other))
        if planned is None or planned.narrow:
            return True
        assert source.table is not None
        # A parameter that every method requires has to be bound, however many rows there are.
        return all(parameter in m.required for m in source.table.methods)

    def _feeds(self, source: Source) -> list[Source]:
        """The resources whose rows make up a source: itself, or those inside its subquery."""
        if source.table is not None:
            return [source]
        if isinstance(source.node, exp.Table) and source.node.name:
            cte = cte_of(source.node, source.node.name.lower())
            if cte is None or self._in_recursion(source.node):
                return []
            return self._inside(cte)
        return self._inside(source.node)

    def _inside(self, node: exp.Expr) -> list[Source]:
        """The resources that a part of the tree reads, those of CTEs that it names included."""
        found: list[Source] = []
        for scope in self.names.scopes:
            for source in scope.sources:
                at: exp.Expr | None = source.node
                while at is not None and at is not node:
                    at = at.parent
                if at is None:
                    continue
                if source.table is not None:
                    found.append(source)
                elif isinstance(source.node, exp.Table) and source.node is not node:
                    found += [s for s in self._feeds(source) if s not in found]
        return found

    def _expression(self, joined: Joined, column: str, source: Source) -> str:
        if joined.place is not None:
            return self.text.render(*joined.place)
        (other,) = joined.others
        found = other.table.column(column) if other.table is not None else None
        # What is no resource has the column by the name that this source has it by.
        own = source.table.column(column) if source.table is not None else None
        name = next((c.name for c in (found, own) if c is not None), column)
        if found is not None:
            other.needed.setdefault(name.lower(), name)
        return f"{quoted(other.alias)}.{quoted(name)}"

    def _join_bind(self, other: Source, pairs: dict[str, str]) -> Bind:
        listed = ", ".join(f"{sql} AS v{i}" for i, sql in enumerate(pairs.values(), 1))
        origin = self._from(other)
        sql = f"{self._with()}SELECT DISTINCT {listed} FROM {origin}"  # noqa: S608
        sql += self._wanted(other)
        shown = ", ".join(pairs.values()).replace('"', "")
        return Bind(tuple(pairs), sql, self.text.values_in(sql), shown)

    def _wanted(self, other: Source) -> str:
        """WHERE that keeps of a planned table what can have an effect on the result at all."""
        planned = self.done.get(id(other))
        if planned is None:
            return ""
        columns = {c.name.lower() for c in planned.columns}
        return self.restrictions.of(other, columns).clauses

    def _query_bind(self, parameter: str, query: InQuery) -> Bind:
        inner = self._once(query.node, query.place)
        sql = f"{self._with()}SELECT DISTINCT * FROM {inner} AS q"  # noqa: S608
        return Bind((parameter,), sql, self.text.values_in(sql), "value of the subquery")

    def _once(self, query: exp.Expr, place: tuple[int, int]) -> str:
        """A subquery's text with its parentheses, which gives the same whenever it is run."""
        if place not in self.keeps and self.restrictions.repeats(query, place):
            return self.text.render(*place)
        if place not in self.keeps:
            name = self.names.own("bound", len(self.keeps) + 1)
            sql = f"{self._with()}SELECT * FROM {self.text.render(*place)} AS q"  # noqa: S608
            self.keeps[place] = Keep(name, sql, self.text.values_in(sql))
            self.text.replace(*place, f"(FROM {name})")
        return f"(FROM {self.keeps[place].name})"

    def value_bind(
        self, source: Source, name: str, column: str, giver: Joined | InQuery
    ) -> Bind | None:
        """The bind of one parameter or attribute by what a join or a subquery gives.

        It is None where the text of what gives the values cannot be told apart.

        Args:
            name: of the parameter or the attribute.
            column: the source's column that is joined, in lower case.
        """
        try:
            if isinstance(giver, InQuery):
                return self._query_bind(name, giver)
            other = self._bindable(giver, source)
            assert other is not None
            return self._join_bind(other, {name: self._expression(giver, column, source)})
        except LookupError:
            return None

    def bindable(self, joined: Joined, source: Source) -> Source | None:
        """The one table whose rows give a joined value, where they can be read on their own."""
        return self._bindable(joined, source)

    def feeds(self, source: Source) -> list[Source]:
        """The resources whose rows make up a source."""
        return self._feeds(source)

    def rows_of(
        self, joined: Joined, column: str, source: Source
    ) -> tuple[Source, str, str] | None:
        """The planned table that a joined value comes from, the value, and its place in FROM."""
        other = self._bindable(joined, source)
        if other is None or other.table is None or id(other) not in self.done:
            return None
        return other, self._expression(joined, column, source), self._from(other)

    def resources_in(self, node: exp.Expr) -> list[Source]:
        """The resources that a part of the tree reads, those of CTEs that it names included."""
        return self._inside(node)

    def head(self) -> str:
        """The statement's own WITH clause, before any query that may name a CTE."""
        return self._with()

    def _with(self) -> str:
        """The statement's own WITH clause, in case that a bind's text names a CTE."""
        found = self._own_with()
        if found is None:
            return ""
        start = next(t.start for t in self.text.tokens if word_of(t) == "WITH")
        _, inner = self.text.span(found.expressions[-1])
        depth = 0
        for token in self.text.tokens:
            if token.start < start:
                continue
            word = word_of(token)
            depth += (word == "(") - (word == ")")
            if word == ")" and depth == 0 and token.end + 1 > inner:
                return self.text.render(start, token.end + 1) + " "
        return ""

    def _own_with(self) -> exp.Expr | None:
        """The statement's WITH: its query's, where it is CREATE ... AS or INSERT."""
        tree = self.text.tree
        query = tree.args.get("expression") if isinstance(tree, exp.Create | exp.Insert) else None
        found: exp.Expr | None = (query or tree).args.get("with_")
        return found

    def _from(self, other: Source) -> str:
        planned = self.done.get(id(other))
        if planned is not None:
            return f"{planned.place} AS {quoted(other.alias)}"
        alias = other.node.args.get("alias")
        columns = [c.name for c in (alias.args.get("columns") or [])] if alias is not None else []
        shown = f" AS {quoted(other.alias)}"
        if columns:
            shown += f"({', '.join(map(quoted, columns))})"
        if isinstance(other.node, exp.Table):
            cte = cte_of(other.node, other.node.name.lower())
            if cte is not None:
                self._once(cte.this, body_place(cte, self.text))
            start, end = self.text.span(other.node.this)
            return self.text.text[start:end] + shown
        return self._once(other.node, derived_place(other.node, self.text)) + shown


def parameter_names(source: Source) -> list[str]:
    """The parameters that any of a source's methods takes."""
    assert source.table is not None
    names = [p.name for m in source.table.methods for p in m.parameters]
    return list(dict.fromkeys(names))


def columns_for(source: Source, parameter: str) -> list[str]:
    """Lower-case names of the columns that mean a parameter."""
    names = [parameter.lower()]
    dicom = source.table.dicom if source.table else None
    if dicom is not None:
        names += [kw.lower() for param, kw in dicom.identity if param == parameter]
    return names


def _joined_column(joined: Joined, column: str) -> tuple[Source, str] | None:
    """The other table and its column, where a join equates just two columns."""
    if len(joined.others) != 1:
        return None
    if joined.expression is None:
        return joined.others[0], column
    if isinstance(joined.expression, exp.Column):
        return joined.others[0], joined.expression.name.lower()
    return None
