"""The SQLAlchemy dialect: `create_engine("dicomsql://PROJECT/LOCATION/DATASET/STORE")`."""

from __future__ import annotations

from dicomsql.integrations.sqlalchemy.dialect import Dialect

__all__ = ["Dialect"]
