"""SQLAlchemy's own plugin for its suite, in a process of its own: it changes how pytest collects."""

from __future__ import annotations

import pytest
from sqlalchemy.dialects import registry

# As it is without an installation, which has it as an entry point.
for name in ("dicomsql", "dicomsql.dicomsql"):
    registry.register(name, "dicomsql.integrations.sqlalchemy", "Dialect")
pytest.register_assert_rewrite("sqlalchemy.testing.assertions")

from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402, F403

from sqlalchemy.testing import provision  # noqa: E402


@provision.temp_table_keyword_args.for_db("dicomsql")
def _temporary(cfg, eng):  # type: ignore[no-untyped-def]
    return {"prefixes": ["TEMPORARY"]}
