"""What SQLAlchemy's suite may expect of the dialect; what is closed stands in docs/sqlalchemy.md."""

from __future__ import annotations

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements


def _all(*names: str):  # type: ignore[no-untyped-def]
    return names


_OPEN = """
    create_table_as create_temp_table_as table_ddl_if_exists index_ddl_if_exists uuid_data_type
    table_value_constructor boolean_col_expressions nullsordering intersect except_
    window_functions ctes tuple_in tuple_in_w_empty views
    implicit_default_schema comment_reflection comment_reflection_full_unicode
    temp_table_names has_temp_table temporary_views create_or_replace_view
    
    
    datetime_literals datetime_timezone timestamp_microseconds
    timestamp_microseconds_implicit_bound datetime_historic datetime_timezone_historic date_historic
    array_type json_type json_array_indexes
    precision_numerics_enotation_small precision_numerics_many_significant_digits
    cast_precision_numerics_many_significant_digits server_defaults expression_server_defaults
    aggregate_order_by precision_numerics_retains_significant_digits infinity_floats
    float_or_double_precision_behaves_generically update_from delete_from
    mod_operator_as_percent_sign percent_schema_names order_by_label_with_expression
    unicode_ddl fetch_first fetch_no_order_by regexp_match regexp_replace supports_distinct_on
    supports_is_distinct_from computed_columns computed_columns_virtual
    computed_columns_reflect_persisted supports_bitwise_or supports_bitwise_and
    supports_bitwise_not supports_bitwise_xor supports_bitwise_shift
    indexes_with_expressions reflect_indexes_with_expressions indexes_check_column_order
    cursor_works_post_rollback ctes_with_values
    unusual_column_name_characters
    sql_expression_limit_offset emulated_lastrowid 
""".split()
_CLOSED = "schemas unique_constraint_reflection named_constraints implicitly_named_constraints  implements_get_lastrowid".split()

Requirements = type(
    "Requirements",
    (SuiteRequirements,),
    {
        **{n: property(lambda self: exclusions.open()) for n in _OPEN if n != "emulated_lastrowid"},
        **{n: property(lambda self: exclusions.closed()) for n in _CLOSED},
    },
)
