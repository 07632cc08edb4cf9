"""What SQLAlchemy's suite may expect of the dialect, beyond what it does of any.

What is closed, here or by the suite itself, stands with its reason in docs/sqlalchemy.md.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements

_OPEN = """
    aggregate_order_by array_type autocommit boolean_col_expressions isolation_level
    skip_autocommit_rollback
    cast_precision_numerics_many_significant_digits comment_reflection
    comment_reflection_full_unicode computed_columns computed_columns_reflect_persisted
    computed_columns_virtual create_or_replace_view create_table_as create_temp_table_as ctes
    ctes_with_update_delete schema_create_delete
    ctes_with_values cursor_works_post_rollback date_historic datetime_historic datetime_literals
    datetime_timezone datetime_timezone_historic delete_from except_ expression_server_defaults
    fetch_first fetch_no_order_by float_or_double_precision_behaves_generically has_temp_table
    implicit_default_schema index_ddl_if_exists indexes_check_column_order
    indexes_with_expressions infinity_floats intersect json_array_indexes json_type
    mod_operator_as_percent_sign nullsordering order_by_label_with_expression
    percent_schema_names precision_numerics_enotation_small
    precision_numerics_many_significant_digits precision_numerics_retains_significant_digits
    reflect_indexes_with_expressions regexp_match regexp_replace server_defaults time_timezone
    supports_bitwise_and supports_bitwise_not supports_bitwise_or supports_bitwise_shift
    supports_bitwise_xor supports_distinct_on supports_is_distinct_from table_ddl_if_exists
    table_value_constructor temp_table_names temporary_views timestamp_microseconds
    timestamp_microseconds_implicit_bound tuple_in tuple_in_w_empty unicode_ddl update_from
    uuid_data_type views window_functions
"""
_CLOSED = """
    implements_get_lastrowid implicitly_named_constraints
    named_constraints self_referential_foreign_keys server_side_cursors
    unique_constraint_reflection
"""


def _answers(names: str, answer: Any) -> dict[str, Any]:
    return dict.fromkeys(names.split(), property(lambda _: answer()))


def _levels(self: SuiteRequirements, config: Any) -> dict[str, Any]:
    return {"default": "REPEATABLE READ", "supported": ["REPEATABLE READ", "AUTOCOMMIT"]}


Requirements = type(
    "Requirements",
    (SuiteRequirements,),
    {
        **_answers(_OPEN, exclusions.open),
        **_answers(_CLOSED, exclusions.closed),
        "get_isolation_levels": _levels,
    },
)
