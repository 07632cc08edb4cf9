"""The page of `html` in a browser: sorts, filters, enlarges, loads nothing, and survives its rows.

Debian's packages: `chromium chromium-driver`.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import time
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options as ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from dicomsql import output
from dicomsql.output import Options
from dicomsql.result import Result, ResultColumn, ScanStatistics, Statistics

PATIENCE = 30
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

HOSTILE = (
    "</script><script>window.hit=1</script>",
    "<!--",
    "<img src=x onerror=window.hit=1>",
    "]]>\u2028'\"`\\",
    "\u202egnp.exe\x1b[2J",
)


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "white").save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if BROWSER is None or DRIVER is None:
        reason = "Chromium is not installed (apt-get install chromium chromium-driver)"
        if os.environ.get("CI") == "true" and os.environ.get("DICOMSQL_WITHOUT_CHROMIUM") != "1":
            pytest.fail(f"{reason}; DICOMSQL_WITHOUT_CHROMIUM=1 runs the tests without it.")
        pytest.skip(reason)
    options = ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--disable-background-networking", "--no-first-run", "--window-size=1000,700"),
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield started
    finally:
        started.quit()


class Page:
    """A result as a page that is open in the browser."""

    def __init__(
        self,
        driver: webdriver.Chrome,
        file: Path,
        columns: dict[str, str],
        arrays: Sequence[pa.Array],
    ) -> None:
        self.driver = driver
        shown = tuple(ResultColumn(name, kind) for name, kind in columns.items())
        batch = pa.RecordBatch.from_arrays(list(arrays), names=list(columns))
        statistics = Statistics(
            requests=3,
            bytes_received=12_000,
            notes=["<b>2 studies were left out."],
            scans=[ScanStatistics("s", "google.healthcare.studies", "")],
        )
        with file.open("wb") as stream:
            options = Options(statement=f"SELECT 1 -- {HOSTILE[0]}", statistics=statistics)
            output.write(Result(shown, iter([batch])), "html", stream, options)
        driver.get_log("performance")
        driver.get(file.as_uri())

    def find(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def column(self, number: int) -> list[str]:
        """The cells of a column as they are seen."""
        script = (
            "return [...document.querySelectorAll('tbody tr:not(.space)')]"
            ".map(row => row.cells[arguments[0]].innerText)"
        )
        return list(self.driver.execute_script(script, number))

    def sort(self, number: int) -> list[str]:
        """Press a column's head; its cells then."""
        self.all("th button")[number].click()
        return self.column(number)

    def filter(self, text: str, column: int | None = None) -> str:
        """Type into the box of a column, or of all; what is said of the rows then."""
        box = self.find("#tools input") if column is None else self.all(".filters input")[column]
        before = self.find("[role=status]").text
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(text or Keys.DELETE)
        self.wait(lambda: self.find("[role=status]").text != before)
        return self.find("[role=status]").text

    def wait(self, holds: object) -> None:
        assert callable(holds)
        WebDriverWait(self.driver, PATIENCE, poll_frequency=0.02).until(lambda _: holds())

    def requests(self) -> list[str]:
        """The addresses that the page asked for; those of the browser's own first page apart."""
        entries = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        return [
            entry["params"]["request"]["url"]
            for entry in entries
            if entry["method"] == "Network.requestWillBeSent"
            and entry["params"]["documentURL"] == self.driver.current_url
        ]


@pytest.fixture
def small(driver: webdriver.Chrome, tmp_path: Path) -> Page:
    columns = {
        "text": "VARCHAR",
        "n": "HUGEINT",
        "day": "DATE",
        "at": "TIMESTAMP WITH TIME ZONE",
        "doc": "JSON",
        "preview": "BLOB",
        "time": "TIME",
    }
    clock = ["09:00:00", "09:30:00", None, "08:05:00", None]
    numbers = ["10", "9", None, "-3", "9007199254740993"]
    days = ["2026-01-02", None, "2025-12-31", "2026-01-02", "0999-01-01"]
    times = ["2026-01-01 12:00:00.500Z", "2026-01-01 12:00:00Z", None, "2026-01-01 11:00:00Z", None]
    arrays = [
        pa.array(HOSTILE),
        pa.array(numbers).cast(pa.decimal128(20, 0)),
        pa.array(days).cast(pa.date32()),
        pa.array(times).cast(pa.timestamp("ms", "UTC")),
        pa.array(['{"a":[1,"</pre>"]}' + " " * 300, None, "1", "2", "3"]),
        pa.array([picture(), None, b"abc", picture(), picture()], pa.binary()),
        pa.array([None if t is None else time.fromisoformat(t) for t in clock], pa.time64("us")),
    ]
    return Page(driver, tmp_path / "small.html", columns, arrays)


