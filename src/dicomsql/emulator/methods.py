"""Every method of the API that the emulator knows: verb, path, parameters, and what answers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from dicomsql.emulator import admin, elsewhere, erase, iam, operations, qido, stow, wado
from dicomsql.emulator.call import Call, dataset_id, store_id
from dicomsql.emulator.deidentify import requests as deidentification
from dicomsql.emulator.status import StatusError
from dicomsql.emulator.work import requests

Handler = Callable[[Call], Response | dict[str, Any]]

VERSIONS = ("v1", "v1beta1")
_BETA = ("v1beta1",)


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the API.

    Attributes:
        path: below the version; `{name}` is one segment, `{name*}` the rest.
        parameters: its query parameters; None where the method takes any, as DICOMweb's do.
        versions: of the API, that have it.
    """

    verb: str
    path: str
    handler: Handler
    parameters: frozenset[str] | None = frozenset()
    versions: tuple[str, ...] = VERSIONS


def unimplemented(call: Call) -> dict[str, Any]:
    """A method of the API that the emulator does not do; what it is about has to exist.

    Raises:
        StatusError: always.
    """
    with call.folder.read() as db:
        if "store" in call.names:
            store_id(db, call)
        elif "dataset" in call.names:
            dataset_id(db, call)
    raise StatusError("UNIMPLEMENTED", f"The emulator does not implement {call.path} yet.")


_PAGE = frozenset({"pageSize", "pageToken"})
_MASK = frozenset({"updateMask"})
_POLICY = frozenset({"options.requestedPolicyVersion"})

_P = "projects/{project}"
_L = _P + "/locations/{location}"
_DS = _L + "/datasets/{dataset}"
_ST = _DS + "/dicomStores/{store}"
_WEB = _ST + "/dicomWeb"
_STUDY = _WEB + "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"

