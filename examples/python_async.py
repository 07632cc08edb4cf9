"""asyncio: statements side by side on one connection, rows as they come, a time limit.

python examples/python_async.py
"""

from __future__ import annotations

import asyncio
from typing import Any

from python_store import store

import dicomsql.aio

STUDIES = "SELECT PatientID, StudyDate FROM google.healthcare.studies ORDER BY PatientID"
MODALITIES = "SELECT DISTINCT Modality FROM google.healthcare.series ORDER BY ALL"


async def main(place: dict[str, Any]) -> None:
    async with dicomsql.aio.connect(**place) as connection:

        async def modalities() -> str:
            async with connection.execute(MODALITIES) as cursor:
                return ", ".join([row[0] async for row in cursor])

        beside = asyncio.create_task(modalities())
        # A task that runs out of time stops its statement, and the connection goes on.
        async with asyncio.timeout(60), connection.execute(STUDIES) as cursor:
            async for patient, date in cursor:
                print(patient, date)
        print("modalities:", await beside)


if __name__ == "__main__":
    with store() as arguments:
        asyncio.run(main(arguments))
