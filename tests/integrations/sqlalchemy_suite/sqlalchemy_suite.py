"""The suite that SQLAlchemy has for the dialects of others."""

from __future__ import annotations

from sqlalchemy.testing.suite import *  # noqa: F403
