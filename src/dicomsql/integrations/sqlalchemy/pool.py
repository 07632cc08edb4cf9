"""The pool for tables in memory: each thread has one connection, as long as it lives."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from sqlalchemy import pool

__all__ = ["ThreadPool"]


class ThreadPool(pool.SingletonThreadPool):
    """Closes the connections of threads that have ended, and those of no others.

    SQLAlchemy's own pool closes any of them where there are more threads than `pool_size`, with
    what they are doing.
    """

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self._threads: weakref.WeakKeyDictionary[Any, threading.Thread] = (
            weakref.WeakKeyDictionary()
        )
        self._changing = threading.Lock()

    def _do_get(self) -> Any:
        with self._changing:
            held = getattr(self._conn, "current", None)
            entry = held() if held is not None else None
            if entry is not None:
                return entry
        entry = self._create_connection()
        with self._changing:
            self._conn.current = weakref.ref(entry)
            self._threads[entry] = threading.current_thread()
            over = [e for e in self._all_conns if not self._is_alive(e)]
            self._all_conns.difference_update(over)
            self._all_conns.add(entry)
        for one in over:
            one.close()
        return entry

    def _is_alive(self, entry: Any) -> bool:
        thread = self._threads.get(entry)
        return thread is None or thread.is_alive()
