"""The DB-API awaited: `dicomsql.aio.connect`, for programs on asyncio's event loop.

    import dicomsql.aio

    async with dicomsql.aio.connect(project="p", location="us-central1") as connection:
        async with connection.execute("SELECT name FROM google.healthcare.datasets") as cursor:
            async for (name,) in cursor:
                print(name)

What blocks runs in threads of the connection's own, so that the loop never does. A task that is
cancelled stops its statement and ends once that has stopped.
"""

from __future__ import annotations

from dicomsql.aio.batches import AsyncBatches
from dicomsql.aio.connection import AsyncConnection, connect
from dicomsql.aio.cursor import AsyncCursor

__all__ = ["AsyncBatches", "AsyncConnection", "AsyncCursor", "connect"]
