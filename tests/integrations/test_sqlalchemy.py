"""The dialect: URLs, reflection, queries, writes, types, and what goes back to the pool."""

from __future__ import annotations

import datetime
import decimal
import shutil
import threading
import tomllib
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dicomsql.integrations.sqlalchemy.url import connect_arguments

# As it is without an installation, which has it as an entry point.
registry.register("dicomsql", "dicomsql.integrations.sqlalchemy", "Dialect")

PLACE = "p/us-central1/d/s"
HEALTHCARE = "google.healthcare"


def engine_on(root: Path, **options: Any) -> sa.Engine:
    return sa.create_engine(f"dicomsql://{PLACE}?local={root}", **options)


@pytest.fixture
def engine(filled_root: Path) -> Iterator[sa.Engine]:
    engine = engine_on(filled_root)
    yield engine
    engine.dispose()


@pytest.fixture
def writing(own_root: Path) -> Iterator[sa.Engine]:
    engine = engine_on(own_root)
    yield engine
    engine.dispose()


@pytest.fixture
def memory() -> Iterator[sa.Engine]:
    """An engine on no server, for tables of the engine."""
    engine = sa.create_engine("dicomsql://")
    yield engine
    engine.dispose()


def table(engine: sa.Engine, name: str, *columns: Any) -> sa.Table:
    return sa.Table(name, sa.MetaData(), *columns, schema=HEALTHCARE, autoload_with=engine)


# -- URLs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("dicomsql://", {}),
        (
            "dicomsql://p/us-central1/d/s",
            {"project": "p", "location": "us-central1", "dataset": "d", "dicom_store": "s"},
        ),
        ("dicomsql://example.com%3Ap", {"project": "example.com:p"}),
        ("dicomsql:////d%2Fx", {"dataset": "d", "dicom_store": "x"}),
        (
            "dicomsql://r:a%40b@/?endpoint=https%3A%2F%2Fh%2Fweb",
            {"user": "r", "password": "a@b", "endpoint": "https://h/web"},
        ),
        (
            "dicomsql://?yes=true&anonymous=off&max_calls=5&timeout=1.5&max_bytes=2GiB",
            {
                "yes": True,
                "anonymous": False,
                "max_calls": 5,
                "timeout": 1.5,
                "max_bytes": "2GiB",
            },
        ),
    ],
)
def test_a_url_is_the_arguments_of_connect(url: str, arguments: dict[str, Any]) -> None:
    assert connect_arguments(sa.make_url(url)) == arguments


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("dicomsql://p/l/d/s/x", "more parts"),
        ("dicomsql://p:80/l", "port"),
        ("dicomsql://?endpont=x", "Did you mean endpoint"),
        ("dicomsql://p?project=q", "project twice"),
        ("dicomsql://?dataset=q&dataset=r", "dataset twice"),
        ("dicomsql://?yes=perhaps", "true or false"),
        ("dicomsql://?max_calls=many", "a number"),
        ("dicomsql://?token=secret", "connect_args"),
        ("dicomsql://?password=secret", "USER:PASSWORD@"),
        ("dicomsql://?proxy=http%3A%2F%2Fu%3Asecret%40h", "connect_args"),
    ],
)
def test_a_url_that_does_not_fit_says_so(url: str, message: str) -> None:
    with pytest.raises(sa.exc.ArgumentError, match=message) as caught:
        sa.create_engine(url).connect()
    assert "secret" not in str(caught.value)


def test_every_argument_of_connect_that_is_a_text_can_stand_in_a_url() -> None:
    from dicomsql.dbapi.arguments import ConnectArguments
    from dicomsql.integrations.sqlalchemy import url

    assert {*url._SETTINGS, *url._SECRETS, "consent"} == set(ConnectArguments.__annotations__)


def test_no_credential_shows() -> None:
    engine = sa.create_engine("dicomsql://reader:secret@/?endpoint=https%3A%2F%2Fh.example")
    assert "secret" not in repr(engine) + str(engine.url) + repr(engine.url)


def test_the_entry_points_name_the_dialect() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    for target in project["project"]["entry-points"]["sqlalchemy.dialects"].values():
        module, _, name = target.partition(":")
        assert getattr(__import__(module, fromlist=[name]), name).name == "dicomsql"


