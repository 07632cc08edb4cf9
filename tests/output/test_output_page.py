"""The page of `html` as text: what it is allowed, how it escapes, that it streams and is whole."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tracemalloc
from collections.abc import Iterator
from html.parser import HTMLParser

import pyarrow as pa
import pytest

from dicomsql import output
from dicomsql.errors import OperationalError
from dicomsql.output import Options
from dicomsql.result import Result, ResultColumn, ScanStatistics, Statistics

HOSTILE = [
    "</script><script>x()</script>",
    "<!-- <script>",
    '" onload="x()',
    "' & &amp;",
    "\u2028\u2029\u202e\u2066\x00\x1b",
    "a\nb\tc",
]


class Outline(HTMLParser):
    """A page's elements with their attributes, and the texts of cells and blocks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.cells: list[str] = []
        self.blocks: list[str] = []
        self._into: list[str] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._into = None
        if tag == "td":
            self._into = self.cells
        elif tag == "script" and ("type", "application/json") in attrs:
            self._into = self.blocks
        if self._into is not None:
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into[-1] += data


def result_of(texts: list[str | None], pieces: int = 1) -> Result:
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.string())], ["text"])
    return Result((ResultColumn("text", "VARCHAR"),), (batch for _ in range(pieces)))


def page(result: Result, **options: object) -> str:
    stream = io.BytesIO()
    output.write(result, "html", stream, Options(**options))  # type: ignore[arg-type]
    return stream.getvalue().decode()


SEEN = [
    *HOSTILE[:4],
    "\\u2028\\u2029\\u202e\\u2066\\x00\\x1b",
    "a\nb\tc",
]


def test_values_are_text_in_rows_and_in_blocks() -> None:
    plain = Outline(page(result_of(list(HOSTILE))))
    assert plain.cells == SEEN
    assert plain.blocks == []
    # Two of the page's own: style and script, and the style of the whole page.
    assert plain.tags.count("script") == 1
    long = page(result_of([*["x"] * 2000, *HOSTILE, None]))
    outline = Outline(long)
    assert outline.cells == ["x"] * 2000
    (block,) = outline.blocks
    assert json.loads(block) == [[text] for text in SEEN] + [[None]]
    assert not set("<>&\u2028\u2029") & set(block)
    assert outline.tags.count("script") == 2


def test_names_types_statement_notes_and_title_are_text() -> None:
    hostile = HOSTILE[0]
    column = ResultColumn(hostile, f"ENUM('{hostile}')")
    batch = pa.RecordBatch.from_arrays([pa.array(["x"])], ["t"])
    statistics = Statistics(
        notes=[hostile], scans=[ScanStatistics("a", "google.healthcare.studies", "")]
    )
    text = page(
        Result((column,), iter([batch])), statement=f"SELECT {hostile}", statistics=statistics
    )
    assert Outline(text).tags.count("script") == 1
    assert text.count("&lt;/script&gt;&lt;script&gt;x()&lt;/script&gt;") == 4
    assert "<title>google.healthcare.studies</title>" in text


def test_a_title_is_no_name_that_a_person_gave() -> None:
    text = page(result_of(["x"]), statement="SELECT * FROM smith_john", statistics=Statistics())
    assert "<title>Result</title>" in text


def test_the_policy_allows_the_pages_own_parts_alone() -> None:
    text = page(result_of(["x"]))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert {rules["base-uri"], rules["form-action"]} == {"'none'"}

    def hashes(tag: str) -> list[str]:
        parts = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [hashlib.sha256(part.encode()).digest() for part in parts]
        return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]

    assert rules["script-src"].split() == hashes("script")
    assert rules["style-src"].split() == hashes("style")
    # Nothing that names an address, and no code or style in an attribute.
    outline = Outline(text)
    named = {name for name, _ in outline.attributes}
    assert not {"href", "src", "style"} & named
    assert not [name for name in named if name.startswith("on")]
    assert "@import" not in text
    assert "url(" not in text


def test_pictures_are_in_the_page_and_other_bytes_are_counted() -> None:
    png = b"\x89PNG\r\n\x1a\n123"
    array = pa.array([png, b"<svg onload=x()>", None], pa.binary())
    batch = pa.RecordBatch.from_arrays([array], ["b"])
    text = page(Result((ResultColumn("b", "BLOB"),), iter([batch])))
    data = base64.b64encode(png).decode()
    assert f'<td><img alt="PNG, 11 bytes" src="data:image/png;base64,{data}"></td>' in text
    assert '<td class="bytes">16 bytes</td>' in text
    assert '<td class="null">NULL</td>' in text
    assert text.count("data:image") == 2  # the other is the script's


@pytest.mark.parametrize("count", [0, 1, 1999, 2000, 2001])
def test_every_row_is_in_the_page_once(count: int) -> None:
    text = page(result_of([f"r{i}" for i in range(count)]))
    outline = Outline(text)
    rows = outline.cells + [row[0] for block in outline.blocks for row in json.loads(block)]
    assert rows == [f"r{i}" for i in range(count)]
    assert f"<p>{count:,} row{'s' * (count != 1)} · written " in text
    assert ("<noscript><p>1 more rows" in text) == (count == 2001)


def test_a_page_whose_rows_failed_says_that_it_is_not_whole() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from result_of(["x"] * 3000).batches()
        raise OperationalError("The server is gone.")

    stream = io.BytesIO()
    with pytest.raises(OperationalError):
        output.write(
            Result((ResultColumn("text", "VARCHAR"),), batches()), "html", stream, Options()
        )
    torn, whole = stream.getvalue().decode(), page(result_of(["x"]))
    said = '<p id="torn">This page is not whole: its writing was stopped.</p>'
    hidden = "<style>#torn{display:none}</style>"
    assert said in torn
    assert hidden not in torn
    assert said in whole
    assert hidden in whole


def test_rows_are_written_as_they_come_and_not_kept() -> None:
    class Counted:
        """A stream that keeps nothing, and is told how much was held at most."""

        size = 0

        def write(self, data: bytes) -> None:
            self.size += len(data)

        def flush(self) -> None: ...

    def held(pieces: int) -> tuple[int, int]:
        stream = Counted()
        tracemalloc.start()
        output.write(result_of(["a text of a row"] * 8192, pieces), "html", stream, Options())
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most, stream.size

    few, many = held(2), held(12)
    assert many[1] > 5 * few[1]
    assert many[0] < 1.3 * few[0]


def test_a_result_of_two_columns_has_its_chart() -> None:
    arrays = [pa.array(["<CT>", "MR", None]), pa.array([5.0, -2.5, float("nan")])]
    batch = pa.RecordBatch.from_arrays(arrays, ["m", "n"])
    columns = (ResultColumn("m", "VARCHAR"), ResultColumn("n", "DOUBLE"))
    text = page(Result(columns, iter([batch])))
    figure = text[text.index("<figure>") : text.index("</figure>")]
    assert text.index("<figure>") < text.index("<table>")
    assert "n by m" in figure
    assert figure.count("<rect") == 2
    assert "<title>&lt;CT&gt;: 5</title>" in figure
    # A chart cannot be of such columns, and the page is no worse for it.
    assert "<figure>" not in page(result_of(["x", "y"]))
