"""What a plan may reach where local files are switched off: providers, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomsql.errors import NotSupportedError
from dicomsql.planning.plan import (
    ExplainPlan,
    ExportPlan,
    RetrievePlan,
    StorePlan,
    TransferPlan,
    WritePlan,
)
from dicomsql.planning.read_plan import ReadPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomsql.planning.plan import Plan

NO_FILES = (
    "Local files are switched off here (files = 'off', --no-files), so that no statement reads or "
    "writes any. Rows can go into local tables (CREATE TABLE ... AS), and instances from one "
    "server to another (COPY ... FROM (SELECT ...))."
)


def check_no_files(plan: Plan) -> None:
    """Refuse a plan that reads or writes local files.

    What only the engine would read, it refuses itself.

    Raises:
        NotSupportedError: it does.
    """
    if any(_touches(plan)):
        raise NotSupportedError(NO_FILES)


def _touches(plan: Plan) -> Iterator[bool]:
    if isinstance(plan, ExplainPlan):
        yield from _touches(plan.plan)
    elif isinstance(plan, StorePlan | RetrievePlan | ExportPlan):
        yield True
    elif isinstance(plan, TransferPlan):
        yield bool(plan.settings.journal) or bool(plan.query.files)
    elif isinstance(plan, WritePlan):
        yield bool(plan.file or plan.output)
        yield plan.source is not None and bool(plan.source.files)
    elif isinstance(plan, ReadPlan):
        yield bool(plan.files)
