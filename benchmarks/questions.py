"""Requests for twenty typical questions, beside the least that could answer each exactly.

    python benchmarks/questions.py [--explain]

The store is the embedded emulator's, which takes the filters that Google's service takes, and
answers in small pages. The least is worked out from the data by someone who knows it already: how
many rows there are, which pages end where, how far back the newest studies lie. The sum of what is
used is to be at most 1.2 times the sum of the least.
"""

from __future__ import annotations

import argparse
import datetime
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hospital import INSTANCE_PAGE, PAGE, Series, hospital, opened
from measure import print_machine, print_table

from dicomsql.session import Session

WANTED = 1.2


@dataclass(frozen=True)
class Question:
    """A question in words and in SQL.

    Attributes:
        least: requests, from the data.
        because: why fewer would not do.
    """

    words: str
    sql: str
    least: Callable[[], int]
    because: str


class Store:
    """The hospital's data, and how many pages of the store hold what."""

    def __init__(self, series: Sequence[Series], today: datetime.date) -> None:
        self.series = series
        self.today = today

    def studies(self, wanted: Callable[[Series], bool] = lambda _: True) -> int:
        """Pages of studies."""
        return _pages(len({s.study for s in self.series if wanted(s)}), PAGE)

    def of_series(self, wanted: Callable[[Series], bool] = lambda _: True) -> int:
        """Pages of series."""
        return _pages(sum(map(wanted, self.series)), PAGE)

    def instances(self, wanted: Callable[[Series], bool] = lambda _: True) -> int:
        """Pages of instances."""
        return _pages(sum(len(s.instances) for s in self.series if wanted(s)), INSTANCE_PAGE)

    def study_uids(self, step: int) -> list[str]:
        """Every `step`-th study."""
        return list(dict.fromkeys(s.study for s in self.series))[::step]


def _pages(rows: int, page: int) -> int:
    return max(1, math.ceil(rows / page))


