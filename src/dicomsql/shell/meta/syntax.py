"""How statements are written, for `\\h`: a table of them, each with an example that parses."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["STATEMENTS", "Syntax"]


@dataclass(frozen=True, slots=True)
class Syntax:
    """How a statement is written.

    Attributes:
        does: what it does, in a line.
        syntax: its parts; [] for what may be left out, | for what can be chosen.
        example: of it.
    """

    does: str
    syntax: str
    example: str


STATEMENTS = {
    "SELECT": Syntax(
        "rows of resources, local tables and files, in DuckDB's SQL",
        """\
[WITH name AS (query), ...]
SELECT [DISTINCT] columns
FROM provider.service.resource [AS alias] [JOIN ... USING (...) | ON ...]
[WHERE conditions]   -- parameters too: projectsId = '...', dicomStoresId IN ('a', 'b')
[GROUP BY ...] [HAVING ...] [QUALIFY ...]
[ORDER BY ...] [LIMIT n [OFFSET m]]""",
        """\
SELECT StudyInstanceUID, StudyDate, PatientID
FROM google.healthcare.studies
WHERE dicomStoresId = 'archive' AND StudyDate >= '20260101' AND ModalitiesInStudy = 'CT'
ORDER BY StudyDate DESC LIMIT 20;""",
    ),
    "INSERT": Syntax(
        "makes resources, one call for each row",
        """\
INSERT INTO resource (parameters and body fields)
SELECT ... | VALUES (...), ...
[RETURNING columns]""",
        """\
INSERT INTO google.healthcare.dicom_stores (datasetsId, dicomStoreId, labels)
SELECT 'imaging', 'radiology', '{"env": "prod"}' RETURNING name;""",
    ),
    "UPDATE": Syntax(
        "changes fields of resources",
        """\
UPDATE resource SET field = value, object.member = value, ...
WHERE conditions
[RETURNING columns]""",
        """\
UPDATE google.healthcare.dicom_stores SET labels.env = 'test'
WHERE datasetsId = 'imaging' AND dicomStoresId = 'radiology';""",
    ),
    "REPLACE": Syntax(
        "puts resources as a whole",
        "REPLACE resource SET field = value, ... WHERE conditions [RETURNING columns]",
        """\
REPLACE google.healthcare.dicom_stores_iam_policies
SET policy = '{"bindings": [{"role": "roles/viewer", "members": ["user:a@example.org"]}]}'
WHERE datasetsId = 'imaging' AND dicomStoresId = 'radiology';""",
    ),
    "DELETE": Syntax(
        "deletes resources or instances; it says what would be lost, and asks",
        "DELETE [/*+ AWAIT */] FROM resource WHERE conditions [RETURNING columns]",
        """\
DELETE FROM google.healthcare.instances
WHERE dicomStoresId = 'archive' AND PatientID = '00123' AND Modality = 'SR';""",
    ),
    "EXEC": Syntax(
        "calls a method by its name",
        """\
EXEC [/*+ AWAIT */] resource.method
@parameter = value [, ...] [@@json = '{...}'] [@@file = 'path'] [@@output = 'path']
[RETURNING columns]   -- \\dm resource lists the methods""",
        """\
EXEC google.healthcare.dicom_stores.store_instances
@datasetsId = 'imaging', @dicomStoresId = 'radiology' @@file = 'image.dcm';""",
    ),
    "COPY FROM": Syntax(
        "stores files, or what another server has, in a DICOM store",
        """\
COPY instances FROM 'file, folder, glob or zip' | ['a', 'b/**'] | (query)
[(on_conflict 'fail' | 'skip' | 'replace', parallel n, journal 'path', parameter 'value', ...)]
[RETURNING columns]""",
        """\
COPY google.healthcare.instances FROM 'incoming/**/*.dcm'
(dicomStoresId 'archive', on_conflict 'skip');""",
    ),
    "COPY TO": Syntax(
        "writes a query's rows to a file, or the instances that it names into a folder",
        """\
COPY (query) TO 'file.csv | .parquet | .json'  [(FORMAT csv | parquet | json, ...)]
COPY (query with UIDs) TO 'folder' (FORMAT dicom | png | jpeg, ...)""",
        """\
COPY (
    SELECT StudyInstanceUID FROM google.healthcare.studies
    WHERE dicomStoresId = 'archive' AND StudyDate >= '20260101'
) TO 'out' (FORMAT dicom);""",
    ),
    "SHOW": Syntax(
        "lists providers, services, resources, methods, views",
        """\
SHOW PROVIDERS | VIEWS
SHOW [EXTENDED] SERVICES IN provider
SHOW [EXTENDED] RESOURCES IN provider.service
SHOW [EXTENDED] METHODS IN resource
SHOW INSERT INTO resource   -- an INSERT to fill in
    [LIKE 'pattern'] [WHERE condition]""",
        "SHOW RESOURCES IN google.healthcare LIKE 'dicom%';",
    ),
    "DESCRIBE": Syntax(
        "the columns of a resource, view, table or query, or what a method takes",
        """\
DESCRIBE [EXTENDED] resource [column, ... | LIKE 'pattern']
DESCRIBE METHOD [EXTENDED] resource.method
DESCRIBE SELECT ...""",
        "DESCRIBE EXTENDED google.healthcare.studies LIKE 'Patient%';",
    ),
    "EXPLAIN": Syntax(
        "what a statement would send, and what is done here; ANALYZE runs it",
        "EXPLAIN [ANALYZE | (FORMAT json)] statement",
        """\
EXPLAIN SELECT StudyInstanceUID FROM google.healthcare.studies
WHERE dicomStoresId = 'archive' AND StudyDate >= '20260101';""",
    ),
    "USE": Syntax(
        "the provider and service of names that have none",
        "USE provider[.service]",
        "USE google.healthcare;",
    ),
    "SET": Syntax(
        "a setting of the session, or a default of a parameter; \\set lists them",
        """\
SET name = value
RESET name""",
        "SET projectsId = 'my-project'; SET cache = '10m'; RESET cache;",
    ),
    "CREATE TABLE": Syntax(
        "a local table, in memory or in the file of --database",
        """\
CREATE [OR REPLACE] [TEMP] TABLE [IF NOT EXISTS] name AS query
CREATE TABLE name (column type, ...)""",
        """\
CREATE TABLE cohort AS
SELECT DISTINCT PatientID FROM google.healthcare.studies WHERE dicomStoresId = 'archive';""",
    ),
    "CREATE VIEW": Syntax(
        "a name for a query, or, materialized, for its rows",
        """\
CREATE [OR REPLACE] [TEMP] VIEW [IF NOT EXISTS] name AS query
CREATE MATERIALIZED VIEW name AS query
REFRESH MATERIALIZED VIEW name
DROP [MATERIALIZED] VIEW name""",
        """\
CREATE VIEW mammography AS
SELECT StudyInstanceUID, SeriesInstanceUID FROM google.healthcare.series WHERE Modality = 'MG';""",
    ),
    "BEGIN": Syntax(
        "a transaction of the local tables; what servers did is not taken back",
        """\
BEGIN
COMMIT | ROLLBACK""",
        "BEGIN; CREATE TABLE a AS SELECT 1 AS b; ROLLBACK;",
    ),
}
