"""Servers that leave out of their searches what the document says they return: found out, or NULL.

The server here is asked through the document of Orthanc, whose searches return StudyDescription and
the like where they are asked for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from execution_bench import Answer, Bench, refused

from dicomsql.dicom.tags import lookup
from dicomsql.errors import BudgetError, IncompleteError
from dicomsql.transport.base import Request

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
RESOURCES = ("studies", "series", "instances")
NUMBERS = ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")
DEFAULT = (
    {"StudyDate", "PatientID", "PatientSex", "ModalitiesInStudy", *NUMBERS},
    {"Modality", "SeriesNumber", "SeriesDescription", "NumberOfSeriesRelatedInstances"},
    {"SOPClassUID", "InstanceNumber", "Rows"},
)


def dataset(values: dict[str, str]) -> dict[str, Any]:
    """DICOM JSON of attributes by keyword."""
    made = {}
    for keyword, value in values.items():
        tag = lookup(keyword)
        assert tag is not None
        made[tag.tag] = {"vr": tag.vr, "Value": [value]} if value else {"vr": tag.vr}
    return made


@dataclass
class Pacs:
    """One series of one instance in each study, and what its searches do with includefield.

    Attributes:
        given: what of the included attributes it returns; None for all.
        left_out: default attributes that it does not return either.
        bare: attributes that it asked for in vain are there without a value.
    """

    instances: list[dict[str, str]]
    given: set[str] | None = None
    left_out: set[str] = field(default_factory=set)
    bare: bool = False
    unreadable: bool = False
    asked: list[str] = field(default_factory=list)

    def __call__(self, request: Request) -> Any:
        path = dict(request.path_values)
        kept = self.instances
        for parameter, uid in zip(("studiesId", "seriesId", "instancesId"), UIDS, strict=True):
            if parameter in path:
                kept = [i for i in kept if i[uid] == path[parameter]]
        kind = request.path.rpartition("/")[2]
        self.asked.append(kind)
        if kind == "metadata":
            return refused(403)(request) if self.unreadable else [dataset(i) for i in kept]
        query = list(request.query)
        for uid in UIDS:
            kept = [i for i in kept if i[uid] == dict(query).get(uid, i[uid])]
        level = RESOURCES.index(kind)
        included = {v for k, v in query if k == "includefield"}
        shown = (DEFAULT[level] | {UIDS[level]}) - self.left_out
        shown |= {v for v in included if self.given is None or v in self.given}
        first = int(dict(query).get("offset", "0"))
        rows = kept[first : first + int(dict(query)["limit"])]
        vain = dict.fromkeys(included - shown if self.bare else (), "")
        return [
            dataset({k: v for k, v in (i | computed(i) | vain).items() if k in shown | vain.keys()})
            for i in rows
        ] or Answer()


def computed(instance: dict[str, str]) -> dict[str, str]:
    numbers = dict.fromkeys([*NUMBERS, "NumberOfSeriesRelatedInstances"], "1")
    return numbers | {"ModalitiesInStudy": instance["Modality"]}


def instances(number: int, **more: str | Callable[[int], str]) -> list[dict[str, str]]:
    """Datasets; what is an empty text they have not."""
    made = []
    for n in range(number):
        own = {uid: f"1.{place}.{n}" for place, uid in enumerate(UIDS)}
        own |= {"StudyDate": "20260101", "PatientID": f"p{n}", "Modality": "CT", "Rows": "512"}
        own |= {k: v if isinstance(v, str) else v(n) for k, v in more.items()}
        made.append({k: v for k, v in own.items() if v})
    return made


@pytest.fixture
def ask(make_bench: Callable[..., Bench]) -> Callable[[Pacs], Bench]:
    return lambda pacs: make_bench(pacs, endpoint="http://127.0.0.1:8042/dicom-web")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT StudyDescription FROM dicomweb.orthanc.studies",
        "SELECT StudyDescription FROM dicomweb.orthanc.studies LIMIT 1",
        "SELECT count(*) FROM dicomweb.orthanc.studies WHERE StudyDescription IS NULL",
        "SELECT PatientID FROM dicomweb.orthanc.studies WHERE StudyDescription IS NULL LIMIT 1",
        "SELECT PatientID FROM dicomweb.orthanc.studies ORDER BY StudyDescription",
        "SELECT StudyDescription_raw FROM dicomweb.orthanc.studies",
        "SELECT BodyPartExamined FROM dicomweb.orthanc.series",
        "SELECT StudyDescription FROM dicomweb.orthanc.series",
        "SELECT count(PixelSpacing) FROM dicomweb.orthanc.instances",
        "SELECT count(*) FROM dicomweb.orthanc.studies JOIN dicomweb.orthanc.series "
        "USING (StudyInstanceUID) WHERE BodyPartExamined = 'HEAD'",
        "SELECT StudyDescription, EthnicGroup FROM dicomweb.orthanc.studies",
    ],
)
@pytest.mark.parametrize("bare", [False, True])
def test_what_the_server_leaves_out_is_not_null(ask: Any, sql: str, bare: bool) -> None:
    more = {"StudyDescription": "d", "BodyPartExamined": "HEAD", "PixelSpacing": "1"}
    server = Pacs(instances(3, **more, EthnicGroup="g"), given=set(UIDS), bare=bare)
    with pytest.raises(IncompleteError, match="no row that came first has it") as caught:
        ask(server).rows(sql)
    assert "1.0." not in str(caught.value)
    assert "_metadata" in str(caught.value)
    server.given = None
    ask(server).rows(sql)


def test_what_no_dataset_has_is_null(ask: Any) -> None:
    server = Pacs(instances(3))
    bench = ask(server)
    result = bench.open("SELECT StudyDescription FROM dicomweb.orthanc.studies")
    assert [r for b in result.batches() for r in b.to_pylist()] == [{"StudyDescription": None}] * 3
    # The list; the row again, as nothing came of what was asked for; and the way to its dataset.
    assert server.asked == ["studies", "studies", "series", "instances", "metadata"]
    assert result.statistics.pages == 5
    decided = [d for scan in result.statistics.scans for d in scan.decided]
    assert decided == [
        "no row that came first has StudyDescription, nor has the metadata of one of them"
    ]


def test_a_server_that_ignores_includefield_is_known_by_other_attributes(ask: Any) -> None:
    # Only the second has it; the first one's dataset has others that were asked for in vain.
    some = instances(2, Laterality=lambda n: "L" * n, BodyPartExamined="HEAD")
    server = Pacs(some, given=set(UIDS))
    with pytest.raises(IncompleteError, match="seems to ignore `includefield`"):
        ask(server).rows("SELECT Laterality FROM dicomweb.orthanc.series LIMIT 1")
    server.given = None
    assert ask(server).rows("SELECT Laterality FROM dicomweb.orthanc.series") == [(None,), ("L",)]


def test_what_comes_with_every_answer_may_be_left_out_too(ask: Any) -> None:
    server = Pacs(instances(2), left_out={"PatientID", *NUMBERS, "ModalitiesInStudy"})
    for name in ("PatientID", "ModalitiesInStudy", *NUMBERS):
        with pytest.raises(IncompleteError, match=f"returns {name}, but"):
            ask(server).rows(f"SELECT {name} FROM dicomweb.orthanc.studies")
    assert ask(server).rows("SELECT StudyInstanceUID FROM dicomweb.orthanc.studies WHERE true")
    deidentified = Pacs(instances(2, PatientID=""))
    found = ask(deidentified).rows("SELECT PatientID FROM dicomweb.orthanc.studies")
    assert found == [(None,), (None,)]


def test_what_a_row_has_is_not_looked_up(ask: Any) -> None:
    server = Pacs(instances(3, StudyDescription=lambda n: "d" * (n == 2)))
    bench = ask(server)
    bench.rows("SELECT StudyDescription FROM dicomweb.orthanc.studies")
    assert server.asked == ["studies"]
    # The session has seen that the server returns it.
    one = "SELECT StudyDescription FROM dicomweb.orthanc.studies WHERE StudyInstanceUID = '1.0.0'"
    assert bench.rows(one) == [(None,)]
    assert server.asked == ["studies", "studies"]


def test_an_empty_result_proves_nothing_and_costs_nothing(ask: Any) -> None:
    server = Pacs([], given=set())
    assert ask(server).rows("SELECT StudyDescription FROM dicomweb.orthanc.studies") == []
    assert server.asked == ["studies"]


def test_where_the_metadata_cannot_be_read_it_is_told(ask: Any) -> None:
    server = Pacs(instances(2, StudyDescription="d"), given=set(UIDS), unreadable=True)
    result = ask(server).open("SELECT StudyDescription FROM dicomweb.orthanc.studies")
    assert sum(batch.num_rows for batch in result.batches()) == 2
    (note,) = result.statistics.notes
    assert "StudyDescription" in note
    assert "could not be seen" in note


def test_explain_tells_of_it_and_its_calls(ask: Any) -> None:
    bench = ask(Pacs(instances(2)))
    lines = [row[0] for row in bench.rows(
        "EXPLAIN SELECT StudyDescription FROM dicomweb.orthanc.studies LIMIT 2"
    )]  # fmt: skip
    assert (
        "  doubts  StudyDescription: where no row that comes first has a value, looked up in the "
        "metadata of one row, by up to 4 calls"
    ) in lines
    assert any("at most 5" in line for line in lines if line.startswith("  calls"))
    numbers = "EXPLAIN SELECT NumberOfStudyRelatedSeries FROM dicomweb.orthanc.studies"
    assert any(line[0].endswith("has a value, an error") for line in bench.rows(numbers))


def test_google_s_own_servers_are_trusted_but_for_what_there_always_is(make_bench: Any) -> None:
    place = "projectsId = 'p' AND locationsId = 'l' AND datasetsId = 'd' AND dicomStoresId = 's'"
    bench = make_bench(Pacs(instances(2), given=set(UIDS), left_out=set(DEFAULT[0])))
    sql = f"SELECT {{}} FROM google.healthcare.studies WHERE {place}"
    assert bench.rows(sql.format("StudyDescription, PatientID")) == [(None, None)] * 2
    assert len(bench.wire.requests) == 1
    for name in ("NumberOfStudyRelatedSeries", "ModalitiesInStudy"):
        with pytest.raises(IncompleteError, match=name):
            bench.rows(sql.format(name))


def test_the_budget_holds(ask: Any) -> None:
    bench = ask(Pacs(instances(2)))
    with pytest.raises(BudgetError):
        bench.rows("SET max_calls = 3; SELECT StudyDescription FROM dicomweb.orthanc.studies")
