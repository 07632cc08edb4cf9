"""The kinds of work behind operations, by the names under which operations have them."""

from __future__ import annotations

from collections.abc import Mapping

from dicomsql.emulator.jobs import Work
from dicomsql.emulator.work.blobs import SetBlobStorage
from dicomsql.emulator.work.deidentify import DeidentifyDataset, DeidentifyStore
from dicomsql.emulator.work.delete import Delete
from dicomsql.emulator.work.importing import Import
from dicomsql.emulator.work.metadata import UpdateMetadata
from dicomsql.emulator.work.objects import ExportObjects
from dicomsql.emulator.work.tables import ExportTable

__all__ = ["KINDS"]

KINDS: Mapping[str, Work] = {
    "blobs": SetBlobStorage(),
    "deidentify dataset": DeidentifyDataset(),
    "deidentify store": DeidentifyStore(),
    "delete": Delete(),
    "export to objects": ExportObjects(),
    "export to a table": ExportTable(),
    "import": Import(),
    "metadata": UpdateMetadata(),
}
