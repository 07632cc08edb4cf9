"""Where files go: whatever the values are, below the folder and by names that any system takes."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomsql.copying.folder import Folder
from dicomsql.copying.layout import LONGEST, Layout, folded
from dicomsql.errors import InterfaceError

HOSTILE = st.one_of(
    st.text(max_size=400),
    st.text("./\\ \0:~-_a\u0301\u00e9\u202e\ud800\ue000\u0378", max_size=30),
    st.sampled_from(["..", ".", "", "/etc/passwd", "C:\\x", "CON", "nul.txt", "LPT1 ", "a" * 300]),
    st.none(),
)


def test_plain_values_stay_what_they_are() -> None:
    layout = Layout("{PatientID}/{StudyInstanceUID}/x-{SOPInstanceUID}.dcm")
    assert layout.names == ("PatientID", "StudyInstanceUID", "SOPInstanceUID")
    values = {"PatientID": "A 7", "StudyInstanceUID": "1.2", "SOPInstanceUID": "1.2.3"}
    assert str(layout.path(values)) == "A 7/1.2/x-1.2.3.dcm"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("a/b\\c", "a_b_c"),
        ("..", "__"),
        (".", "_"),
        ("../../x", "_._.._x"),
        (".ssh", "_ssh"),
        ("a. .", "a___"),
        ("a\0b\n\x7fc", "a_b__c"),
        ('a:b*c?d"e<f>g|', "a_b_c_d_e_f_g_"),
        ("con", "_con"),
        ("Com1.x", "_Com1.x"),
        ("console", "console"),
        ("e\u0301", "\u00e9"),
        ("\u202egpj", "_gpj"),
        ("\ue000a\u0378", "_a_"),
        ("\ud800", "_"),
        ("", "_"),
        (None, "_"),
    ],
)
def test_values_are_made_safe(value: str | None, name: str) -> None:
    assert str(Layout("{x}").path({"x": value})) == name


def test_long_names_are_shortened_and_stay_apart() -> None:
    one, other = (Layout("{x}.dcm").path({"x": "\u00e9" * 299 + end}) for end in "ab")
    assert one != other
    assert all(
        len(str(path).encode()) <= LONGEST and path.suffix == ".dcm" for path in (one, other)
    )


@given(HOSTILE, HOSTILE)
def test_no_value_leaves_its_place(first: str | None, second: str | None) -> None:
    path = Layout("{a}/in/{b}-{a}.dcm").path({"a": first, "b": second})
    assert len(path.parts) == 3
    assert path.parts[1] == "in"
    for name in path.parts:
        encoded = name.encode()
        assert 0 < len(encoded) <= LONGEST
        assert unicodedata.is_normalized("NFC", name)
        assert not set('/\\:*?"<>|\0') & set(name)
        assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn"} for c in name)
        assert name[0] != "." and name[-1] not in ". "
        assert not PureWindowsPath(name).is_reserved()


@given(HOSTILE)
def test_every_path_can_be_written(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    base = tmp_path_factory.getbasetemp() / "written"
    path = Layout("{x}/{x}.dcm").path({"x": value})
    landing = Folder(base).begin(path)
    landing.write(b"x")
    landing.publish()
    written = base / path
    assert written.read_bytes() == b"x"
    assert written.resolve().is_relative_to(base.resolve())
    written.unlink()


@pytest.mark.parametrize(
    ("one", "other"), [("a/B.dcm", "A/b.dcm"), ("\u00e9", "E\u0301"), ("\u00df", "SS")]
)
def test_paths_that_some_systems_take_for_one(one: str, other: str) -> None:
    assert folded(PurePosixPath(one)) == folded(PurePosixPath(other))


@pytest.mark.parametrize("template", ["/a", "a/", "", "../a", "a/../b", "{a", "a}b"])
def test_templates_that_are_no_path(template: str) -> None:
    with pytest.raises(InterfaceError):
        Layout(template)


def test_the_folder_is_made_and_nothing_else(tmp_path: Path) -> None:
    Folder(tmp_path / "a" / "b")
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == ["a", "a/b"]
