"""SQLAlchemy's plugin for its suite; it changes how pytest collects, so that it runs apart.

Where the environment names a file in DICOMSQL_SUITE_CLOSED, the names of the requirements that are
closed are written to it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects import registry

# As it is without an installation, which has it as an entry point.
for name in ("dicomsql", "dicomsql.dicomsql"):
    registry.register(name, "dicomsql.integrations.sqlalchemy", "Dialect")
pytest.register_assert_rewrite("sqlalchemy.testing.assertions")

from sqlalchemy.testing import config, exclusions, provision  # noqa: E402
from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402, F403
from sqlalchemy.testing.requirements import SuiteRequirements  # noqa: E402


@provision.temp_table_keyword_args.for_db("dicomsql")  # type: ignore[untyped-decorator]
def _temporary(cfg: Any, eng: Any) -> dict[str, list[str]]:
    return {"prefixes": ["TEMPORARY"]}


@provision.post_configure_engine.for_db("dicomsql")  # type: ignore[untyped-decorator]
def _schemas(url: Any, engine: Any, follower_ident: Any) -> None:
    with engine.connect() as connection, connection.begin():
        for schema in ("test_schema", "test_schema_2"):
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")


def pytest_unconfigure() -> None:
    target = os.environ.get("DICOMSQL_SUITE_CLOSED")
    if target is None:
        return
    closed = []
    for name, member in vars(SuiteRequirements).items():
        if isinstance(member, property):
            answer = getattr(config.requirements, name)
            if isinstance(answer, exclusions.compound) and not answer.enabled_for_config(
                config._current or next(iter(config.Config.all_configs()))
            ):
                closed.append(name)
    Path(target).write_text("\n".join(closed), encoding="utf-8")
