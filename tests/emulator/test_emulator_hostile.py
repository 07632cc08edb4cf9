"""Files and requests that nobody sends by mistake: each is answered, and memory stays bounded."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from dicomsql.emulator import encoding, reading, storing
from dicomsql.emulator.folder import Folder
from dicomsql.emulator.status import StatusError

WEB = "/v1/projects/p/locations/us-central1/datasets/d/dicomStores/s/dicomWeb"
FIRST = WEB + "/studies/1/series/1/instances/1"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
UIDS = (
    (0x0008, 0x0016, b"1.2.840.10008.5.1.4.1.1.7\0"),
    (0x0008, 0x0018, b"1\0"),
    (0x0020, 0x000D, b"1\0"),
    (0x0020, 0x000E, b"1\0"),
)
MB = 1024 * 1024


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element in Explicit VR Little Endian; `length` is what it claims."""
    size = len(value) if length is None else length
    long = vr in {b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"OD"}
    head = struct.pack("<HH2s", group, number, vr)
    return head + (struct.pack("<HI", 0, size) if long else struct.pack("<H", size)) + value


def file(*elements: bytes, syntax: str = EXPLICIT) -> bytes:
    """A file with the UIDs, and more elements behind them."""
    meta = element(0x0002, 0x0010, b"UI", syntax.encode() + b"\0" * (len(syntax) % 2))
    return bytes(128) + b"DICM" + meta + dataset(*elements, implicit=syntax == IMPLICIT)


def dataset(*elements: bytes, implicit: bool = False) -> bytes:
    found = [
        struct.pack("<HHI", g, n, len(v)) + v if implicit else element(g, n, b"UI", v)
        for g, n, v in UIDS
    ]
    return b"".join([*found, *elements])


def deflated(content: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    head = file(syntax=DEFLATED)
    return head[: len(head) - len(dataset())] + packing.compress(content) + packing.flush()


def item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def detail(answer: Any) -> str:
    """Why the one part was refused."""
    assert answer.status_code == 409, answer.text
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [272]
    return str(failed["00090097"]["Value"][0])


def nested(depth: int, *, undefined: bool) -> bytes:
    content = element(0x0008, 0x0104, b"LO", b"x ")
    for _ in range(depth):
        if undefined:
            ends = struct.pack("<HHI", 0xFFFE, 0xE00D, 0), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
            begin = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
            content = begin + content + ends[0] + ends[1]
            content = element(0x0040, 0xA730, b"SQ", content, 0xFFFFFFFF)
        else:
            content = element(0x0040, 0xA730, b"SQ", item(content))
    return content


class TestStructure:
    @pytest.mark.parametrize("undefined", [False, True])
    def test_sequences_nested_ten_thousand_deep(self, emulator: Any, undefined: bool) -> None:
        # each level makes the next longer, so the definite form is tried at the depth that fits
        depth = 10_000 if undefined else 3_000
        answer = emulator.stow([file(nested(depth, undefined=undefined))])
        assert "nested more than" in detail(answer)
        assert emulator.stow([file(nested(20, undefined=undefined))]).status_code == 200

    def test_a_length_that_lies(self, emulator: Any) -> None:
        longer = element(0x7FE0, 0x0010, b"OW", bytes(10), 1_000_000)
        assert "7FE00010 is longer" in detail(emulator.stow([file(longer)]))
        fragment = item(bytes(8)) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFF00)
        encapsulated = element(0x7FE0, 0x0010, b"OB", fragment, 0xFFFFFFFF)
        refused = emulator.stow([file(encapsulated, syntax="1.2.840.10008.1.2.4.50")])
        assert "not complete" in detail(refused)

    def test_less_pixel_data_than_the_image_has(self, emulator: Any, make_dicom: Any) -> None:
        grey = {
            "Rows": 60_000,
            "Columns": 60_000,
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "SamplesPerPixel": 1,
            "PixelRepresentation": 0,
            "PhotometricInterpretation": "MONOCHROME2",
            "PixelData": bytes(32),
        }
        assert emulator.stow([make_dicom("1", "1", "1", **grey)]).status_code == 200
        for path in ("/frames/1", "/rendered"):
            answer = emulator.get(FIRST + path)
            assert answer.status_code == 406
            assert "larger than" in answer.text
        grey |= {"Rows": 60, "Columns": 60}
        assert emulator.stow([make_dicom("1", "1", "2", **grey)]).status_code == 200
        for path in ("/frames/1", "/rendered"):
            answer = emulator.get(FIRST[:-1] + "2" + path)
            assert answer.status_code == 406
            assert "cannot be decoded" in answer.text

    def test_a_frame_that_says_it_is_larger_than_the_image(
        self, emulator: Any, dicom_files: Path
    ) -> None:
        content = (dicom_files / "SC_rgb_jpeg_lossy_gdcm.dcm").read_bytes()
        at = content.index(b"\xff\xc0") + 5
        content = content[:at] + b"\xff\x00\xff\x00" + content[at + 4 :]
        url = emulator.stow([content]).json()["00081199"]["Value"][0]["00081190"]["Value"][0]
        for path, accept in (("/rendered", "*/*"), ("/frames/1", "*/*"), ("", "application/dicom")):
            answer = emulator.get(url + path, headers={"accept": accept})
            assert answer.status_code == 406
            assert "another size" in answer.text