# -- reflection ----------------------------------------------------------------------------------


def test_services_are_schemas_and_resources_tables(engine: sa.Engine) -> None:
    found = sa.inspect(engine)
    schemas = found.get_schema_names()
    assert schemas[0] == found.default_schema_name == "main"
    assert {HEALTHCARE, "dicomweb.orthanc"} <= set(schemas)
    names = found.get_table_names(HEALTHCARE)
    assert {"studies", "dicom_stores"} <= set(names)
    assert found.get_view_names(HEALTHCARE) == []
    assert found.has_table("studies", HEALTHCARE)
    assert not found.has_table("studies")
    assert not found.has_table("nothing", HEALTHCARE)
    assert found.get_table_names("google.nothing") == []
    assert found.get_table_comment("dicom_stores", HEALTHCARE)["text"]
    assert found.get_pk_constraint("studies", HEALTHCARE)["constrained_columns"] == []
    with pytest.raises(sa.exc.NoSuchTableError, match=r"google\.healthcare\.nothing"):
        found.get_columns("nothing", HEALTHCARE)


def test_columns_say_what_they_are(engine: sa.Engine) -> None:
    studies = table(engine, "studies")
    date = studies.c.StudyDate
    assert isinstance(date.type, sa.Date)
    assert date.info["vr"] == "DA"
    assert date.info["filter"] == "exact, range"
    assert not date.info["parameter"]
    assert date.comment == "Study Date"
    assert isinstance(studies.c.ModalitiesInStudy.type, sa.ARRAY)

    stores = table(engine, "dicom_stores")
    project = stores.c.projectsId
    assert project.info["parameter"]
    assert project.info["required"] == ("select", "insert", "update", "delete")
    assert project.comment is not None
    assert project.comment.startswith("Required by SELECT, INSERT, UPDATE, DELETE.")
    assert stores.c.dicomStoresId.info["required"] == ("update", "delete")
    assert stores.c.dicomStoreId.info["hidden"]
    assert isinstance(stores.c.labels.type, sa.JSON)


def test_a_table_has_the_columns_of_star(engine: sa.Engine) -> None:
    studies = table(engine, "studies")
    with engine.connect() as connection:
        star = connection.exec_driver_sql("SELECT * FROM google.healthcare.studies")
        whole = connection.execute(sa.select(studies))
        assert list(whole.keys()) == list(star.keys())
        assert len(whole.all()) == 5
        hidden = sa.select(studies.c.projectsId, studies.c.PatientAge).distinct()
        assert ("p", None) in [tuple(row) for row in connection.execute(hidden)]


def test_a_keyword_is_declared_beside_the_reflection(engine: sa.Engine) -> None:
    series = table(engine, "series", sa.Column("SeriesDescription", sa.String))
    with engine.connect() as connection:
        assert len(connection.execute(sa.select(series.c.SeriesDescription)).all()) == 5


