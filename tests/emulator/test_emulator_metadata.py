"""updateMetadata of v1beta1: the attributes of stored instances changed by a JSON Patch."""

from __future__ import annotations

import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pydicom
import pytest

BETA = "/v1beta1/projects/p/locations/us-central1/datasets/d/dicomStores/s/dicomWeb"
WEB = BETA.replace("v1beta1", "v1")


def patch(path: str, value: Any, op: str = "add") -> dict[str, Any]:
    return {"op": op, "path": path, "value": value}


def change(emulator: Any, path: str, *operations: dict[str, Any]) -> Any:
    return emulator.patch(
        BETA + path,
        content=json.dumps(operations),
        headers={"content-type": "application/json-patch+json"},
    )


def stored(emulator: Any, path: str) -> pydicom.FileDataset:
    accept = {"accept": "application/dicom; transfer-syntax=*"}
    return pydicom.dcmread(io.BytesIO(emulator.get(WEB + path, headers=accept).content))


ONE = "/studies/1/series/1.1/instances/1.1.1"


class TestOneInstance:
    @pytest.mark.parametrize(
        ("tag", "element"),
        [
            ("00100020", {"vr": "LO", "Value": ["NEW"]}),
            (
                "00100010",
                {"vr": "PN", "Value": [{"Alphabetic": "Ärger^Änne", "Ideographic": "山"}]},
            ),
            ("00101030", {"vr": "DS", "Value": [70.5]}),
            ("00280010", {"vr": "US", "Value": [512]}),
            ("00080061", {"vr": "CS", "Value": ["CT", "MR"]}),
            ("00104000", {"vr": "LT"}),
            ("00081110", {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]}),
            ("00090010", {"vr": "LO", "Value": ["CREATOR"]}),
            ("00420011", {"vr": "OB", "InlineBinary": "AAEC/w=="}),
        ],
    )
    def test_an_element_is_added_or_replaced(
        self, emulator: Any, make_dicom: Any, tag: str, element: dict[str, Any]
    ) -> None:
        emulator.stow([make_dicom("1", "1.1", "1.1.1", PatientID="OLD", PatientName="Doe^Jane")])
        (before,) = emulator.get(WEB + ONE + "/metadata").json()
        answer = change(emulator, ONE + "/metadata", patch(f"/{tag}", element))
        assert answer.status_code == 200, answer.text
        (after,) = answer.json()
        assert after == emulator.get(WEB + ONE + "/metadata").json()[0]
        found = after.pop(tag)
        if "InlineBinary" not in element:
            assert found == element
        before.pop(tag, None)
        charset = after.pop("00080005", None)
        assert (charset is not None) == ("Ä" in str(element))
        assert after == before
        dataset = stored(emulator, ONE)
        assert int(tag, 16) in dataset
        assert dataset.file_meta.MediaStorageSOPInstanceUID == "1.1.1"

    def test_searches_find_what_it_is_now(self, emulator: Any, make_dicom: Any) -> None:
        emulator.stow([make_dicom("1", "1.1", "1.1.1", PatientID="OLD", Modality="CT")])
        change(
            emulator,
            ONE + "/metadata",
            patch("/00100020/Value/0", "NEW", "replace"),
            patch("/00080060/Value/0", "MR", "replace"),
        )
        assert emulator.get(WEB + "/studies?PatientID=OLD").status_code == 204
        assert len(emulator.get(WEB + "/studies?PatientID=NEW").json()) == 1
        assert len(emulator.get(WEB + "/series?Modality=MR").json()) == 1
        # and other bytes under the same UIDs are a conflict still
        again = emulator.stow([make_dicom("1", "1.1", "1.1.1", PatientID="OLD", Modality="CT")])
        assert again.status_code == 409

    def test_elements_are_removed(self, emulator: Any, make_dicom: Any, tmp_path: Path) -> None:
        emulator.stow([make_dicom("1", "1.1", "1.1.1", PatientID="OLD")])
        answer = change(emulator, ONE + "/metadata", {"op": "remove", "path": "/00100020"})
        assert "00100020" not in answer.json()[0]
        assert "PatientID" not in stored(emulator, ONE)
        assert len(list((tmp_path / "root").rglob("*.dcm"))) == 1

    @pytest.mark.parametrize(
        ("operation", "said"),
        [
            (patch("/0020000D", {"vr": "UI", "Value": ["2"]}), "0020000D"),
            (patch("/00080018/Value/0", "2", "replace"), "00080018"),
            (patch("/00080005", {"vr": "CS", "Value": ["ISO_IR 192"]}), "00080005"),
            (patch("/00020010", {"vr": "UI", "Value": ["1.2.840.10008.1.2"]}), "00020010"),
            (patch("/7FE00010", {"vr": "OW", "InlineBinary": "AAAA"}), "7FE00010"),
            (patch("/PatientID", {"vr": "LO", "Value": ["x"]}), "no tag"),
            (patch("/00100020", {"Value": ["x"]}), "without a vr"),
            (patch("/00100020", "x"), "without a vr"),
            (patch("/00280010", {"vr": "US", "Value": ["many"]}), ""),
            (patch("/00280010", {"vr": "US", "Value": [70_000]}), ""),
            (patch("/00100020", {"vr": "XX", "Value": ["x"]}), ""),
            (patch("/00100020", {"vr": "LO", "Value": ["x "]}), "00100020 would not be stored"),
            (patch("/00100020", {"vr": "LO", "BulkDataURI": "file:///x"}), "bulk data"),
            (patch("/00100020", {"vr": "LO", "Value": ["y"]}, "test"), "operation 1 (test)"),
            (patch("", [1], "replace"), "no data set"),
        ],
    )
    def test_what_cannot_be_changed(
        self, emulator: Any, make_dicom: Any, tmp_path: Path, operation: Any, said: str
    ) -> None:
        content = make_dicom("1", "1.1", "1.1.1", PatientID="OLD")
        emulator.stow([content])
        answer = change(emulator, ONE + "/metadata", operation)
        assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
        assert said in answer.json()["error"]["message"]
        (file,) = (tmp_path / "root").rglob("*.dcm")
        assert file.read_bytes() == content
        assert not list((tmp_path / "root" / "incoming").iterdir())

    @pytest.mark.parametrize("name", ["CT_small.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm"])
    def test_real_files_keep_everything_else(
        self, emulator: Any, dicom_files: Path, name: str
    ) -> None:
        original = pydicom.dcmread(dicom_files / name)
        emulator.stow([(dicom_files / name).read_bytes()])
        path = (
            f"/studies/{original.StudyInstanceUID}/series/{original.SeriesInstanceUID}"
            f"/instances/{original.SOPInstanceUID}"
        )
        answer = change(
            emulator, path + "/metadata", patch("/00100020", {"vr": "LO", "Value": ["NEW"]})
        )
        assert answer.status_code == 200, answer.text
        changed = stored(emulator, path)
        assert changed.PatientID == "NEW"
        changed.PatientID = original.PatientID = ""
        assert changed.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
        assert changed.PixelData == original.PixelData
        assert changed == original

    def test_only_in_v1beta1(self, emulator: Any, make_dicom: Any) -> None:
        emulator.stow([make_dicom("1", "1.1", "1.1.1")])
        assert emulator.patch(WEB + ONE + "/metadata", json=[]).status_code == 404
        assert emulator.patch(BETA + "/studies/9/metadata", json=[]).status_code == 404
        assert emulator.patch(BETA + "/studies/1/metadata", json={}).status_code == 400
        assert emulator.patch(BETA + ONE + "/metadata", json={}).status_code == 400