class TestMemory:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Iterator[Folder]:
        opened = Folder(tmp_path / "root")
        yield opened
        opened.close()

    @pytest.fixture
    def peak(self) -> Iterator[Any]:
        tracemalloc.start()

        class Peak:
            """The bytes that were held at most since the start, beside those held then."""

            def start(self) -> None:
                tracemalloc.reset_peak()
                self.before = tracemalloc.get_traced_memory()[0]

            def __call__(self) -> int:
                return tracemalloc.get_traced_memory()[1] - self.before

        yield Peak()
        tracemalloc.stop()

    def test_a_bomb_in_a_deflated_data_set(
        self, folder: Folder, peak: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "_INFLATED", 32 * MB)
        bomb = deflated(dataset(element(0x7FE0, 0x0010, b"OW", bytes(64 * MB))))
        assert len(bomb) < MB
        refused = storing.receive(folder, [bomb])
        assert isinstance(refused, storing.Outcome)
        assert "once inflated" in refused.failure
        del bomb
        fine = deflated(dataset(element(0x7FE0, 0x0010, b"OW", bytes(16 * MB))))
        peak.start()
        taken = storing.receive(folder, [fine])
        assert isinstance(taken, storing.Upload)
        assert peak() < 8 * MB
        assert not list(folder.path("x").parent.parent.parent.glob("incoming/tmp*"))
        storing.discard([taken])

    @pytest.mark.parametrize("cut", [-3, -20])
    def test_a_deflated_data_set_that_is_cut_off(self, emulator: Any, cut: int) -> None:
        answer = emulator.stow([deflated(dataset(bytes(0)) * 50)[:cut]])
        assert "deflated data set is not complete" in detail(answer)

    def test_a_large_part_goes_through_in_pieces(
        self, folder: Folder, peak: Any, tmp_path: Path
    ) -> None:
        piece = bytes(MB)

        def content() -> Iterator[bytes]:
            yield file(element(0x7FE0, 0x0010, b"OW", b"", 64 * MB))
            for _ in range(64):
                yield piece

        peak.start()
        taken = storing.receive(folder, content())
        assert isinstance(taken, storing.Upload)
        assert taken.entry.size > 64 * MB
        assert peak() < 4 * MB
        storing.discard([taken])

    def test_numbers_and_texts_without_end(self, folder: Folder, peak: Any) -> None:
        # in Implicit VR, an attribute of any VR may be of any length
        values = struct.pack("<HHI", 0x0028, 0x0009, 12 * MB) + bytes(12 * MB)
        pixels = struct.pack("<HHI", 0x0028, 0x3006, 12 * MB) + bytes(12 * MB)
        content = [file(values, pixels, syntax=IMPLICIT)]
        peak.start()
        taken = storing.receive(folder, content)
        assert isinstance(taken, storing.Upload)
        assert taken.entry.dataset["00280009"]["BulkDataURI"].endswith("/bulkdata/00280009")
        assert peak() < 8 * MB
        storing.discard([taken])

    def test_elements_without_end(self, emulator: Any) -> None:
        many = [element(0x0011, n, b"UT", b"x" * 900_000) for n in range(0x1001, 0x1015)]
        assert "too large" in detail(emulator.stow([file(*many)]))