def test_values_are_seen_as_they_are_and_nothing_is_loaded_or_run(small: Page) -> None:
    shown = [*HOSTILE[:3], "]]>\\u2028'\"`\\", "\\u202egnp.exe\\x1b[2J"]
    assert small.column(0) == shown
    assert small.driver.execute_script("return window.hit") is None
    assert small.driver.title == small.find("h1").text == "google.healthcare.studies"
    assert small.find("header pre").text == f"SELECT 1 -- {HOSTILE[0]}"
    assert "<b>2 studies were left out." in small.find("footer").text
    assert "5 rows · 3 requests" in small.find("footer").text
    assert not small.find("#torn").is_displayed()
    assert small.find("td.null").text == "NULL"
    assert small.column(5)[2] == "3 bytes"
    asked = small.requests()
    assert [url for url in asked if not url.startswith("data:image/png;base64,")] == [
        small.driver.current_url
    ]
    assert small.driver.get_log("browser") == []
    # The policy, and not only that the page asks for nothing: a picture from elsewhere is refused.
    small.driver.execute_script(
        "const image = document.createElement('img');"
        "image.src = 'http://127.0.0.1:9/x.png'; document.body.append(image)"
    )
    said: list[str] = []
    small.wait(lambda: said.extend(e["message"] for e in small.driver.get_log("browser")) or said)
    assert "Content Security Policy" in said[0]


def test_columns_sort_by_their_type_with_null_last(small: Page) -> None:
    assert small.sort(1) == ["-3", "9", "10", "9007199254740993", "NULL"]
    assert small.all("th")[1].get_attribute("aria-sort") == "ascending"
    assert small.sort(1) == ["9007199254740993", "10", "9", "-3", "NULL"]
    assert small.sort(1) == ["10", "9", "NULL", "-3", "9007199254740993"]
    assert small.all("th")[1].get_attribute("aria-sort") is None
    times = small.sort(3)
    assert times[:3] == [
        "2026-01-01 11:00:00Z",
        "2026-01-01 12:00:00Z",
        "2026-01-01 12:00:00.500Z",
    ]
    # Rows of one day stay in the order of their times.
    small.all("th button")[2].send_keys(Keys.ENTER)
    assert small.column(2) == ["0999-01-01", "2025-12-31", "2026-01-02", "2026-01-02", "NULL"]
    assert small.column(1)[2:4] == ["-3", "10"]


def test_rows_are_filtered_by_text_number_time_and_null(small: Page) -> None:
    assert small.filter("ONERROR") == "1 of 5 rows"
    assert small.column(0) == [HOSTILE[2]]
    assert small.filter("") == "5 rows"
    for column, asked, found in (
        (1, ">= 10", ["10", "9007199254740993"]),
        (1, "-5 .. 9", ["9", "-3"]),
        (1, "null", ["NULL"]),
        (1, "90", ["9007199254740993"]),
        (2, "2026", ["2026-01-02", "2026-01-02"]),
        (2, "<=2025-12", ["2025-12-31", "0999-01-01"]),
        (2, "2025..2026-01", ["2026-01-02", "2025-12-31", "2026-01-02"]),
        (2, "2025-12..2026-1", ["2026-01-02", "2025-12-31", "2026-01-02"]),
        (2, "..2025", ["2025-12-31", "0999-01-01"]),
        (2, ">2026-1-1", ["2026-01-02", "2026-01-02"]),
        (3, ">2026-1-1 11:59", ["2026-01-01 12:00:00.500Z", "2026-01-01 12:00:00Z"]),
        (3, "=2026-01-01T12:0:0.50", ["2026-01-01 12:00:00.500Z"]),
        (6, ">9:00", ["09:30:00"]),
        (6, "8:5..9:30", ["09:00:00", "09:30:00", "08:05:00"]),
        (6, "=9", ["09:00:00", "09:30:00"]),
        (0, "=<!--", ["<!--"]),
    ):
        assert small.filter(asked, column) == f"{len(found)} of 5 rows", asked
        assert small.column(column) == found, asked
        small.filter("", column)
    # What is not understood is no condition, and is seen to be none.
    for column, asked in (
        *((1, ">"), (1, "=1,5"), (1, "..")),
        *((2, ">2026-13"), (2, "=1.2.2026"), (2, "2020-1..x"), (2, "=2026-01-01 9:00")),
        *((3, ">9:00"), (3, ">2026-01 9:00"), (6, "<25:00")),
    ):
        assert small.filter(asked, column) == "5 rows; 1 filter is not understood", asked
        box = small.all(".filters input")[column]
        assert box.get_attribute("aria-invalid") == "true"
        assert "Not understood" in str(box.get_attribute("title"))
        small.filter("", column)
    # Boxes hold together.
    small.filter("2026", 2)
    assert small.filter("-3", 1) == "1 of 5 rows"


