"""Alembic's part of the dialect: migrations of the engine's own tables.

It is there once Alembic and an engine of the dialect are, in this order, as in each `env.py`; where
the engine is made first, `import dicomsql.integrations.sqlalchemy.alembic` does it.
"""

from __future__ import annotations

from typing import Any

from alembic.ddl.impl import DefaultImpl

__all__ = ["Implementation"]


class Implementation(DefaultImpl):
    """Migrations of the dialect, whose DDL is undone by a rollback as rows are."""

    __dialect__ = "dicomsql"
    transactional_ddl = True

    def compare_server_default(
        self,
        inspector_column: Any,  # noqa: ARG002
        metadata_column: Any,  # noqa: ARG002
        rendered_metadata_default: str | None,
        rendered_inspector_default: str | None,
    ) -> bool:
        """Whether defaults differ; that of a key which counts up by itself is not declared."""
        found, wanted = rendered_inspector_default, rendered_metadata_default
        if wanted is None and str(found).startswith("nextval("):
            return False
        return _value(found) != _value(wanted)


def _value(default: str | None) -> str | None:
    """A default without the quotes that it has in DDL."""
    if default is None or default[:1] != "'" or default[-1:] != "'":
        return default
    return default[1:-1].replace("''", "'")