class TestManyInstances:
    def fill(self, emulator: Any, make_dicom: Any) -> None:
        emulator.stow(
            [
                make_dicom("1", f"1.{s}", f"1.{s}.{n}", PatientID="OLD", StudyID=str(n))
                for s in (1, 2)
                for n in (1, 2)
            ]
        )

    def ids(self, emulator: Any) -> list[str]:
        rows = emulator.get(WEB + "/studies/1/metadata").json()
        return [row["00100020"]["Value"][0] for row in rows]

    def test_a_study_and_a_series(self, emulator: Any, make_dicom: Any) -> None:
        self.fill(emulator, make_dicom)
        replaced = patch("/00100020/Value/0", "NEW", "replace")
        operation = emulator.ended(
            change(emulator, "/studies/1/series/1.1/metadata", replaced).json()
        )
        assert operation["metadata"]["apiMethodName"].endswith(
            "v1beta1.dicom.DicomService.UpdateSeriesMetadata"
        )
        assert operation["metadata"]["counter"] == {"success": "2"}
        assert "response" in operation
        assert self.ids(emulator) == ["NEW", "NEW", "OLD", "OLD"]
        emulator.ended(change(emulator, "/studies/1/metadata", replaced).json())
        assert self.ids(emulator) == ["NEW"] * 4

    def test_those_that_it_does_not_fit_stay(self, emulator: Any, make_dicom: Any) -> None:
        self.fill(emulator, make_dicom)
        operations = [
            patch("/00200010/Value/0", "2", "test"),
            patch("/00100020/Value/0", "NEW", "replace"),
        ]
        operation = emulator.ended(change(emulator, "/studies/1/metadata", *operations).json())
        assert operation["metadata"]["counter"] == {"success": "2", "failure": "2"}
        assert operation["error"]["message"] == (
            "2 of 4 instances could not be changed; the last of them: operation 1 (test) does not"
            " fit."
        )
        assert sorted(self.ids(emulator)) == ["NEW", "NEW", "OLD", "OLD"]

    def test_what_is_done_again_after_a_kill_changes_nothing_twice(
        self, emulator: Any, make_dicom: Any, tmp_path: Path
    ) -> None:
        emulator.stow([make_dicom("1", "1.1", "1.1.1", OtherPatientIDs=["A"])])
        more = patch("/00101000/Value/-", "B")
        operation = change(emulator, "/studies/1/metadata", more).json()
        emulator.ended(operation)
        db = sqlite3.connect(tmp_path / "root" / "index.sqlite")
        db.execute("UPDATE operations SET ended = NULL, success = 0, units = NULL WHERE kind <> ''")
        db.commit()
        db.close()
        emulator.ended(operation)
        (metadata,) = emulator.get(WEB + ONE + "/metadata").json()
        assert metadata["00101000"]["Value"] == ["A", "B"]
        emulator.ended(change(emulator, "/studies/1/metadata", more).json())
        (metadata,) = emulator.get(WEB + ONE + "/metadata").json()
        assert metadata["00101000"]["Value"] == ["A", "B", "B"]