class TestLongSequences:
    @pytest.mark.parametrize("length", [None, 0xFFFFFFFF])
    def test_are_left_out_of_metadata_and_can_be_fetched(
        self, emulator: Any, length: int | None
    ) -> None:
        items = item(element(0x0040, 0xA160, b"UT", b"y" * 70_000)) * 20
        end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if length else b""
        short = element(0x0040, 0xA043, b"SQ", item(element(0x0008, 0x0104, b"LO", b"z ")))
        long = element(0x0040, 0xA730, b"SQ", items + end, length and 0xFFFFFFFF)
        if length is None:
            long = element(0x0040, 0xA730, b"SQ", items)
        content = file(short, long, element(0x0040, 0xA491, b"CS", b"COMPLETE"))
        assert emulator.stow([content]).status_code == 200
        (metadata,) = emulator.get(FIRST + "/metadata").json()
        assert metadata["0040A043"]["Value"] == [{"00080104": {"vr": "LO", "Value": ["z"]}}]
        assert metadata["0040A491"]["Value"] == ["COMPLETE"]
        sequence = metadata["0040A730"]
        assert sequence == {"vr": "SQ", "BulkDataURI": f"http://emulator{FIRST}/bulkdata/0040A730"}
        assert emulator.get(sequence["BulkDataURI"]).content == items
        (found,) = emulator.get(WEB + "/instances?includefield=all").json()
        assert "0040A730" not in found
        as_stored = {"accept": "application/dicom; transfer-syntax=*"}
        assert emulator.get(FIRST, headers=as_stored).content == content

    def test_one_of_undefined_length_has_to_end(self, emulator: Any) -> None:
        items = item(element(0x0040, 0xA160, b"UT", b"y" * 70_000)) * 20
        for content in (items, items + b"\xfe\xff\x00\xe0", items + bytes(8), b"\xfe\xff"):
            long = element(0x0040, 0xA730, b"SQ", content, 0xFFFFFFFF)
            assert "invalid DICOM file" in detail(emulator.stow([file(long)]))


class TestBulkData:
    def test_long_numbers_in_big_endian(self, emulator: Any, make_dicom: Any) -> None:
        numbers = np.arange(200_000, dtype="<f8")
        source = pydicom.dcmread(io.BytesIO(make_dicom("1", "1", "1")))
        source.add_new(0x00111001, "OD", numbers.tobytes())
        source.add_new(0x00110010, "LO", "US")
        out = io.BytesIO()
        source.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.2"
        source[0x00111001].value = numbers.astype(">f8").tobytes()
        pydicom.dcmwrite(out, source, implicit_vr=False, little_endian=False)
        assert emulator.stow([out.getvalue()]).status_code == 200
        answer = emulator.get(FIRST + "/bulkdata/00111001")
        assert answer.content == numbers.tobytes()
        assert answer.headers["content-length"] == str(len(answer.content))

    def test_of_a_deflated_data_set(self, emulator: Any) -> None:
        pixels = bytes(range(256)) * 64
        content = deflated(dataset(element(0x7FE0, 0x0010, b"OW", pixels)))
        assert emulator.stow([content]).status_code == 200
        assert emulator.get(FIRST + "/bulkdata/7FE00010").content == pixels


