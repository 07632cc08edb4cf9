"""EXEC ... @@output plans to the COPY that puts what a method retrieves into a folder."""

from __future__ import annotations

import pytest
from planning_hospital import Hospital

from dicomsql.errors import PlanningError
from dicomsql.planning.plan import CopySettings, Named, RetrievePlan, Returning

PLACE = "@dicomStoresId = 'main'"
STUDY = f"EXEC google.healthcare.studies_study.retrieve_study {PLACE}, @studiesId = '1.2'"
INSTANCE = (
    f"EXEC google.healthcare.instances.retrieve_instance {PLACE}, @studiesId = '1.2', "
    "@seriesId = '1.3', @instancesId = '1.4'"
)


def planned(hospital: Hospital, sql: str) -> RetrievePlan:
    plan = hospital.plan(sql)
    assert isinstance(plan, RetrievePlan)
    return plan


def test_a_study_is_retrieved_into_a_folder(hospital: Hospital) -> None:
    plan = planned(hospital, f"{STUDY} @@output = 'out' RETURNING status, path")
    assert plan.folder == "out"
    assert plan.query.sql == 'SELECT $study AS "StudyInstanceUID"'
    assert plan.query.values == (("study", "1.2"),)
    assert plan.named == Named("StudyInstanceUID")
    assert plan.source.resource == "google.healthcare.instances"
    assert dict(plan.source.values)["dicomStoresId"] == "main"
    assert plan.settings == CopySettings(journal="")
    assert plan.returning == Returning("FROM copied SELECT status, path")


def test_an_instance_is_named_by_all_of_its_uids(hospital: Hospital) -> None:
    plan = planned(hospital, f"{INSTANCE} @@output = 'out'")
    assert plan.named == Named("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    assert dict(plan.query.values) == {"study": "1.2", "series": "1.3", "instance": "1.4"}
    assert plan.returning is None


def test_other_methods_have_no_files(hospital: Hospital) -> None:
    get = f"EXEC google.healthcare.dicom_stores.get {PLACE}"
    with pytest.raises(PlanningError, match="@@output goes with the methods that retrieve"):
        hospital.plan(f"{get} @@output = 'out'")
    with pytest.raises(PlanningError, match="@@output takes a folder's name"):
        hospital.plan(f"{STUDY} @@output = ''")