def test_only_the_rows_scroll_and_numbers_that_are_null_stand_with_numbers(
    driver: webdriver.Chrome, tmp_path: Path
) -> None:
    texts, numbers = pa.array([f"a\tb{i}" for i in range(300)]), pa.array([None, *range(299)])
    columns = {"text": "VARCHAR", "n": "BIGINT", "again": "VARCHAR"}
    page = Page(driver, tmp_path / "long.html", columns, [texts, numbers, texts])
    whole = page.find("html")
    assert whole.get_property("scrollHeight") <= whole.get_property("clientHeight")
    assert page.find("footer").is_displayed()
    driver.execute_script("document.getElementById('view').scrollTop = 1e6")
    assert page.all("th button")[1].is_displayed()
    assert page.column(0)[0] == "a\tb0"
    assert page.find("td.null").value_of_css_property("text-align") == "right"
    assert page.filter("null", 1) == "1 of 300 rows"


def test_pictures_and_long_values_open_and_close_by_the_keyboard(small: Page) -> None:
    opener = small.find("button.picture")
    assert opener.get_attribute("aria-label") == f"Enlarge PNG, {len(picture()):,} bytes"
    opener.send_keys(Keys.ENTER)
    image = small.find("dialog[open] img")
    assert image.size["width"] > opener.find_element(By.TAG_NAME, "img").size["width"]
    assert small.driver.execute_script("return arguments[0].naturalWidth", image) == 64
    small.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    small.wait(lambda: not small.all("dialog[open]"))
    small.find("button.more").click()
    assert json.loads(small.find("dialog[open] pre").text) == {"a": [1, "</pre>"]}
    small.find("dialog .close").click()
    assert not small.all("dialog[open]")


def test_a_hundred_thousand_rows_are_drawn_where_they_are_looked_at(
    driver: webdriver.Chrome, tmp_path: Path
) -> None:
    count = 100_000
    texts = [f"row {i}" if i != 77_777 else f"row {i} {HOSTILE[0]}" for i in range(count)]
    arrays = [pa.array(texts), pa.array([(i * 7919) % count for i in range(count)])]
    page = Page(driver, tmp_path / "large.html", {"text": "VARCHAR", "n": "BIGINT"}, arrays)
    assert page.find("[role=status]").text == "100,000 rows"
    assert len(page.column(0)) < 200
    assert page.find("table").get_attribute("aria-rowcount") == "100001"
    driver.execute_script("const v = document.getElementById('view'); v.scrollTop = 1e9")
    page.wait(lambda: page.column(0)[-1] == "row 99999")
    assert page.all("tr[aria-rowindex='100001']")
    # What is seen is where it stands among the rows.
    driver.execute_script(
        "const v = document.getElementById('view');"
        "v.scrollTop = 50000 * document.querySelector('[aria-rowindex]').offsetHeight"
    )
    page.wait(lambda: "row 50000" in page.column(0))
    top = "return arguments[0].getBoundingClientRect().top"
    head = driver.execute_script(
        "return document.querySelector('thead').getBoundingClientRect().bottom"
    )
    row = page.find("tr[aria-rowindex='50002']")
    assert abs(driver.execute_script(top, row) - head) < 3 * row.size["height"]
    page.sort(1)
    assert page.column(1)[:3] == ["0", "1", "2"]
    assert page.filter("row 77777") == "1 of 100,000 rows"
    assert page.column(0) == [texts[77_777]]
    assert driver.execute_script("return window.hit") is None
    assert driver.get_log("browser") == []


def test_a_page_is_read_without_scripts_and_on_a_phone(
    driver: webdriver.Chrome, tmp_path: Path
) -> None:
    arrays = [pa.array(["CT", "MR", None]), pa.array([5, -2, 1])]
    columns = {"Modality": "VARCHAR", "n": "BIGINT"}
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 640, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        page = Page(driver, tmp_path / "plain.html", columns, arrays)
        assert [cell.text for cell in page.all("tbody td")] == ["CT", "5", "MR", "-2", "NULL", "1"]
        assert page.all("th button") == []
        # The chart of two columns.
        assert page.find("figure summary").text == "n by Modality"
        assert len(page.all("figure rect")) == 3
        whole = page.find("html")
        assert int(whole.get_property("scrollWidth")) <= 360
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