def test_tables_of_the_engine_are_reflected(memory: sa.Engine) -> None:
    with memory.begin() as connection:
        connection.exec_driver_sql(
            'CREATE TABLE "Parent" (a INTEGER, b INTEGER, PRIMARY KEY (a, b))'
        )
        connection.exec_driver_sql(
            "CREATE TABLE child (x INTEGER NOT NULL, y INTEGER, z VARCHAR UNIQUE, "
            "m MAP(VARCHAR, INTEGER), t TIMESTAMPTZ, d DECIMAL(10, 2), e ENUM('a', 'b''c'), "
            "h HUGEINT, l INTEGER[][], c INTEGER DEFAULT 42, g BIGINT AS (x + 1), "
            'FOREIGN KEY (x, y) REFERENCES "Parent" (a, b), CHECK (x > 0))'
        )
        connection.exec_driver_sql('CREATE UNIQUE INDEX i ON child (x, (lower("z")))')
        connection.exec_driver_sql("COMMENT ON COLUMN child.x IS 'the first'")
        connection.exec_driver_sql("CREATE VIEW seen AS SELECT x FROM child")
        connection.exec_driver_sql("CREATE TEMP TABLE passing (x INTEGER)")
    found = sa.inspect(memory)
    assert found.get_table_names() == ["Parent", "child"]
    assert found.get_view_names() == ["seen"]
    assert found.get_temp_table_names() == ["passing"]
    assert found.has_table("CHILD")
    assert "lower" not in found.get_view_definition("seen")
    assert found.get_pk_constraint("Parent")["constrained_columns"] == ["a", "b"]
    assert found.get_unique_constraints("child") == [{"name": None, "column_names": ["z"]}]
    assert [c["sqltext"] for c in found.get_check_constraints("child")] == ["(x > 0)"]
    (key,) = found.get_foreign_keys("child")
    assert key["constrained_columns"] == ["x", "y"]
    assert (key["referred_table"], key["referred_columns"]) == ("Parent", ["a", "b"])
    (index,) = found.get_indexes("child")
    assert index["unique"]
    assert index["column_names"] == ["x", None]
    columns = {c["name"]: c for c in found.get_columns("child")}
    assert str(columns["m"]["type"]) == "MAP(VARCHAR, INTEGER)"
    assert columns["t"]["type"].timezone
    assert columns["d"]["type"].scale == 2
    assert columns["e"]["type"].enums == ["a", "b'c"]
    assert columns["l"]["type"].dimensions == 2
    assert columns["g"]["computed"]["sqltext"]
    assert columns["x"]["comment"] == "the first"
    assert not columns["x"]["nullable"]
    copied = sa.Table("child", sa.MetaData(), autoload_with=memory)
    assert "HUGEINT" in str(sa.schema.CreateTable(copied).compile(memory))
    with pytest.raises(sa.exc.NoSuchTableError):
        found.get_columns("nothing")


# -- queries -------------------------------------------------------------------------------------


def test_core_queries(engine: sa.Engine) -> None:
    studies, series = table(engine, "studies"), table(engine, "series")
    one = studies.alias("one")
    joined = sa.select(one.c.PatientID, series.c.Modality).join(
        series, one.c.StudyInstanceUID == series.c.StudyInstanceUID
    )
    with engine.connect() as connection:

        def rows(query: Any) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.execute(query)]

        assert rows(joined.where(one.c.PatientID.in_(["4MR1", "1CT1"])).order_by("Modality")) == [
            ("1CT1", "CT"),
            ("4MR1", "MR"),
        ]
        assert rows(joined.where(one.c.PatientID.in_([]))) == []
        late = studies.c.StudyDate >= datetime.date(2004, 2, 1)
        assert rows(
            sa.select(studies.c.PatientID).where(late, studies.c.PatientID.ilike("4m%"))
        ) == [("4MR1",)]
        assert rows(sa.select(studies.c.PatientID).order_by(studies.c.PatientID).offset(4)) == [
            ("id00001",)
        ]
        member = sa.text(
            "SELECT PatientID FROM google.healthcare.studies WHERE ModalitiesInStudy = :m"
        )
        assert connection.execute(member, {"m": "MR"}).scalars().all() == ["4MR1"]


def test_values_are_bound(engine: sa.Engine) -> None:
    studies = table(engine, "studies")
    query = sa.select(studies.c.PatientID).where(studies.c.PatientID == "x' OR '1'='1")
    with engine.connect() as connection:
        assert connection.execute(query).all() == []


def test_rows_are_streamed(memory: sa.Engine) -> None:
    query = sa.text("SELECT * FROM range(1000000000) AS r(i)")
    with memory.connect() as connection:
        result = connection.execution_options(stream_results=True).execute(query)
        parts = result.partitions(100)
        assert [next(parts)[0][0] for _ in range(3)] == [0, 100, 200]
        result.close()