_ADMIN = (
    Method(
        "GET", _P + "/locations", admin.list_locations, _PAGE | {"filter", "extraLocationTypes"}
    ),
    Method("GET", _L, admin.get_location),
    Method("POST", _L + "/datasets", admin.create_dataset, frozenset({"datasetId"})),
    Method("GET", _L + "/datasets", admin.list_datasets, _PAGE),
    Method("GET", _DS, admin.get_dataset),
    Method("PATCH", _DS, admin.patch_dataset, _MASK),
    Method("DELETE", _DS, admin.delete_dataset),
    Method("GET", _DS + ":getIamPolicy", iam.get_policy, _POLICY),
    Method("POST", _DS + ":setIamPolicy", iam.set_policy),
    Method("POST", _DS + ":testIamPermissions", iam.test_permissions),
    Method(
        "GET",
        _DS + "/operations",
        operations.list_operations,
        _PAGE | {"filter", "returnPartialSuccess"},
    ),
    Method("GET", _DS + "/operations/{operation}", operations.get),
    Method("POST", _DS + "/operations/{operation}:cancel", operations.cancel),
    Method("POST", _DS + "/dicomStores", admin.create_store, frozenset({"dicomStoreId"})),
    Method("GET", _DS + "/dicomStores", admin.list_stores, _PAGE | {"filter"}),
    Method("GET", _ST, admin.get_store),
    Method("PATCH", _ST, admin.patch_store, _MASK),
    Method("DELETE", _ST, admin.delete_store),
    Method("GET", _ST + ":getIamPolicy", iam.get_policy, _POLICY),
    Method("POST", _ST + ":setIamPolicy", iam.set_policy),
    Method("POST", _ST + ":testIamPermissions", iam.test_permissions),
    Method("GET", _ST + ":getDICOMStoreMetrics", admin.store_metrics),
    Method("POST", _DS + ":deidentify", deidentification.deidentify_dataset),
    Method("POST", _ST + ":deidentify", deidentification.deidentify_store),
    Method("GET", _STUDY + ":getStudyMetrics", admin.study_metrics),
    Method("GET", _SERIES + ":getSeriesMetrics", admin.series_metrics),
    Method("GET", _INSTANCE + ":getStorageInfo", admin.storage_info),
)
_DICOMWEB = (
    Method("POST", _WEB + "/studies", stow.store, None),
    Method("POST", _STUDY, stow.store, None),
    Method("PUT", _WEB + "/studies", stow.update, None, _BETA),
    Method("PUT", _STUDY, stow.update, None, _BETA),
    Method("GET", _WEB + "/studies", qido.search_studies, None),
    Method("GET", _WEB + "/series", qido.search_series, None),
    Method("GET", _WEB + "/instances", qido.search_instances, None),
    Method("GET", _STUDY + "/series", qido.search_series, None),
    Method("GET", _STUDY + "/instances", qido.search_instances, None),
    Method("GET", _SERIES + "/instances", qido.search_instances, None),
    Method("GET", _STUDY, wado.retrieve),
    Method("GET", _SERIES, wado.retrieve),
    Method("GET", _INSTANCE, wado.retrieve),
    Method("GET", _STUDY + "/metadata", wado.retrieve_metadata),
    Method("GET", _SERIES + "/metadata", wado.retrieve_metadata),
    Method("GET", _INSTANCE + "/metadata", wado.retrieve_metadata),
    Method("GET", _INSTANCE + "/rendered", wado.retrieve_rendered, None),
    Method("GET", _INSTANCE + "/frames/{frames}", wado.retrieve_frames),
    Method("GET", _INSTANCE + "/frames/{frames}/rendered", wado.retrieve_rendered, None),
    Method("GET", _INSTANCE + "/bulkdata/{bulkdata*}", wado.retrieve_bulkdata),
    Method("DELETE", _STUDY, erase.delete_study),
    Method("DELETE", _SERIES, erase.delete_series),
    Method("DELETE", _INSTANCE, erase.delete_instance),
)
_JOBS = (
    Method("POST", _ST + ":import", requests.import_),
    Method("POST", _ST + ":export", requests.export),
    Method("POST", _ST + ":setBlobStorageSettings", requests.set_blob_storage),
    Method("POST", _STUDY + ":setBlobStorageSettings", requests.set_blob_storage),
    Method("PATCH", _STUDY + "/metadata", requests.update_study_metadata, None, _BETA),
    Method("PATCH", _SERIES + "/metadata", requests.update_series_metadata, None, _BETA),
    Method("PATCH", _INSTANCE + "/metadata", requests.update_instance_metadata, None, _BETA),
)
_ELSEWHERE = (
    Method("POST", _L + "/services/nlp:analyzeEntities", unimplemented, None),
    *(
        Method(verb, f"{_DS}/{path}", unimplemented, None, versions)
        for table, versions in ((elsewhere.BOTH, VERSIONS), (elsewhere.BETA, _BETA))
        for verb, path in elsewhere.methods(table)
    ),
)

# The fields of all answers: those of the messages that the discovery documents name as responses.
_FIELDS = """
auditConfigs auditLogConfigs bigqueryDestination bindings blobStorageInfo blobStorageSizeBytes
changeDataCaptureConfig code condition datasets description details dicomStores displayName done
encryptionSpec error etag exemptedMembers expression force includeSourceStore instanceCount
kmsKeyName labels location locationId locations logType members message metadata name
nextPageToken notificationConfig notificationConfigs operations permissions pubsubTopic
referencedResource response role satisfiesPzi satisfiesPzs schemaFlattened schemaJson
sendForBulkImport series seriesCount service sizeBytes storageClass storageClassUpdateTime
streamConfigs structuredStorageInfo structuredStorageSizeBytes study studyCount tableUri
timeZone title unreachable version writeDisposition
"""
FIELDS = frozenset(_FIELDS.split())

METHODS = _ADMIN + _DICOMWEB + _JOBS + _ELSEWHERE
