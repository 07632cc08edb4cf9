"""STOW, QIDO, deletes: what goes in comes out, in Google's manner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

WEB = "/v1/projects/p/locations/us-central1/datasets/d/dicomStores/s/dicomWeb"
STUDY_DEFAULTS = (
    "00080020 00080030 00080050 00080090 00100010 00100020 00100030 00100040 0020000D 00200010"
)


def uids(response: Any, tag: str) -> list[str]:
    assert response.status_code in {200, 204}, response.text
    return [row[tag]["Value"][0] for row in response.json()] if response.content else []


@pytest.fixture
def filled(emulator: Any, make_dicom: Any) -> Any:
    """Two studies: 1 with a CT (two instances) and an MR series, 2 with one CT series."""
    john = {"PatientName": "Doe^John", "PatientID": "P1", "StudyDate": "20260105"}
    jane = {"PatientName": "Müller^Jané", "PatientID": "P2", "StudyDate": "20260210"}
    files = [
        make_dicom("1", "1.1", "1.1.1", Modality="CT", Rows=4, **john),
        make_dicom("1", "1.1", "1.1.2", Modality="CT", **john),
        make_dicom("1", "1.2", "1.2.1", Modality="MR", **john),
        make_dicom("2", "2.1", "2.1.1", Modality="CT", SpecificCharacterSet="ISO_IR 192", **jane),
        make_dicom("3", "3.1", "3.1.1", AccessionNumber="A3", ReferringPhysicianName="Ref^R"),
    ]
    answer = emulator.stow(files)
    assert answer.status_code == 200
    assert len(answer.json()["00081199"]["Value"]) == 5
    return emulator


class TestStore:
    def test_the_answer_is_xml_unless_json_is_asked_for(
        self, emulator: Any, make_dicom: Any
    ) -> None:
        answer = emulator.stow([make_dicom()], accept="*/*")
        assert answer.headers["content-type"] == "application/dicom+xml"
        assert answer.text.startswith('<?xml version="1.0"')
        assert 'keyword="ReferencedSOPSequence"' in answer.text
        assert f"http://emulator{WEB}/studies/1.1/series/1.1.1/instances/1.1.1.1" in answer.text

    def test_the_same_bytes_again_are_a_success_and_other_bytes_a_conflict(
        self, emulator: Any, make_dicom: Any
    ) -> None:
        first, second = make_dicom(PatientID="a"), make_dicom(PatientID="b")
        assert emulator.stow([first, first]).status_code == 200
        assert emulator.stow([first]).status_code == 200
        answer = emulator.stow([second])
        assert answer.status_code == 409
        failed = answer.json()["00081198"]["Value"][0]
        assert failed["00081197"]["Value"] == [272]
        assert failed["00081155"]["Value"] == ["1.1.1.1"]
        assert "bytes" in failed["00090097"]["Value"][0]
        assert emulator.stow([second], accept="").text.count('privateCreator="GOOGLE"') == 1
        metrics = emulator.get(WEB.removesuffix("/dicomWeb") + ":getDICOMStoreMetrics").json()
        assert metrics["instanceCount"] == "1"

    def test_an_update_overwrites_what_is_there_and_adds_what_is_not(
        self, emulator: Any, make_dicom: Any
    ) -> None:
        first, second = make_dicom(PatientID="a"), make_dicom(PatientID="b")
        other = make_dicom(instance="1.1.1.2")
        assert emulator.stow([first]).status_code == 200
        web = WEB.replace("/v1/", "/v1beta1/")
        for content in (second, other, second):
            headers = {"content-type": "application/dicom", "accept": "application/dicom+json"}
            answer = emulator.request("PUT", web + "/studies", content=content, headers=headers)
            assert answer.status_code == 200
            assert len(answer.json()["00081199"]["Value"]) == 1
        path = WEB + "/studies/1.1/series/1.1.1/instances/1.1.1.1"
        as_stored = {"accept": "application/dicom; transfer-syntax=*"}
        assert emulator.get(path, headers=as_stored).content == second
        assert sorted(uids(emulator.get(WEB + "/instances"), "00080018")) == ["1.1.1.1", "1.1.1.2"]

    def test_some_stored_and_some_not_is_202(self, emulator: Any, make_dicom: Any) -> None:
        bad = [b"no dicom", b"", make_dicom(instance="1.9")[:-5], make_dicom(series=None)]
        answer = emulator.stow([*bad, make_dicom()])
        assert answer.status_code == 202
        assert len(answer.json()["00081198"]["Value"]) == 4
        assert len(answer.json()["00081199"]["Value"]) == 1

    def test_uids_have_to_be_there_and_right(self, emulator: Any, make_dicom: Any) -> None:
        for raw in (make_dicom(study=None), make_dicom(study="777").replace(b"777\0", b"7_7\0")):
            answer = emulator.stow([raw])
            assert answer.status_code == 409
            detail = answer.json()["00081198"]["Value"][0]["00090097"]["Value"][0]
            assert "StudyInstanceUID" in detail

    def test_a_study_in_the_path_takes_only_its_own(self, emulator: Any, make_dicom: Any) -> None:
        assert emulator.stow([make_dicom("1.1")], "/1.1").status_code == 200
        assert emulator.stow([make_dicom("1.2")], "/1.1").status_code == 409
        assert emulator.stow([make_dicom("1.2")], "/x").status_code == 400

    def test_a_bare_instance(self, emulator: Any, make_dicom: Any) -> None:
        headers = {"content-type": "application/dicom"}
        answer = emulator.post(WEB + "/studies", content=make_dicom("111"), headers=headers)
        assert answer.status_code == 200
        assert uids(emulator.get(WEB + "/studies?StudyInstanceUID=111"), "0020000D") == ["111"]

    @pytest.mark.parametrize(
        ("kind", "body", "status"),
        [
            ("text/plain", b"x", 415),
            ("multipart/related; type=text/plain; boundary=b", b"--b--", 415),
            ("multipart/related; type=application/dicom", b"--b--", 400),
            ("multipart/related; type=application/dicom; boundary=b", b"--b--", 400),
            ("multipart/related; type=application/dicom; boundary=b", b"--b\r\n\r\nxx", 400),
            ("multipart/related; type=application/dicom; boundary=b", b"--b" + b"x" * 20_000, 400),
        ],
    )
    def test_bodies_that_are_refused(
        self, emulator: Any, kind: str, body: bytes, status: int
    ) -> None:
        answer = emulator.post(WEB + "/studies", content=body, headers={"content-type": kind})
        assert answer.status_code == status
        assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
        root = WEB.removesuffix("/dicomWeb")
        assert emulator.get(root + ":getDICOMStoreMetrics").json()["instanceCount"] == "0"

    def test_no_file_is_left_of_what_was_refused(
        self, emulator: Any, make_dicom: Any, tmp_path: Path
    ) -> None:
        emulator.stow([b"x", make_dicom(PatientID="a")])
        emulator.stow([make_dicom(PatientID="b")])
        files = [p for p in (tmp_path / "root").rglob("*") if p.is_file()]
        assert sum(p.suffix == ".dcm" for p in files) == 1
        assert not list((tmp_path / "root" / "incoming").iterdir())
        assert all(p.stat().st_mode & 0o077 == 0 for p in (tmp_path / "root").rglob("*"))

    def test_every_real_file_comes_back_byte_for_byte(
        self, emulator: Any, dicom_files: Path
    ) -> None:
        stored = 0
        for path in sorted(dicom_files.rglob("*")):
            if not path.is_file() or "TINY_ALPHA" in path.parts:
                continue
            content = path.read_bytes()
            answer = emulator.stow([content])
            assert answer.status_code in {200, 409}, path
            if answer.status_code == 200:
                url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
                accept = {"accept": "application/dicom; transfer-syntax=*"}
                assert emulator.get(url, headers=accept).content == content
                assert emulator.get(url + "/metadata").json()[0]["0020000D"]["vr"] == "UI"
                stored += 1
        assert stored > 60


class TestSearch:
    def test_a_study_has_exactly_the_ten_attributes(self, filled: Any) -> None:
        answer = filled.get(WEB + "/studies")
        assert answer.headers["content-type"] == "application/dicom+json; charset=utf-8"
        assert [list(row) for row in answer.json()] == [STUDY_DEFAULTS.split()] * 3
        assert answer.json()[2]["00100010"] == {"vr": "PN"}

    def test_the_defaults_of_series_and_instances(self, filled: Any) -> None:
        (series, *_) = filled.get(WEB + "/series").json()
        assert list(series) == [
            "00080060",
            "0008103E",
            "0020000E",
            "00200011",
            "00400244",
            "00400245",
        ]
        (instance, *_) = filled.get(WEB + "/instances").json()
        assert " ".join(instance) == (
            "00080016 00080018 00200013 00280008 00280010 00280011 00280100"
        )

    @pytest.mark.parametrize(
        ("path", "found"),
        [
            ("/studies?PatientID=P1", ["1"]),
            ("/studies?00100020=P2", ["2"]),
            ("/studies?PatientID=", ["1", "2", "3"]),
            ("/studies?PatientID=P*", []),
            ("/studies?PatientID=P1,P2", []),
            ("/studies?PatientName=Doe^John", ["1"]),
            ("/studies?PatientName=doe^john", []),
            ("/studies?PatientName=jo&fuzzymatching=true", ["1"]),
            ("/studies?PatientName=John Do&fuzzymatching=true", ["1"]),
            ("/studies?PatientName=mull&fuzzymatching=true", ["2"]),
            ("/studies?PatientName=ohn&fuzzymatching=true", []),
            ("/studies?PatientName=^&fuzzymatching=true", []),
            ("/studies?AccessionNumber=A3&ReferringPhysicianName=Ref^R", ["3"]),
            ("/studies?StudyDate=20260105", ["1"]),
            ("/studies?StudyDate=20260105-20260131", ["1"]),
            ("/studies?StudyDate=20260106-", ["2"]),
            ("/studies?StudyDate=-20260209", ["1"]),
            ("/studies?StudyInstanceUID=9", []),
            ("/studies?limit=2", ["1", "2"]),
            ("/studies?limit=2&offset=2", ["3"]),
            ("/studies?offset=1000000", []),
        ],
    )
    def test_studies(self, filled: Any, path: str, found: list[str]) -> None:
        answer = filled.get(WEB + path)
        assert uids(answer, "0020000D") == found
        assert answer.status_code == (200 if found else 204)

    @pytest.mark.parametrize(
        ("path", "tag", "found"),
        [
            ("/series", "0020000E", ["1.1", "1.2", "2.1", "3.1"]),
            ("/series?Modality=CT", "0020000E", ["1.1", "2.1"]),
            ("/series?Modality=CT&PatientID=P2", "0020000E", ["2.1"]),
            ("/studies/1/series", "0020000E", ["1.1", "1.2"]),
            ("/studies/1/series?Modality=MR", "0020000E", ["1.2"]),
            ("/studies/9/series", "0020000E", []),
            ("/instances?SOPInstanceUID=1.1.2", "00080018", ["1.1.2"]),
            ("/instances?SeriesInstanceUID=1.1", "00080018", ["1.1.1", "1.1.2"]),
            ("/instances?limit=1&offset=3", "00080018", ["2.1.1"]),
            ("/studies/1/instances?Modality=CT", "00080018", ["1.1.1", "1.1.2"]),
            ("/studies/1/series/1.1/instances", "00080018", ["1.1.1", "1.1.2"]),
            ("/studies/1/series/2.1/instances", "00080018", []),
        ],
    )
    def test_series_and_instances(self, filled: Any, path: str, tag: str, found: list[str]) -> None:
        assert uids(filled.get(WEB + path), tag) == found

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            (
                "/studies?SeriesInstanceUID=1",
                "unknown/unsupported QIDO attribute: SeriesInstanceUID",
            ),
            ("/studies?ModalitiesInStudy=CT", "unsupported QIDO attribute: ModalitiesInStudy"),
            ("/studies?Nonsense=1", "unsupported QIDO attribute: Nonsense"),
            ("/studies?Doe%5EJohn=1", "unsupported QIDO attribute: ?"),
            ("/series?SOPInstanceUID=1", "unsupported QIDO attribute: SOPInstanceUID"),
            ("/instances?SOPClassUID=1", "unsupported QIDO attribute: SOPClassUID"),
            ("/studies?includefield=Nonsense", "unsupported QIDO attribute: Nonsense"),
            ("/studies?includefield=00200001", "unsupported QIDO attribute: 00200001"),
            ("/studies?includefield=PixelData", "unsupported QIDO attribute: PixelData"),
            ("/studies?PatientID=1&00100020=2", "twice"),
            ("/studies?PatientID=1&PatientID=1", "twice"),
            ("/studies?limit=5001", "limit must be from 1 to 5000"),
            ("/instances?limit=50001", "limit must be from 1 to 50000"),
            ("/studies?limit=0", "limit"),
            ("/studies?limit=x", "limit"),
            ("/studies?limit=1&limit=2", "2 times"),
            ("/studies?offset=1000001", "offset must be from 0 to 1000000"),
            ("/studies?StudyDate=2026", "StudyDate takes"),
            ("/studies?StudyDate=-", "StudyDate takes"),
            ("/studies?StudyDate=2026010120260102", "StudyDate takes"),
            ("/studies?fuzzymatching=1", "fuzzymatching takes"),
        ],
    )
    def test_what_is_refused(self, filled: Any, path: str, message: str) -> None:
        answer = filled.get(WEB + path)
        assert answer.status_code == 400
        assert message in answer.json()["error"]["message"]

    def test_common_parameters_are_no_attributes(self, filled: Any) -> None:
        assert len(filled.get(WEB + "/studies?alt=json&prettyPrint=false&$.xgafv=2").json()) == 3

    def test_default_limits(self, emulator: Any, make_dicom: Any) -> None:
        emulator.stow([make_dicom(f"1.{n}", f"2.{n}", f"3.{n}") for n in range(101)])
        assert len(emulator.get(WEB + "/studies").json()) == 100
        assert len(emulator.get(WEB + "/studies?limit=5000").json()) == 101
        assert len(emulator.get(WEB + "/series").json()) == 101

    def test_includefield(self, filled: Any) -> None:
        (row, *_) = filled.get(
            WEB + "/instances?includefield=0020000D,SeriesInstanceUID&includefield=PatientName"
        ).json()
        assert row["0020000D"]["Value"] == ["1"]
        assert row["0020000E"]["Value"] == ["1.1"]
        assert row["00100010"]["Value"] == [{"Alphabetic": "Doe^John"}]
        assert list(row) == sorted(row)
        (study, *_) = filled.get(WEB + "/studies?includefield=Rows&includefield=Columns").json()
        assert study["00280010"]["Value"] == [4]
        assert "00280011" not in study

    def test_counts_are_computed(self, filled: Any) -> None:
        names = "ModalitiesInStudy,NumberOfStudyRelatedSeries,NumberOfStudyRelatedInstances"
        rows = filled.get(WEB + f"/studies?includefield={names}").json()
        assert rows[0]["00080061"]["Value"] == ["CT", "MR"]
        assert rows[0]["00201206"]["Value"] == [2]
        assert rows[0]["00201208"]["Value"] == [3]
        assert rows[2]["00080061"] == {"vr": "CS"}
        names = "NumberOfSeriesRelatedInstances,NumberOfStudyRelatedInstances"
        (row, *_) = filled.get(WEB + f"/series?includefield={names}").json()
        assert (row["00201209"]["Value"], row["00201208"]["Value"]) == ([2], [3])
        (row, *_) = filled.get(WEB + f"/instances?includefield={names}").json()
        assert (row["00201209"]["Value"], row["00201208"]["Value"]) == ([2], [3])

    def test_all_adds_what_belongs_to_the_level(self, emulator: Any, dicom_files: Path) -> None:
        emulator.stow([(dicom_files / "CT_small.dcm").read_bytes()])
        (study,) = emulator.get(WEB + "/studies?includefield=all").json()
        assert study["00101030"]["Value"] == [0.0]
        assert study["00201208"]["Value"] == [1]
        assert "00080018" not in study
        (series,) = emulator.get(WEB + "/series?includefield=all").json()
        assert series["00080070"]["Value"] == ["GE MEDICAL SYSTEMS"]
        assert "00100010" not in series
        (instance,) = emulator.get(WEB + "/instances?includefield=all").json()
        assert instance["00100010"]["vr"] == "PN"
        assert "7FE00010" not in instance


class TestDelete:
    def test_an_instance_and_what_it_leaves_empty(self, filled: Any, tmp_path: Path) -> None:
        path = WEB + "/studies/1/series/1.1/instances/1.1.1"
        answer = filled.delete(path)
        assert (answer.status_code, answer.json()) == (200, {})
        assert filled.delete(path).status_code == 404
        assert uids(filled.get(WEB + "/instances?StudyInstanceUID=1"), "00080018") == [
            "1.1.2",
            "1.2.1",
        ]
        filled.delete(WEB + "/studies/1/series/1.1/instances/1.1.2")
        assert uids(filled.get(WEB + "/studies/1/series"), "0020000E") == ["1.2"]
        filled.delete(WEB + "/studies/1/series/1.2/instances/1.2.1")
        assert uids(filled.get(WEB + "/studies"), "0020000D") == ["2", "3"]
        assert len(list((tmp_path / "root").rglob("*.dcm"))) == 2

    def test_a_study_is_described_by_the_first_instance_that_is_left(
        self, emulator: Any, make_dicom: Any
    ) -> None:
        emulator.stow([make_dicom(instance=f"1.{n}", PatientID=f"P{n}") for n in (1, 2)])
        assert uids(emulator.get(WEB + "/studies?PatientID=P2"), "0020000D") == []
        emulator.delete(WEB + "/studies/1.1/series/1.1.1/instances/1.1")
        assert uids(emulator.get(WEB + "/studies?PatientID=P2"), "0020000D") == ["1.1"]

    def test_series_and_study_are_operations(self, filled: Any) -> None:
        operation = filled.delete(WEB + "/studies/1/series/1.1").json()
        done = filled.get("/v1/" + operation["name"]).json()
        assert done["done"] is True
        assert done["metadata"]["counter"] == {"success": "2"}
        assert done["response"] == {"@type": "type.googleapis.com/google.protobuf.Empty"}
        assert filled.delete(WEB + "/studies/1/series/1.1").status_code == 404
        assert filled.delete(WEB + "/studies/2").status_code == 200
        assert uids(filled.get(WEB + "/studies"), "0020000D") == ["1", "3"]
        filled.delete(WEB + "/studies/1/series/1.2")
        assert uids(filled.get(WEB + "/studies"), "0020000D") == ["3"]
        assert filled.delete(WEB + "/studies/2").status_code == 404

    def test_nothing_is_stored_where_a_delete_is_under_way(
        self, tmp_path: Path, open_emulator: Any, make_dicom: Any
    ) -> None:
        with open_emulator(tmp_path / "slow", operation_delay=3600.0) as client:
            client.prepare()
            client.stow([make_dicom("1", "1.1", "1.1.1"), make_dicom("1", "1.2", "1.2.1")])
            operation = client.delete(WEB + "/studies/1/series/1.1").json()
            assert "done" not in operation
            listed = client.until(operation, lambda found: "counter" in found["metadata"])
            assert listed["metadata"]["counter"] == {"pending": "1"}
            answer = client.stow([make_dicom("1", "1.1", "1.1.1")])
            assert answer.status_code == 409
            assert "being deleted" in answer.text
            assert client.stow([make_dicom("1", "1.3", "1.3.1")]).status_code == 200
            assert client.post(f"/v1/{operation['name']}:cancel").json() == {}
            ended = client.ended(operation)
            assert ended["error"]["code"] == 1
            assert ended["metadata"]["cancelRequested"] is True
            assert client.stow([make_dicom("1", "1.1", "1.1.1")]).status_code == 200
            client.delete(WEB + "/studies/1")
            assert client.stow([make_dicom("1", "1.4", "1.4.1")]).status_code == 409


def test_metrics(filled: Any) -> None:
    root = WEB.removesuffix("/dicomWeb")
    metrics = filled.get(root + ":getDICOMStoreMetrics").json()
    assert [metrics[k] for k in ("studyCount", "seriesCount", "instanceCount")] == ["3", "4", "5"]
    assert metrics["name"] == root.removeprefix("/v1/")
    study = filled.get(WEB + "/studies/1:getStudyMetrics").json()
    assert (study["seriesCount"], study["instanceCount"]) == ("2", "3")
    series = filled.get(WEB + "/studies/1/series/1.1:getSeriesMetrics").json()
    assert series["instanceCount"] == "2"
    assert series["series"].endswith("/dicomWeb/studies/1/series/1.1")
    info = filled.get(WEB + "/studies/1/series/1.1/instances/1.1.1:getStorageInfo").json()
    assert int(info["blobStorageInfo"]["sizeBytes"]) > 128
    assert info["blobStorageInfo"]["storageClass"] == "STANDARD"
    assert filled.get(WEB + "/studies/9:getStudyMetrics").status_code == 404