def test_pandas_reads_and_writes(engine: sa.Engine) -> None:
    cohort = pd.DataFrame({"PatientID": ["4MR1", "none"], "n": [1, 2], "w": [0.5, None]})
    cohort.to_sql("cohort", engine, index=False)
    joined = pd.read_sql(
        "SELECT s.StudyDate, c.n FROM google.healthcare.studies s JOIN cohort c USING (PatientID)",
        engine,
    )
    assert joined.to_dict("records") == [{"StudyDate": datetime.date(2004, 8, 26), "n": 1}]
    pd.testing.assert_frame_equal(pd.read_sql_table("cohort", engine), cohort, check_dtype=False)
    cohort.to_sql("cohort", engine, index=False, if_exists="replace", method="multi")
    assert (
        len(pd.read_sql(sa.text("SELECT * FROM cohort WHERE n > :n"), engine, params={"n": 1})) == 1
    )


def test_the_orm_counts_keys_up(memory: sa.Engine) -> None:
    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "note"
        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str]

    Base.metadata.create_all(memory)
    with Session(memory) as session:
        session.add_all([Note(text="a"), Note(text="b")])
        session.commit()
        note = session.scalars(sa.select(Note).where(Note.text == "b")).one()
        note.text = "c"
        session.commit()
        assert session.scalars(sa.select(Note.text).order_by(Note.id)).all() == ["a", "c"]
    Base.metadata.drop_all(memory)
    assert sa.inspect(memory).get_sequence_names() == []


def test_types_go_both_ways(memory: sa.Engine) -> None:
    values = {
        "n": decimal.Decimal("1234567890.123456789012"),
        "f": 0.1,
        "d": datetime.date(2020, 2, 29),
        "t": datetime.time(1, 2, 3, 4),
        "s": datetime.datetime(2020, 1, 2, 3, 4, 5, 6),
        "z": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
        "u": uuid.UUID(int=7),
        "b": b"\0\xff",
        "j": {"a": [1, {'q"/~': "x"}]},
        "l": ["x", None],
        "e": "two",
        "o": True,
    }
    kinds = {
        "n": sa.Numeric(),
        "f": sa.Float(),
        "d": sa.Date(),
        "t": sa.Time(),
        "s": sa.DateTime(),
        "z": sa.DateTime(timezone=True),
        "u": sa.Uuid(),
        "b": sa.LargeBinary(),
        "j": sa.JSON(),
        "l": sa.ARRAY(sa.String),
        "e": sa.Enum("one", "two"),
        "o": sa.Boolean(),
    }
    made = sa.Table("t", sa.MetaData(), *(sa.Column(n, kind) for n, kind in kinds.items()))
    made.create(memory)
    with memory.begin() as connection:
        connection.execute(made.insert(), values)
        assert connection.execute(sa.select(made)).one()._asdict() == values
        reflected = sa.Table("t", sa.MetaData(), autoload_with=connection)
        assert connection.execute(sa.select(reflected)).one()._asdict() == values
        inner = sa.select(made.c.j[("a", 0)].as_integer(), made.c.j[("a", 1, 'q"/~')].as_string())
        assert connection.execute(inner).one() == (1, "x")


# -- writes and transactions ---------------------------------------------------------------------


def test_writes_are_calls(writing: sa.Engine) -> None:
    stores = table(writing, "dicom_stores")
    with writing.begin() as connection:
        made = connection.execute(
            sa.insert(stores).returning(stores.c.name),
            [{"dicomStoreId": "a", "labels": {"k": "v"}}, {"dicomStoreId": "b", "labels": None}],
        )
        assert sorted(name.rsplit("/", 1)[1] for name in made.scalars()) == ["a", "b"]
        changed = sa.update(stores).where(stores.c.dicomStoresId == "a").values(labels={"k": "w"})
        assert connection.execute(changed).rowcount == 1
        label = sa.select(stores.c.labels["k"].as_string()).where(stores.c.dicomStoresId == "a")
        assert connection.execute(label).scalar() == "w"
        place = {"projectsId": "p", "locationsId": "us-central1", "datasetsId": "d"}
        gone = sa.delete(stores).filter_by(**place, dicomStoresId="a")
        assert connection.execute(gone).rowcount == 1
        assert connection.execute(label).all() == []


def test_what_was_written_at_a_server_is_not_rolled_back_unseen(writing: sa.Engine) -> None:
    stores = table(writing, "dicom_stores")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with writing.connect() as connection:
            connection.execute(sa.select(stores)).all()
        with writing.connect() as connection:
            connection.execute(sa.insert(stores).values(dicomStoreId="a"))
            connection.commit()
    with pytest.warns(sa.exc.SAWarning, match="call"), writing.connect() as connection:
        connection.execute(sa.insert(stores).values(dicomStoreId="b"))


