"""A session: what every face talks to. Text in, results out; settings and state in between.

with Session(settings) as session:
    for statement in session.parse("SELECT ..."):
        result = session.execute(statement)
"""

from __future__ import annotations

from dicomsql.session.session import Session
from dicomsql.session.stopping import Stop

__all__ = ["Session", "Stop"]