def questions(store: Store, folder: Path) -> list[Question]:
    """The twenty, about this store; `folder` takes a file with a cohort."""
    some = store.series[len(store.series) // 2]
    many = [s for s in store.series if s.modality == "CT"][3]
    month = store.today - datetime.timedelta(days=30)
    year = store.today.year - 1
    few, cohort = store.study_uids(40), store.study_uids(2)
    file = folder / "cohort.csv"
    file.write_text("uid\n" + "\n".join(cohort) + "\n")
    listed = ", ".join(f"'{uid}'" for uid in few)
    name = "google.healthcare"
    return [
        Question(
            "The studies of a patient",
            f"""SELECT StudyDate, StudyDescription, ModalitiesInStudy FROM {name}.studies
                WHERE PatientID = '{some.patient}'""",
            lambda: 1,
            "one search",
        ),
        Question(
            "The study of an accession number",
            f"SELECT * FROM {name}.studies WHERE AccessionNumber = '{some.accession}'",
            lambda: 1,
            "one search",
        ),
        Question(
            "The studies of the last month",
            f"""SELECT PatientID, StudyDate FROM {name}.studies
                WHERE StudyDate >= '{month:%Y%m%d}' ORDER BY StudyDate""",
            lambda: store.studies(lambda s: s.date >= month),
            "the pages of the range",
        ),
        Question(
            "The studies of a year",
            f"SELECT PatientID, StudyDate FROM {name}.studies WHERE year(StudyDate) = {year}",
            lambda: store.studies(lambda s: s.date.year == year),
            "the pages of the year",
        ),
        Question(
            "The ten newest studies",
            f"""SELECT StudyDate, PatientName, StudyInstanceUID FROM {name}.studies
                ORDER BY StudyDate DESC, StudyInstanceUID LIMIT 10""",
            lambda: 1,
            "one range, if it were known how far it has to reach",
        ),
        Question(
            "Patients whose name begins so",
            f"SELECT DISTINCT PatientName, PatientID FROM {name}.studies "
            "WHERE PatientName LIKE 'Smith%'",
            lambda: store.studies(lambda s: s.name.startswith("Smith")),
            "the pages of what the fuzzy search finds",
        ),
        Question(
            "The series of a study",
            f"""SELECT Modality, SeriesNumber, SeriesDescription FROM {name}.series
                WHERE StudyInstanceUID = '{some.study}' ORDER BY SeriesNumber""",
            lambda: 1,
            "one search",
        ),
        Question(
            "The instances of a series",
            f"""SELECT InstanceNumber, SOPInstanceUID FROM {name}.instances
                WHERE StudyInstanceUID = '{many.study}' AND SeriesInstanceUID = '{many.series}'
                ORDER BY InstanceNumber""",
            lambda: 1,
            "one search",
        ),
        Question(
            "How many studies there are",
            f"SELECT count(*) FROM {name}.studies",
            store.studies,
            "the pages of the studies",
        ),
        Question(
            "How many instances there are",
            f"SELECT count(*) FROM {name}.instances",
            store.studies,
            "the studies carry the numbers",
        ),
        Question(
            "Series and images by modality",
            f"""SELECT Modality, count(*) AS images, count(DISTINCT SeriesInstanceUID) AS series
                FROM {name}.instances GROUP BY Modality ORDER BY images DESC""",
            store.of_series,
            "the series carry the numbers",
        ),
        Question(
            "The CT series of a year",
            f"""SELECT PatientID, StudyDate, SeriesDescription FROM {name}.series
                WHERE Modality = 'CT' AND StudyDate BETWEEN '{year}-01-01' AND '{year}-12-31'""",
            lambda: store.of_series(lambda s: s.modality == "CT" and s.date.year == year),
            "the pages of what is found",
        ),
        Question(
            "CR or ultrasound",
            f"""SELECT StudyDate, Modality, SeriesInstanceUID FROM {name}.series
                WHERE Modality IN ('CR', 'US')""",
            lambda: (
                store.of_series(lambda s: s.modality == "CR")
                + store.of_series(lambda s: s.modality == "US")
            ),
            "the pages of two searches, as the server takes no lists",
        ),
        Question(
            "A patient's, or a radiograph of the last month",
            f"""SELECT DISTINCT StudyInstanceUID FROM {name}.series WHERE PatientID =
                '{some.patient}' OR (Modality = 'CR' AND StudyDate >= '{month:%Y%m%d}')""",
            lambda: 2,
            "the union of two searches",
        ),
        Question(
            "A patient's studies with their series",
            f"""SELECT st.StudyDate, st.NumberOfStudyRelatedInstances, se.Modality
                FROM {name}.studies st JOIN {name}.series se USING (StudyInstanceUID)
                WHERE st.PatientID = '{some.patient}'""",
            lambda: 2,
            "one search on each level, both by the patient",
        ),
        Question(
            "Studies without a report",
            f"""SELECT StudyInstanceUID, StudyDate FROM {name}.studies WHERE StudyInstanceUID
                NOT IN (SELECT StudyInstanceUID FROM {name}.series WHERE Modality = 'SR')""",
            lambda: store.studies() + store.of_series(lambda s: s.modality == "SR"),
            "the pages of all studies, and of all reports",
        ),
        Question(
            "The series of a few studies",
            f"""SELECT StudyInstanceUID, Modality FROM {name}.series
                WHERE StudyInstanceUID IN ({listed})""",
            lambda: min(len(few), store.of_series()),
            "a search for each, which is less than all series' pages",
        ),
        Question(
            "The series of a large cohort in a file",
            f"""SELECT StudyInstanceUID, Modality FROM {name}.series
                WHERE StudyInstanceUID IN (SELECT uid FROM '{file}')""",
            lambda: min(len(cohort), store.of_series()),
            "all series' pages, which are fewer than its studies",
        ),
        Question(
            "The five largest series",
            f"""SELECT SeriesInstanceUID, NumberOfSeriesRelatedInstances FROM {name}.series
                ORDER BY NumberOfSeriesRelatedInstances DESC, SeriesInstanceUID LIMIT 5""",
            store.of_series,
            "all series' pages",
        ),
        Question(
            "An attribute that no search returns",
            f"""SELECT InstanceNumber, GantryDetectorTilt FROM {name}.instances
                WHERE StudyInstanceUID = '{many.study}' AND SeriesInstanceUID = '{many.series}'
                  AND Modality = 'CT'""",
            lambda: 1,
            "the metadata of the series",
        ),
    ]


def asked(session: Session, sql: str) -> tuple[int, int]:
    """Requests and rows of a statement."""
    (statement,) = session.parse(sql)
    result = session.execute(statement)
    rows = sum(batch.num_rows for batch in result.batches())
    return result.statistics.requests, rows


def explained(session: Session, sql: str) -> list[str]:
    """The lines of its plan."""
    (statement,) = session.parse(f"EXPLAIN {sql}")
    rows = session.execute(statement).rows or ()
    return [str(row[0]) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--explain", action="store_true", help="print the plans as well")
    arguments = parser.parse_args()
    today = datetime.datetime.now(datetime.UTC).date()
    store = Store(hospital(today), today)
    print_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = opened(folder, list(store.series))
        rows = []
        total = least = 0
        for question in questions(store, folder):
            with Session(settings) as session:
                if arguments.explain:
                    print("\n" + "\n".join([question.words, *explained(session, question.sql)]))
                used, found = asked(session, question.sql)
            lowest = question.least()
            total, least = total + used, least + lowest
            cells = (f"{used}", f"{lowest}", f"{found:,}", f"  {question.because}")
            rows.append((question.words, *cells))
        rows.append(("all twenty", f"{total}", f"{least}", "", f"  {total / least:.2f} times"))
    print_table("Requests", ("", "used", "least", "rows", "  the least is"), rows)
    print(f"\nwanted: at most {WANTED} times the least")


if __name__ == "__main__":
    main()