def test_consent_is_asked(own_root: Path) -> None:
    asked: list[str] = []

    def consent(question: str) -> bool:
        asked.append(question)
        return False

    engine = engine_on(own_root, connect_args={"consent": consent})
    stores = table(engine, "dicom_stores")
    place = {"projectsId": "p", "locationsId": "us-central1", "datasetsId": "d"}
    with (
        engine.connect() as connection,
        pytest.raises(sa.exc.ProgrammingError, match="not allowed"),
    ):
        connection.execute(sa.delete(stores).filter_by(**place, dicomStoresId="s"))
    assert len(asked) == 1
    engine.dispose()


def test_values_stay_out_of_errors_and_logs(
    filled_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for shown in (False, True):
        url = f"dicomsql://{PLACE}?local={filled_root}&show_phi={str(shown).lower()}"
        engine = sa.create_engine(url)
        caplog.clear()
        with (
            caplog.at_level("INFO", "sqlalchemy.engine"),
            engine.connect() as connection,
            pytest.raises(sa.exc.ProgrammingError) as caught,
        ):
            connection.execute(sa.text("SELECT nothing FROM range(1) WHERE :a = 1"), {"a": "Doe^J"})
        assert ("Doe^J" in str(caught.value) + caplog.text) is shown
        engine.dispose()


def test_a_connection_that_was_closed_is_replaced(memory: sa.Engine) -> None:
    with memory.connect() as connection:
        connection.connection.dbapi_connection.close()  # type: ignore[union-attr]
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.exec_driver_sql("SELECT 1")
        assert caught.value.connection_invalidated
    with memory.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1


def test_a_thread_has_a_connection_of_its_own(memory: sa.Engine) -> None:
    found: list[object] = []

    def ask() -> None:
        with memory.connect() as connection:
            found.append(connection.connection.dbapi_connection)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ask()
    ask()
    assert found[2] is found[3]
    assert len({id(one) for one in found}) == 3


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (sa.select(sa.literal(1)).with_for_update(), "locked"),
        (sa.select(sa.literal(1)).fetch(1, with_ties=True), "with_ties"),
        (
            sa.schema.CreateTable(
                sa.Table(
                    "t", sa.MetaData(), sa.Column("a", sa.Integer, sa.Computed("1", persisted=True))
                )
            ),
            "persisted",
        ),
    ],
)
def test_what_cannot_be_done_fails(memory: sa.Engine, query: Any, message: str) -> None:
    with pytest.raises(sa.exc.CompileError, match=message):
        query.compile(memory)


# -- tables that connections share ---------------------------------------------------------------


def test_a_local_insert_that_reads_a_server_is_rolled_back_without_a_warning(
    engine: sa.Engine,
) -> None:
    with engine.connect() as connection, warnings.catch_warnings():
        warnings.simplefilter("error")
        connection.exec_driver_sql("CREATE TABLE kept (PatientID VARCHAR)")
        connection.commit()
        fill = f"INSERT INTO kept SELECT PatientID FROM {HEALTHCARE}.studies"
        assert connection.exec_driver_sql(fill).rowcount > 0
        connection.rollback()
        assert connection.scalar(sa.text("SELECT count(*) FROM kept")) == 0


@pytest.mark.parametrize("database", [":memory:cohorts", "{}/own.duckdb"])
def test_threads_share_the_tables_of_a_named_database(tmp_path: Path, database: str) -> None:
    engine = sa.create_engine("dicomsql://?database=" + database.format(tmp_path))
    assert isinstance(engine.pool, sa.pool.QueuePool)
    metadata = sa.MetaData(schema="reports")
    rows = sa.Table("rows", metadata, sa.Column("id", sa.Integer, primary_key=True))
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema("reports"))
        metadata.create_all(connection)

        def write() -> None:
            with engine.begin() as other:
                other.execute(sa.insert(rows), [{"id": 10}, {"id": 11}])

        connection.commit()
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        with engine.begin() as again:
            again.execute(sa.update(rows).where(rows.c.id == 10).values(id=12))
            assert list(again.scalars(sa.select(rows.c.id).order_by("id"))) == [11, 12]
    assert sa.inspect(engine).has_table("rows", schema="reports")
    engine.dispose()


