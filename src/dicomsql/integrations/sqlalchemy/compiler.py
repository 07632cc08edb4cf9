"""SQL and DDL from SQLAlchemy's constructs, where the engine's differs from the standard's."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import exc, types
from sqlalchemy.sql import elements
from sqlalchemy.sql.compiler import DDLCompiler, IdentifierPreparer, SQLCompiler
from sqlalchemy.sql.expression import cast

__all__ = ["Compiler", "DdlCompiler", "Preparer", "sequence_of"]

# The engine's reserved words, those that cannot name a column or a table, and those that begin a
# statement's clauses here.
_RESERVED_TEXT = """
    all analyse analyze and anti any array as asc asof asymmetric at authorization binary
    both by case cast check collate collation column columns concurrently constraint create
    cross default deferrable desc describe distinct do else end except exec explain false
    fetch for foreign freeze from full generated glob group having ilike in initially inner
    intersect into is isnull join lambda lateral leading left like limit map natural not
    notnull null offset on only or order outer overlaps pivot pivot_longer pivot_wider
    placing positional primary qualify references returning right select semi show similar
    some struct summarize symmetric table tablesample then to trailing true try_cast tuple
    union unique unpack unpivot using values variadic verbose when where window with
"""
_RESERVED = frozenset(_RESERVED_TEXT.split())
_TEMPORARY = frozenset(("TEMP", "TEMPORARY"))
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Preparer(IdentifierPreparer):
    """Quotes names. A schema's dots part the names of which a service's consists."""

    reserved_words = set(_RESERVED)  # noqa: RUF012 - as SQLAlchemy has it

    def _requires_quotes(self, value: str) -> bool:
        # Names mean the same in any case, quoted or not, so that case is no reason.
        return value.lower() in _RESERVED or not _PLAIN.fullmatch(value)

    def quote_schema(self, schema: str) -> str:
        """The name of a schema; one that is marked to be quoted is a single name, dots and all."""
        if getattr(schema, "quote", None):
            return str(self.quote(schema))
        return ".".join(self.quote(part) for part in schema.split("."))

    format_schema = quote_schema


class Compiler(SQLCompiler):
    """Queries and writes."""

    def visit_now_func(self, fn: Any, **kw: Any) -> str:  # noqa: ARG002
        return "CURRENT_TIMESTAMP"

    def visit_char_length_func(self, fn: Any, **kw: Any) -> str:
        return f"length{self.function_argspec(fn, **kw)}"

    def visit_aggregate_strings_func(self, fn: Any, **kw: Any) -> str:
        text = super().visit_aggregate_strings_func(fn, use_function_name="string_agg", **kw)  # type: ignore[no-untyped-call]
        return str(text)

    def visit_sequence(self, sequence: Any, **kw: Any) -> str:  # noqa: ARG002
        name = self.preparer.format_sequence(sequence).replace("'", "''")
        return f"nextval('{name}')"

    def visit_ilike_case_insensitive_operand(self, element: Any, **kw: Any) -> str:
        return str(element.element._compiler_dispatch(self, **kw))

    def visit_ilike_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:  # noqa: ARG002
        return self._ilike(binary, "ILIKE", **kw)

    def visit_not_ilike_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:  # noqa: ARG002
        return self._ilike(binary, "NOT ILIKE", **kw)

    def visit_regexp_match_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:  # noqa: ARG002
        return self._regexp("regexp_matches", binary, [binary.left, binary.right], **kw)

    def visit_not_regexp_match_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        return f"NOT {self.visit_regexp_match_op_binary(binary, operator, **kw)}"

    def visit_regexp_replace_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:  # noqa: ARG002
        return self._regexp("regexp_replace", binary, [binary.left, *binary.right.clauses], **kw)

    def visit_bitwise_xor_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:  # noqa: ARG002
        left, right = self.process(binary.left, **kw), self.process(binary.right, **kw)
        return f"xor({left}, {right})"

    def visit_json_getitem_op_binary(
        self,
        binary: Any,
        operator: Any,  # noqa: ARG002
        _cast_applied: bool = False,
        **kw: Any,
    ) -> str:
        """A member of a JSON value, as JSON or, where another type is asked for, as that."""
        if not _cast_applied and binary.type._type_affinity is not types.JSON:
            return str(self.process(cast(binary, binary.type), _cast_applied=True, **kw))
        arrow = "->>" if _cast_applied else "->"
        left, right = self.process(binary.left, **kw), self.process(binary.right, **kw)
        return f"({left} {arrow} {right})"

    visit_json_path_getitem_op_binary = visit_json_getitem_op_binary

    def visit_getitem_binary(self, binary: Any, operator: Any, **kw: Any) -> str:  # noqa: ARG002
        return f"{self.process(binary.left, **kw)}[{self.process(binary.right, **kw)}]"

    def visit_slice(self, element: Any, **kw: Any) -> str:
        return f"{self.process(element.start, **kw)}:{self.process(element.stop, **kw)}"

    def visit_empty_set_expr(self, element_types: Any, **kw: Any) -> str:  # noqa: ARG002
        nulls = ", ".join(
            f"CAST(NULL AS {self.dialect.type_compiler_instance.process(_known(type_))})"
            for type_ in element_types or [types.Integer()]
        )
        return f"SELECT {nulls} WHERE 1 != 1"

    def get_select_precolumns(self, select: Any, **kw: Any) -> str:
        """DISTINCT, with ON where it is asked for, which the engine has as well."""
        if not select._distinct_on:
            return str(super().get_select_precolumns(select, **kw))
        columns = ", ".join(self.process(column, **kw) for column in select._distinct_on)
        return f"DISTINCT ON ({columns}) "

    def limit_clause(self, select: Any, **kw: Any) -> str:
        text = ""
        if select._limit_clause is not None:
            text += f"\n LIMIT {self.process(select._limit_clause, **kw)}"
        if select._offset_clause is not None:
            text += f"\n OFFSET {self.process(select._offset_clause, **kw)}"
        return text

    def fetch_clause(self, select: Any, *_: Any, **kw: Any) -> str:
        """FETCH FIRST as LIMIT, which is pushed down."""
        options = select._fetch_clause_options
        if options["percent"] or options["with_ties"]:
            raise exc.CompileError("fetch() takes neither percent nor with_ties here.")
        text = f"\n LIMIT {self.process(select._fetch_clause, **kw)}"
        if select._offset_clause is not None:
            text += f"\n OFFSET {self.process(select._offset_clause, **kw)}"
        return text

    def visit_try_cast(self, element: Any, **kw: Any) -> str:
        kind = self.process(element.typeclause, **kw)
        return f"TRY_CAST({self.process(element.clause, **kw)} AS {kind})"

    def visit_tablesample(self, tablesample: Any, asfrom: bool = False, **kw: Any) -> str:  # noqa: ARG002
        """A sample by percents, which the engine takes as constants alone."""
        method = tablesample._get_method()
        constant = {**kw, "literal_execute": True}
        share = self.process(method.clause_expr, **constant)
        text = self.visit_alias(tablesample, asfrom=True, **kw)  # type: ignore[no-untyped-call]
        text = f"{text} TABLESAMPLE {method.name}({share[1:-1]} PERCENT)"
        if tablesample.seed is not None:
            text += f" REPEATABLE ({self.process(tablesample.seed, **constant)})"
        return text

    def for_update_clause(self, select: Any, **kw: Any) -> str:  # noqa: ARG002
        raise exc.CompileError("Rows cannot be locked: leave with_for_update() out.")

    def update_from_clause(
        self,
        update_stmt: Any,  # noqa: ARG002
        from_table: Any,  # noqa: ARG002
        extra_froms: Any,
        from_hints: Any,
        **kw: Any,
    ) -> str:
        return f"FROM {self._tables(extra_froms, from_hints, **kw)}"

    def delete_extra_from_clause(
        self,
        delete_stmt: Any,  # noqa: ARG002
        from_table: Any,  # noqa: ARG002
        extra_froms: Any,
        from_hints: Any,
        **kw: Any,
    ) -> str:
        return f"USING {self._tables(extra_froms, from_hints, **kw)}"

    def returning_clause(
        self, stmt: Any, returning_cols: Any, *, populate_result_map: bool, **kw: Any
    ) -> str:
        """RETURNING, whose columns belong to the one table that is written."""
        kw["include_table"] = False
        return str(
            super().returning_clause(
                stmt, returning_cols, populate_result_map=populate_result_map, **kw
            )
        )

    def _tables(self, tables: Any, hints: Any, **kw: Any) -> str:
        kw["asfrom"] = True
        return ", ".join(t._compiler_dispatch(self, fromhints=hints, **kw) for t in tables)

    def _ilike(self, binary: Any, word: str, **kw: Any) -> str:
        text = f"{self.process(binary.left, **kw)} {word} {self.process(binary.right, **kw)}"
        escape = binary.modifiers.get("escape")
        if escape is not None:
            text += f" ESCAPE {self.render_literal_value(escape, types.String())}"
        return text

    def _regexp(self, function: str, binary: Any, operands: list[Any], **kw: Any) -> str:
        texts = [self.process(operand, **kw) for operand in operands]
        flags = binary.modifiers["flags"]
        if flags is not None:
            texts.append(self.render_literal_value(flags, types.String()))
        return f"{function}({', '.join(texts)})"


class DdlCompiler(DDLCompiler):
    """Tables of the engine. An integer key that counts up by itself has a sequence of its own."""

    def visit_create_table(self, create: Any, **kw: Any) -> str:
        text = str(super().visit_create_table(create, **kw))  # type: ignore[no-untyped-call]
        sequence = sequence_of(self.preparer, create.element)
        if not sequence:
            return text
        # What counts the keys of a table that goes with its connection goes with it.
        prefixes = {word for prefix in create.element._prefixes for word in prefix.upper().split()}
        kind = "TEMP SEQUENCE" if prefixes & _TEMPORARY else "SEQUENCE"
        return f"CREATE {kind} IF NOT EXISTS {sequence};{text}"

    def visit_drop_table(self, drop: Any, **kw: Any) -> str:
        text = str(super().visit_drop_table(drop, **kw))  # type: ignore[no-untyped-call]
        sequence = sequence_of(self.preparer, drop.element)
        return f"{text};\nDROP SEQUENCE IF EXISTS {sequence}" if sequence else text

    def get_column_specification(self, column: Any, **kwargs: Any) -> str:  # noqa: ARG002
        kind = self.dialect.type_compiler_instance.process(column.type, type_expression=column)
        text = f"{self.preparer.format_column(column)} {kind}"
        default = self.get_column_default_string(column)
        if default is None and column is column.table._autoincrement_column:
            sequence = sequence_of(self.preparer, column.table)
            if sequence:
                default = "nextval('{}')".format(sequence.replace("'", "''"))
        if default is not None:
            text += f" DEFAULT {default}"
        if column.computed is not None:
            text += f" {self.process(column.computed)}"
        if not column.nullable:
            text += " NOT NULL"
        return text

    def visit_computed_column(self, generated: Any, **kw: Any) -> str:  # noqa: ARG002
        if generated.persisted is True:
            raise exc.CompileError("A computed column is not stored here: leave persisted out.")
        sql = self.sql_compiler.process(generated.sqltext, include_table=False, literal_binds=True)
        return f"GENERATED ALWAYS AS ({sql}) VIRTUAL"

    def define_constraint_cascades(self, constraint: Any) -> str:
        for name in ("ondelete", "onupdate"):
            action = getattr(constraint, name)
            if action is not None and action.upper() not in {"NO ACTION", "RESTRICT"}:
                raise exc.CompileError(
                    f"A foreign key cannot {action} here: leave {name} out, and write what "
                    "depends on the row yourself."
                )
        return ""

    def define_constraint_deferrability(self, constraint: Any) -> str:
        if constraint.deferrable or constraint.initially:
            raise exc.CompileError("A constraint cannot be deferred here.")
        return ""

    def visit_drop_table_comment(self, drop: Any, **kw: Any) -> str:  # noqa: ARG002
        return f"COMMENT ON TABLE {self.preparer.format_table(drop.element)} IS NULL"


def sequence_of(preparer: IdentifierPreparer, table: Any) -> str | None:
    """The quoted name of the sequence that a table's key counts by; None where it has none."""
    column = table._autoincrement_column
    if column is None or column.default is not None:
        return None
    if column.server_default is not None and column.identity is None:
        return None
    name = preparer.quote(f"{table.name}_{column.name}_seq")
    schema = preparer.schema_for_object(table)
    return f"{preparer.quote_schema(schema)}.{name}" if schema else name


def _known(type_: Any) -> Any:
    return types.Integer() if isinstance(type_, elements.Null) or type_._isnull else type_
