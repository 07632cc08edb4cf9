"""Pictures and charts in the shell on a terminal: what its screen shows of a real image."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from terminal import Terminal

from dicomsql.session import Session

PLACE = ["--project", "p", "--location", "us-central1", "--dataset", "d", "--store", "s"]
CT = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"


@pytest.fixture
def rendered(filled: Session) -> Image.Image:
    """The server's picture of the instance."""
    (statement,) = filled.parse(
        f"SELECT preview FROM google.healthcare.instances WHERE SOPInstanceUID = '{CT}'"
    )
    (batch,) = filled.execute(statement).batches()
    return Image.open(io.BytesIO(batch.column(0)[0].as_py())).convert("RGB")


def halves(terminal: Terminal) -> tuple[int, list[list[int]]]:
    """Where blocks begin on the screen, and the gray of each of their halves."""
    buffer = terminal._screen.buffer
    lines = [y for y, line in enumerate(terminal.lines()) if "▀" in line]
    first = terminal.lines()[lines[0]]
    left, right = first.index("▀"), first.rindex("▀")
    grays = []
    for y in lines:
        cells = [buffer[y][x] for x in range(left, right + 1)]
        grays += [[int(c.fg[:2], 16) for c in cells], [int(c.bg[:2], 16) for c in cells]]
    return left, grays


@pytest.mark.parametrize(("columns", "rows"), [(70, 40), (20, 24)])
def test_an_image_is_seen_in_blocks_and_a_plot_in_bars(
    columns: int, rows: int, filled_root: Path, tmp_path: Path, rendered: Image.Image
) -> None:
    arguments = ["shell", "--local", str(filled_root), *PLACE]
    home = tmp_path / "home"
    home.mkdir()
    with Terminal(
        arguments,
        home=home,
        columns=columns,
        rows=rows,
        environment={"COLORTERM": "truecolor", "TMUX": "", "STY": "", "DICOMSQL_PICTURES": ""},
    ) as terminal:
        terminal.wait_for_prompt()
        terminal.type(f"\\image {CT}\r")
        terminal.wait_for("(1 row")
        terminal.wait_for_prompt()
        _, grays = halves(terminal)
        assert len(grays) in {len(grays[0]), len(grays[0]) + 1}  # it is square
        assert len(grays[0]) > (10 if columns == 20 else 40)
        small = rendered.resize((len(grays[0]), len(grays[0])), Image.Resampling.LANCZOS)
        wanted = small.convert("L").tobytes()
        apart = [
            abs(gray - wanted[y * small.width + x])
            for y, line in enumerate(grays[: small.height])
            for x, gray in enumerate(line)
        ]
        assert max(apart) <= 40
        assert sum(apart) / len(apart) < 3
        terminal.type(
            "\\plot SELECT Modality, count(*) AS n FROM google.healthcare.instances GROUP BY ALL\r"
        )
        terminal.wait_for_pattern(r"n by Modality\n(.*█.*\n)+")
        terminal.wait_for_prompt()
        terminal.type("\\image 1.2.3.4\r")
        terminal.wait_for_pattern(r"There is no s")
        terminal.wait_for_prompt()