# -- what other tools rely on ---------------------------------------------------------------------


def test_rowcounts_outlive_their_cursors(memory: sa.Engine) -> None:
    rows = sa.Table("rows", sa.MetaData(), sa.Column("n", sa.Integer))
    rows.create(memory)
    with memory.begin() as connection:
        one = connection.execute(sa.insert(rows).values(n=1))
        many = connection.execute(sa.insert(rows), [{"n": 2}, {"n": 3}])
        copied = connection.execute(sa.insert(rows).from_select(["n"], sa.select(rows)))
        assert (one.rowcount, many.rowcount, copied.rowcount) == (1, 2, 3)
    assert pd.DataFrame({"a": range(7)}).to_sql("seven", memory, index=False, chunksize=3) == 7
    assert pl.DataFrame({"a": [1, 2]}).write_database("two", memory) == 2


def test_an_alias_has_the_columns_of_star(engine: sa.Engine) -> None:
    studies = table(engine, "studies")
    usual = len(sa.select(studies).selected_columns)
    renamed = studies.alias("s")
    for query in (renamed, renamed.alias()):
        assert len(sa.select(query).selected_columns) == usual
    assert len(sa.select(sa.tablesample(studies, 50)).selected_columns) == usual
    # What a subquery has was chosen.
    chosen = sa.select(renamed.c.projectsId, renamed.c.PatientID)
    for query in (chosen.subquery(), chosen.cte(), chosen.subquery().alias()):
        assert sa.select(query).selected_columns.keys() == ["projectsId", "PatientID"]
    with engine.connect() as connection:
        assert connection.scalar(sa.select(renamed.c.projectsId).limit(1)) == "p"


LITERALS = [
    *(b"\0a'\\", 0.1, 1e300, float("inf"), decimal.Decimal("1E+3"), "it's"),
    *(datetime.date(2020, 2, 29), datetime.time(1, 2, 3, 4)),
    *(
        datetime.datetime(2020, 1, 2, 3, 4, 5, 6),
        datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
    ),
]


@pytest.mark.parametrize("value", LITERALS, ids=repr)
def test_a_literal_is_of_its_type(memory: sa.Engine, value: object) -> None:
    query = sa.select(sa.literal(value)).compile(memory, compile_kwargs={"literal_binds": True})
    with memory.connect() as connection:
        found = connection.exec_driver_sql(str(query)).scalar()
        assert (type(found), found) == (type(value), value)


def test_literals_of_other_types(memory: sa.Engine) -> None:
    values = [
        (sa.literal(uuid.UUID(int=5)), "UUID '00000000-0000-0000-0000-000000000005'"),
        (sa.literal({"a": "it's"}, sa.JSON), "'{\"a\": \"it''s\"}'::JSON"),
        (sa.literal([datetime.date(2020, 1, 2)], sa.ARRAY(sa.Date)), "[DATE '2020-01-02']"),
        (sa.literal(datetime.timedelta(hours=2)), "TIMESTAMP '1970-01-01 02:00:00'"),
        (sa.literal(float("nan")), "'nan'::DOUBLE"),
    ]
    for value, text in values:
        made = value.compile(memory, compile_kwargs={"literal_binds": True})
        assert str(made) == text
        with memory.connect() as connection:
            connection.exec_driver_sql(f"SELECT {text}")


def test_samples_and_casts_that_may_fail(memory: sa.Engine) -> None:
    rows = sa.Table("rows", sa.MetaData(), sa.Column("n", sa.Integer))
    rows.create(memory)
    with memory.begin() as connection:
        connection.execute(sa.insert(rows), [{"n": n} for n in range(10)])
        for share, number in ((100, 10), (0, 0)):
            some = sa.tablesample(rows, sa.func.bernoulli(share), seed=sa.literal(5))
            assert connection.scalar(sa.select(sa.func.count()).select_from(some)) == number
        assert connection.scalar(sa.select(sa.try_cast(sa.literal("x"), sa.Integer))) is None


