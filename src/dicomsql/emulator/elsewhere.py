"""Methods of the API that are not about DICOM: which there are, so that they can be told from none.

The tables follow the discovery documents, whose paths stand below a dataset. `{}` is one segment.
"""

from __future__ import annotations

from collections.abc import Iterator

BOTH = """
GET POST              fhirStores
GET PATCH DELETE      fhirStores/{}
GET                   fhirStores/{}:explainDataAccess
GET                   fhirStores/{}:getFHIRStoreMetrics
GET                   fhirStores/{}:getIamPolicy
POST                  fhirStores/{}:applyAdminConsents
POST                  fhirStores/{}:applyConsents
POST                  fhirStores/{}:bulkDelete
POST                  fhirStores/{}:deidentify
POST                  fhirStores/{}:export
POST                  fhirStores/{}:import
POST                  fhirStores/{}:rollback
POST                  fhirStores/{}:setIamPolicy
POST                  fhirStores/{}:testIamPermissions
GET DELETE            fhirStores/{}/operations/{}
POST                  fhirStores/{}/fhir
GET                   fhirStores/{}/fhir/$export
GET                   fhirStores/{}/fhir/metadata
POST                  fhirStores/{}/fhir/_search
POST                  fhirStores/{}/fhir/Binary
GET PUT               fhirStores/{}/fhir/Binary/{}
GET                   fhirStores/{}/fhir/Binary/{}/_history/{}
GET                   fhirStores/{}/fhir/Consent/{}/$consent-enforcement-status
GET                   fhirStores/{}/fhir/Group/{}/$export
GET                   fhirStores/{}/fhir/Patient/{}/$consent-enforcement-status
GET                   fhirStores/{}/fhir/Patient/{}/$everything
POST PUT PATCH DELETE fhirStores/{}/fhir/{}
POST                  fhirStores/{}/fhir/{}/_search
POST                  fhirStores/{}/fhir/{}/$validate
GET PUT PATCH DELETE  fhirStores/{}/fhir/{}/{}
DELETE                fhirStores/{}/fhir/{}/{}/$purge
GET                   fhirStores/{}/fhir/{}/{}/_history
GET                   fhirStores/{}/fhir/{}/{}/_history/{}

GET POST              hl7V2Stores
GET PATCH DELETE      hl7V2Stores/{}
GET                   hl7V2Stores/{}:getHL7v2StoreMetrics
GET                   hl7V2Stores/{}:getIamPolicy
POST                  hl7V2Stores/{}:export
POST                  hl7V2Stores/{}:import
POST                  hl7V2Stores/{}:rollback
POST                  hl7V2Stores/{}:setIamPolicy
POST                  hl7V2Stores/{}:testIamPermissions
GET POST              hl7V2Stores/{}/messages
GET PATCH DELETE      hl7V2Stores/{}/messages/{}
POST                  hl7V2Stores/{}/messages:ingest

GET POST              consentStores
GET PATCH DELETE      consentStores/{}
GET                   consentStores/{}:getIamPolicy
POST                  consentStores/{}:checkDataAccess
POST                  consentStores/{}:evaluateUserConsents
POST                  consentStores/{}:queryAccessibleData
POST                  consentStores/{}:setIamPolicy
POST                  consentStores/{}:testIamPermissions
GET POST              consentStores/{}/attributeDefinitions
GET PATCH DELETE      consentStores/{}/attributeDefinitions/{}
GET POST              consentStores/{}/consentArtifacts
GET DELETE            consentStores/{}/consentArtifacts/{}
GET POST              consentStores/{}/consents
GET PATCH DELETE      consentStores/{}/consents/{}
GET                   consentStores/{}/consents/{}:listRevisions
POST                  consentStores/{}/consents/{}:activate
POST                  consentStores/{}/consents/{}:reject
POST                  consentStores/{}/consents/{}:revoke
DELETE                consentStores/{}/consents/{}:deleteRevision
GET POST              consentStores/{}/userDataMappings
GET PATCH DELETE      consentStores/{}/userDataMappings/{}
POST                  consentStores/{}/userDataMappings/{}:archive

GET                   dataMapperWorkspaces/{}:getIamPolicy
POST                  dataMapperWorkspaces/{}:setIamPolicy
POST                  dataMapperWorkspaces/{}:testIamPermissions
"""
BETA = """
GET                   fhirStores/{}/fhir/$references
GET                   fhirStores/{}/fhir/ConceptMap/$translate
GET                   fhirStores/{}/fhir/ConceptMap/{}/$translate
GET                   fhirStores/{}/fhir/Encounter/{}/$everything
GET                   fhirStores/{}/fhir/Observation/$lastn
POST                  fhirStores/{}/fhir/Group/{}/$export
POST                  fhirStores/{}:configureSearch
POST                  fhirStores/{}:executeCohort
POST                  fhirStores/{}:exportHistory
POST                  fhirStores/{}:importHistory
GET                   hl7V2Stores/{}/messages:batchGet
"""


def methods(table: str) -> Iterator[tuple[str, str]]:
    """Verb and path of each method of a table, the path's segments named `name1`, `name2` ..."""
    for line in table.split("\n"):
        *verbs, path = line.split() or [""]
        first, *rest = path.split("{}")
        named = first + "".join(f"{{name{i}}}{part}" for i, part in enumerate(rest, 1))
        for verb in verbs:
            yield verb, named
