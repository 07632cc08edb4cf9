"""Completion: what may stand at the cursor, from documents, the query itself and the servers."""

from __future__ import annotations

from dicomsql.shell.completion.completer import Completion

__all__ = ["Completion"]