def test_what_transactions_lack_is_said(memory: sa.Engine) -> None:
    with memory.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (a INTEGER)")
        with pytest.raises(sa.exc.NotSupportedError, match="savepoints"):
            connection.begin_nested()
    assert sa.inspect(memory).has_table("kept")
    with memory.connect() as connection:
        with pytest.raises(sa.exc.NotSupportedError, match="two phases"):
            connection.begin_twophase()
        assert connection.recover_twophase() == []


def test_materialized_views_are_reflected(memory: sa.Engine) -> None:
    with memory.begin() as connection:
        connection.exec_driver_sql("CREATE MATERIALIZED VIEW kept AS SELECT 1 AS a")
        connection.exec_driver_sql("CREATE VIEW seen AS SELECT 1 AS a")
    found = sa.inspect(memory)
    assert found.get_materialized_view_names() == ["kept"]
    assert found.get_view_names() == ["seen"]
    assert found.get_view_definition("kept") == "SELECT 1 AS a"


def test_literals_of_a_statement_stay_out_of_errors(filled_root: Path) -> None:
    for shown in (False, True):
        url = f"dicomsql://{PLACE}?local={filled_root}&show_phi={str(shown).lower()}"
        made = sa.create_engine(url)
        with made.connect() as connection, pytest.raises(sa.exc.ProgrammingError) as caught:
            connection.exec_driver_sql("SELECT nothing FROM range(1) WHERE 'Doe^J' = 'x'")
        assert ("Doe^J" in str(caught.value).partition("[SQL:")[2]) is shown
        made.dispose()


def test_more_threads_than_the_pool_has_places_lose_nothing() -> None:
    engine = sa.create_engine("dicomsql://", pool_size=2)
    together = threading.Barrier(6)
    failed: list[Exception] = []

    def work() -> None:
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE TABLE own AS SELECT 5 AS a")
            together.wait()
            with engine.begin() as connection:
                assert connection.exec_driver_sql("SELECT a FROM own").scalar() == 5
            together.wait()
        except (sa.exc.SQLAlchemyError, AssertionError, threading.BrokenBarrierError) as error:
            together.abort()
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    # The connections of threads that have ended are closed by the next new one.
    with engine.connect():
        assert len(engine.pool._all_conns) == 1  # type: ignore[attr-defined]
    engine.dispose()


def test_alembic_migrates_local_tables() -> None:
    migration = pytest.importorskip("alembic.migration")
    from alembic.autogenerate import compare_metadata
    from alembic.operations import Operations

    engine = sa.create_engine("dicomsql://")
    metadata = sa.MetaData()
    sa.Table(
        "notes",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("note", sa.String, server_default="none"),
    )
    with engine.begin() as connection:
        metadata.create_all(connection)
        options = {"compare_server_default": True, "compare_type": True}
        context = migration.MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        operations = Operations(context)
        operations.add_column("notes", sa.Column("more", sa.Integer, server_default="3"))
        operations.alter_column("notes", "note", new_column_name="text")
        connection.exec_driver_sql("INSERT INTO notes (id) VALUES (1)")
        assert connection.exec_driver_sql("SELECT text, more FROM notes").one() == ("none", 3)
        ((kind, *_), *_) = compare_metadata(context, metadata)
        assert kind == "add_column"
    engine.dispose()


def test_a_delete_returns_what_it_was_told(filled_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(filled_root, tmp_path / "own")
    engine = engine_on(root)
    instances = table(engine, "instances")
    uid = instances.c.SOPInstanceUID
    with engine.begin() as connection:
        first = connection.scalar(sa.select(uid).limit(1))
        gone = sa.delete(instances).where(uid == first)
        with pytest.raises(sa.exc.ProgrammingError, match="read before, by a SELECT"):
            connection.execute(gone.returning(instances.c.Modality))
        assert connection.execute(gone.returning(uid, instances.c.instancesId)).all() == [
            (first, first)
        ]
        assert connection.execute(sa.select(uid).where(uid == first)).all() == []
    engine.dispose()
