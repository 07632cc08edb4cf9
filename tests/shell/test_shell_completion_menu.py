"""The menu of completions on a terminal: it comes up, fills, is picked from, and fits."""

from __future__ import annotations

from pathlib import Path

from terminal import Terminal

PLACE = ["--project", "p", "--location", "us-central1"]
STORES = "SELECT * FROM google.healthcare.dicom_stores WHERE "


def test_the_menu_comes_up_fills_and_is_picked_from(filled_root: Path, tmp_path: Path) -> None:
    arguments = ["shell", "--local", str(filled_root), *PLACE]
    with Terminal(arguments, home=tmp_path, columns=100, rows=30) as terminal:
        terminal.wait_for_prompt()
        terminal.type("SELECT * FROM google.healthcare.dicom_st")
        terminal.wait_for("DICOM stores, which hold instances")
        # What all of them begin with.
        terminal.press("tab")
        terminal.wait_for("> SELECT * FROM google.healthcare.dicom_store ")
        terminal.type("s")
        terminal.wait_for("> SELECT * FROM google.healthcare.dicom_stores ")
        # What is required, and has no default, stands first.
        terminal.type(" where ")
        terminal.wait_for("required: The dataset's id")
        menu = [line.split()[0] for line in terminal.lines()[3:6]]
        assert menu[0] == "datasetsId"
        terminal.press("tab")
        terminal.wait_for("where datasetsId")
        # Its values come from the server, after what is typed.
        terminal.type(" = '")
        terminal.wait_for_pattern(r" d +datasets")
        terminal.press("tab", "enter")
        terminal.wait_for("where datasetsId = 'd'")
        terminal.type(";\r")
        terminal.wait_for("1 row")
        # The first Enter has taken what was picked, and no more.
        assert "error" not in terminal.text()


def test_what_is_on_its_way_holds_up_nobody(filled_root: Path, tmp_path: Path) -> None:
    """Nothing answers at that address for as long as the connection is tried."""
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        arguments = ["shell", "--endpoint", url, *PLACE]
        with Terminal(arguments, home=tmp_path, columns=20, rows=20) as terminal:
            terminal.wait_for_prompt()
            terminal.type("SELECT 1 AS datasetsId FROM google.healthcare.datasets WHERE ")
            terminal.type("datasetsId = '")
            connection, _ = silent.accept()
            with connection:
                terminal.press("c-c")
                terminal.wait_for_prompt()
                terminal.type("SELECT 'it' || ' goes on';\r")
                terminal.wait_for("it goes on")
                terminal.wait_for_prompt()
                terminal.press("c-d")
                assert terminal.wait() == 0
