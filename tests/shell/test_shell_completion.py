"""What is offered where: the cases of fixtures/completion.txt, and what they cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from dicomsql.config import Settings
from dicomsql.dicom.tags import lookup
from dicomsql.planning import copies, exports
from dicomsql.session import Session
from dicomsql.shell.completion import Completion
from dicomsql.shell.completion.match import Candidate, Form, matching, written
from dicomsql.shell.completion.options import INTO_FILES, INTO_STORE
from dicomsql.shell.completion.place import place_of
from dicomsql.shell.completion.terms import terms

CASES = Path(__file__).parent / "fixtures" / "completion.txt"
TYPED, ASKED = CompleteEvent(text_inserted=True), CompleteEvent(completion_requested=True)


@dataclass
class Case:
    text: str
    line: int
    said: dict[str, list[str]] = field(default_factory=dict)


def cases() -> list[Case]:
    found: list[Case] = []
    for number, line in enumerate(CASES.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith("    "):
            found.append(Case(line.replace("\\n", "\n"), number))
            continue
        word, _, rest = line.strip().partition(": ")
        assert word in {"first", "has", "not", "none"}, f"line {number}: {line}"
        found[-1].said[word] = rest.split(", ")
    return found


@pytest.fixture(scope="module")
def completion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Completion]:
    # Nothing is sent: no parameter has a default.
    root = tmp_path_factory.mktemp("completion")
    with Session(Settings(local=root)) as session:
        made = Completion(session, lambda: session.defaults)
        yield made
        made.close()


def offered(
    completion: Completion, text: str, event: CompleteEvent = ASKED, *, cursor: int | None = None
) -> list[str]:
    at = text.index("|") if cursor is None else cursor
    text = text[:at] + text[at + 1 :] if cursor is None else text
    return [c.text for c in completion.get_completions(Document(text, at), event)]


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"line {case.line}")
def test_what_is_offered_is_what_fits(completion: Completion, case: Case) -> None:
    found = offered(completion, case.text)
    assert case.said, "the case says nothing"
    if "none" in case.said:
        assert found == []
        return
    first = case.said.get("first", [])
    assert found[: len(first)] == first
    assert [name for name in case.said.get("has", []) if name not in found] == []
    assert [name for name in case.said.get("not", []) if name in found] == []


def test_what_is_typed_alone_is_replaced(completion: Completion) -> None:
    text = "SELECT * FROM google.healthcare.stu"
    first = next(iter(completion.get_completions(Document(text), TYPED)))
    assert (first.text, first.start_position) == ("studies", -3)
    text = 'SELECT * FROM google.healthcare.studies WHERE "Pat'
    first = next(iter(completion.get_completions(Document(text), TYPED)))
    assert (first.text, first.start_position) == ('"PatientName"', -4)


def test_each_name_tells_what_it_is(completion: Completion) -> None:
    text = "SELECT * FROM google.healthcare.studies WHERE "
    about = {c.text: c.display_meta_text for c in completion.get_completions(Document(text), ASKED)}
    assert about["projectsId"].startswith("required: The project")
    assert about["PatientName"] == "PN  Patient Name  00100010"


def test_nobody_who_types_a_space_gets_a_menu_of_keywords(completion: Completion) -> None:
    assert offered(completion, "|", TYPED) == []
    assert offered(completion, "SELECT * FROM google.healthcare.studies |", TYPED) == []
    assert offered(completion, "SELECT * FROM google.healthcare.studies WHERE |", TYPED) != []


def test_a_default_makes_a_parameter_less_urgent(tmp_path: Path) -> None:
    with Session(Settings(local=tmp_path, project="p", dataset="d")) as session:
        completion = Completion(session, lambda: session.defaults)
        of_studies = offered(completion, "SELECT * FROM google.healthcare.studies WHERE |")
        assert of_studies[:2] == ["locationsId", "dicomStoresId"]
        assert "projectsId" in of_studies[2:]
        # What loses something takes its ids from the statement.
        text = "DELETE FROM google.healthcare.datasets WHERE |"
        assert offered(completion, text)[:3] == ["projectsId", "locationsId", "datasetsId"]
        completion.close()


def test_use_makes_names_short(tmp_path: Path) -> None:
    with Session(Settings(local=tmp_path)) as session:
        completion = Completion(session, lambda: session.defaults)
        (use,) = session.parse("USE google.healthcare")
        session.execute(use)
        assert offered(completion, "SELECT * FROM stu|")[0] == "studies"
        assert offered(completion, "SELECT Pat| FROM studies")[0] == "PatientName"
        assert offered(completion, "EXEC dicom_stores.exp|")[0] == "export"
        completion.close()


def test_a_dialect_has_its_own_quotes(tmp_path: Path) -> None:
    with Session(Settings(local=tmp_path, dialect="bigquery")) as session:
        completion = Completion(session, lambda: session.defaults)
        text = 'SELECT * FROM google.healthcare.series WHERE Modality = "M|'
        assert offered(completion, text)[:1] == ['MR"']
        text = "SELECT `Pat| FROM google.healthcare.studies"
        assert offered(completion, text)[:1] == ["`PatientName`"]
        completion.close()


def test_files_are_offered_in_copy_and_readers(
    completion: Completion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "in's.dcm").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert offered(completion, "COPY google.healthcare.instances FROM |") == [
        "'incoming/",
        "'in''s.dcm'",
        "(SELECT",
    ]
    for text in (
        "COPY google.healthcare.instances FROM 'in|",
        "SELECT * FROM read_dicom('in|')",
        "SELECT * FROM 'in|",
        "COPY (SELECT 1) TO 'in|",
        "EXEC google.healthcare.dicom_stores.store_instances @@file = 'in|",
    ):
        closing = "" if text.endswith("')") else "'"
        assert offered(completion, text) == ["incoming/", f"in''s.dcm{closing}"], text
    assert offered(completion, "\\i in|") == ["incoming/", "in's.dcm"]
    assert offered(completion, f"COPY google.healthcare.instances FROM '{tmp_path}/.|") == [
        f"{tmp_path}/.hidden'"
    ]
    assert offered(completion, "COPY google.healthcare.instances FROM 'nowhere/|") == []


def test_no_files_are_offered_where_they_are_switched_off(tmp_path: Path) -> None:
    with Session(Settings(endpoint="http://127.0.0.1:9", files=False)) as session:
        completion = Completion(session, lambda: session.defaults)
        text = f"COPY google.healthcare.instances FROM '{tmp_path.parent}/|"
        assert offered(completion, text) == []
        completion.close()


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"line {case.line}")
def test_any_piece_of_a_text_can_be_read(case: Case) -> None:
    for cursor in range(len(case.text) + 1):
        place_of(case.text, cursor)
        place_of(case.text[cursor:], 0)
        place_of(case.text[:cursor] * 2, cursor)


def test_a_text_that_is_a_paste_is_left_alone(completion: Completion) -> None:
    assert offered(completion, "SELECT 1;\n" * 30_000 + "sel|") == []


def test_the_best_match_stands_first() -> None:
    names = ["xx_study_date", "substudy", "StudyDate", "study", "seriestudy", "s_t_u_d_y"]
    found = matching([Candidate(name) for name in names], "study", 10)
    assert [c.text for c in found] == [
        *("study", "StudyDate", "xx_study_date", "substudy", "seriestudy", "s_t_u_d_y")
    ]
    camel = matching([Candidate("NumberOfStudies"), Candidate("Astudi")], "studi", 10)
    assert [c.text for c in camel] == ["NumberOfStudies", "Astudi"]


@pytest.mark.parametrize(
    ("candidate", "options", "text"),
    [
        (Candidate("plain_1"), {}, "plain_1"),
        (Candidate("with space"), {}, '"with space"'),
        (Candidate("order"), {}, '"order"'),
        (Candidate('a"b'), {}, '"a""b"'),
        (Candidate("plain"), {"quote": '"'}, '"plain"'),
        (Candidate("plain"), {"quote": '"', "closed": True}, '"plain'),
        (Candidate("1st", form=Form.METHOD), {}, '"1st"'),
        (Candidate("delete-it", form=Form.METHOD), {}, "delete-it"),
        (Candidate("it's", form=Form.TEXT), {}, "'it''s'"),
        (Candidate("it's", form=Form.TEXT), {"quote": "'"}, "it''s'"),
        (Candidate("it's", form=Form.TEXT), {"quote": "'", "closed": True}, "it''s"),
        (Candidate("SELECT", form=Form.WORD), {"upper": False}, "select"),
    ],
)
def test_what_needs_quotes_gets_them(
    candidate: Candidate, options: dict[str, object], text: str
) -> None:
    assert written(candidate, **{"upper": True, **options}) == text  # type: ignore[arg-type]


def test_the_options_are_those_that_copy_takes() -> None:
    """What is offered is held to what planning reads; names of places are the document's."""
    assert set(INTO_STORE) == {*copies._SETTINGS, "on_conflict", "source"}
    of_rows = {name for _, name in exports._OPTIONS}
    of_instances = {"layout", "transfer_syntax", "overwrite", "parallel", "journal", "source"}
    assert set(INTO_FILES) == {"FORMAT"} | of_rows | of_instances
    for (format_, name), _ in exports._OPTIONS.items():
        assert format_ in INTO_FILES[name].of
    assert set(INTO_FILES["FORMAT"].values) == {*exports.FORMATS, *exports.OF_INSTANCES.values()}


def test_terms_are_of_attributes_and_fit_their_vr() -> None:
    assert dict(terms("Modality"))["CT"] == "Computed Tomography"
    assert terms("PatientName") == ()
    from dicomsql.shell.completion.terms import _table

    for keyword, listed in _table().items():
        tag = lookup(keyword)
        assert tag is not None
        assert tag.vr == "CS"
        # PS3.5 section 6.2: a CS has 16 characters at most.
        assert all(len(term) <= 16 and term == term.upper() for term, _ in listed)
        assert len({term for term, _ in listed}) == len(listed)