class TestSearches:
    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ({"PatientName": "x" * 5_000}, "more than 256 characters"),
            ({"PatientName": "x " * 2_500, "fuzzymatching": "true"}, "more than 256 characters"),
            ({"x" * 5_000: "1"}, "QIDO attribute: ?"),
            ({"limit": "1" * 5_000}, "limit must be"),
            ({"includefield": "x" * 5_000}, "QIDO attribute: ?"),
            ({"StudyDate": "٢٠٢٦٠١٠١"}, "StudyDate takes"),
            ({"includefield": "AvailableTransferSyntaxUID"}, "AvailableTransferSyntaxUID"),
        ],
    )
    def test_are_refused_with_a_sentence(
        self, emulator: Any, query: dict[str, str], message: str
    ) -> None:
        answer = emulator.get(WEB + "/studies", params=query)
        assert answer.status_code == 400
        assert message in answer.json()["error"]["message"]
        assert len(answer.text) < 1_000

    def test_many_words_of_a_name(self, emulator: Any, make_dicom: Any) -> None:
        emulator.stow([make_dicom("1", "1", "1", PatientName="Doe^John")])
        query = {"PatientName": "a " * 126 + "jo", "fuzzymatching": "true"}
        assert len(emulator.get(WEB + "/studies", params=query).json()) == 1

    def test_fields_without_end(self, emulator: Any, make_dicom: Any) -> None:
        emulator.stow([make_dicom("1", "1", "1", PatientID="P")])
        query = {"includefield": "PatientID," * 700}
        (found,) = emulator.get(WEB + "/studies", params=query).json()
        assert found["00100020"]["Value"] == ["P"]

    @pytest.mark.parametrize(
        ("characters", "name", "asked"),
        [
            ("ISO_IR 192", "Müller^Jürgen", "Müller^Jürgen"),
            ("ISO_IR 100", "Müller^Jürgen", "Müller^Jürgen"),
            ("ISO_IR 144", "Люкceмбypг", "Люкceмбypг"),
            (
                ["", "ISO 2022 IR 87"],
                "Yamada^Tarou=山田^太郎=やまだ^たろう",
                "Yamada^Tarou=山田^太郎=やまだ^たろう",
            ),
            (
                ["", "ISO 2022 IR 149"],
                "Hong^Gildong=洪^吉洞=홍^길동",
                "Hong^Gildong=洪^吉洞=홍^길동",
            ),
        ],
    )
    def test_names_in_all_character_sets(
        self, emulator: Any, make_dicom: Any, characters: Any, name: str, asked: str
    ) -> None:
        content = make_dicom("1", "1", "1", SpecificCharacterSet=characters, PatientName=name)
        assert emulator.stow([content]).status_code == 200
        (found,) = emulator.get(WEB + "/studies", params={"PatientName": asked}).json()
        assert "=".join(found["00100010"]["Value"][0].values()) == name
        word = asked.rsplit("=", maxsplit=1)[-1].split("^", maxsplit=1)[0][:2].upper()
        fuzzy = {"PatientName": word, "fuzzymatching": "true"}
        assert len(emulator.get(WEB + "/studies", params=fuzzy).json()) == 1
        (metadata,) = emulator.get(FIRST + "/metadata").json()
        assert metadata["00100010"] == found["00100010"]


def test_a_data_set_of_another_class_than_its_file_is_stored_with_a_warning(
    emulator: Any, make_dicom: Any
) -> None:
    parsed = pydicom.dcmread(io.BytesIO(make_dicom("1", "1", "1")))
    parsed.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    out = io.BytesIO()
    pydicom.dcmwrite(out, parsed)
    for accept in ("application/dicom+json", "*/*"):
        answer = emulator.stow([out.getvalue()], accept=accept)
        assert answer.status_code == 202
        if accept == "*/*":
            assert 'keyword="WarningReason"><Value number="1">45063<' in answer.text
        else:
            (stored,) = answer.json()["00081199"]["Value"]
            assert stored["00081196"] == {"vr": "US", "Value": [45063]}
    assert len(emulator.get(WEB + "/instances").json()) == 1


class TestCompressedBodies:
    def send(self, emulator: Any, content: bytes, encoding: str) -> Any:
        headers = {"content-type": "application/dicom", "content-encoding": encoding}
        return emulator.post(WEB + "/studies", content=content, headers=headers)

    def test_gzip_is_decoded(self, emulator: Any) -> None:
        content = file()
        members = gzip.compress(content[:100]) + gzip.compress(content[100:])
        assert self.send(emulator, members, "gzip").status_code == 200
        stored = emulator.get(FIRST, headers={"accept": "application/dicom; transfer-syntax=*"})
        assert stored.content == content
        labels = gzip.compress(b'{"labels": {"a": "b"}}')
        path = WEB.removesuffix("/dicomWeb") + "?updateMask=labels"
        answer = emulator.patch(path, content=labels, headers={"content-encoding": "gzip"})
        assert answer.json()["labels"] == {"a": "b"}

    def test_what_is_none(self, emulator: Any) -> None:
        packed = gzip.compress(file())
        assert self.send(emulator, file(), "gzip").status_code == 400
        assert self.send(emulator, packed[:-5], "gzip").status_code == 400
        assert self.send(emulator, packed, "br").status_code == 415
        assert self.send(emulator, packed, "gzip, gzip").status_code == 415
        assert emulator.get(WEB + "/studies").status_code == 204

    def test_one_that_comes_to_too_much(self) -> None:
        packed = gzip.compress(bytes(64 * MB))
        said = {"content-encoding": "gzip"}
        tracemalloc.start()
        try:
            with pytest.raises(StatusError, match="comes to more"):
                for _ in encoding.decoded(lambda: iter([packed]), said, 32 * MB):
                    pass
            assert tracemalloc.get_traced_memory()[1] < 4 * MB
        finally:
            tracemalloc.stop()
