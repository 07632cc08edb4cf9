"""COPY to a folder as pictures: every frame, each checked."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from retrieving_bench import PNG, Holder, Out, of_type
from storing_bench import dicom, uids_of

A, B = (dicom("1", "1.1", f"1.1.{n}") for n in (1, 2))


@pytest.fixture
def out(tmp_path: Path) -> Out:
    made = Out(tmp_path, Holder(frames={"1.1.2": 3}))
    made.holder.keep(A, B)
    return made


@pytest.mark.parametrize("told", [True, False])
def test_every_frame_is_a_picture(out: Out, told: bool) -> None:
    out.holder.told_frames = told
    rows = out.run([("1",)], format="png")
    assert {row["status"] for row in rows} == {"retrieved"}
    assert set(out.files()) == {
        "1/1.1/1.1.1.png",
        "1/1.1/1.1.2_1.png",
        "1/1.1/1.1.2_2.png",
        "1/1.1/1.1.2_3.png",
    }
    assert out.files()["1/1.1/1.1.2_3.png"] == PNG[:-12] + b"3" + PNG[-12:]
    assert "image/png" in out.holder.accepts
    out.holder.paths.clear()
    assert {row["status"] for row in out.run([("1",)], format="png")} == {"present"}
    assert not any("rendered" in path for path in out.holder.paths)


def test_layouts_get_the_frame(out: Out) -> None:
    out.run([("1",)], format="png", layout="{SOPInstanceUID}.d/{frame}")
    assert set(out.files()) == {"1.1.1.d/1", "1.1.2.d/1", "1.1.2.d/2", "1.1.2.d/3"}
    out.folder = out.folder.with_name("second")
    out.run([("1",)], format="png", layout="all.{SOPInstanceUID}")
    assert set(out.files()) == {"all.1.1.1", *(f"all.1.1.2_{n}" for n in (1, 2, 3))}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (of_type("image/png", PNG[:-4]), "no whole picture"),
        (of_type("image/png", b"<html>"), "no whole picture"),
        (of_type("image/jpeg", PNG), "image/jpeg instead of image/png"),
        (httpx.Response(406), "406"),
        (httpx.Response(204), "does not have it"),
    ],
    ids=range(5),
)
def test_what_is_no_picture_fails(out: Out, answer: httpx.Response, reason: str) -> None:
    def again() -> httpx.Response:
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    out.holder.gives("/rendered$", *[again] * 4)
    (row,) = out.run([uids_of(A)], format="png")
    assert row["status"] == "failed"
    assert reason in row["reason"]
    assert out.files() == {}
    out.holder.answers.clear()
    (row,) = out.run([uids_of(A)], format="png")
    assert (row["status"], row["bytes"]) == ("retrieved", len(PNG))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(httpx.Response(204), "how many frames"), (httpx.Response(404), "have it")],
)
def test_frames_that_cannot_be_counted_are_no_single_one(
    out: Out, answer: httpx.Response, reason: str
) -> None:
    out.holder.told_frames = False
    out.holder.gives("/metadata$", answer)
    (row,) = out.run([uids_of(B)], format="png")
    assert (row["status"], row["path"]) == ("failed", str(out.folder / "1/1.1/1.1.2.png"))
    assert reason in row["reason"]
