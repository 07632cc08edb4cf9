"""Rules applied to a file: an instance in, the bytes of its de-identified copy out.

All that a reader would find is written anew: the preamble is empty, the file meta information has
only what it has to have, group lengths and what stands behind the data set are gone.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicomsql.emulator import images
from dicomsql.emulator.deidentify import burned, frames
from dicomsql.emulator.deidentify.config import Rules
from dicomsql.emulator.deidentify.phrases import Phrases, phrases_of, texts_of
from dicomsql.emulator.deidentify.tags import Action, basic_profile, vr_of
from dicomsql.emulator.deidentify.terms import is_term
from dicomsql.emulator.deidentify.texts import CONTEXT, LONGEST, info_type
from dicomsql.emulator.jobs import UnitError

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset
    from pydicom.dataelem import DataElement
    from pydicom.tag import BaseTag

__all__ = ["deidentified"]


def deidentified(path: Path, rules: Rules, key: bytes) -> bytes:
    """The de-identified copy of a stored file; the same bytes for the same arguments.

    Args:
        key: the operation's own; UIDs are made with it, so that nobody else can tell the old from
            the new ones.

    Raises:
        UnitError: the instance cannot be read, or not be made safe.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UnitError(f"the instance is larger than {_LARGEST} bytes")
        with images.quiet():
            import pydicom

            dataset = pydicom.dcmread(path)
            if rules.redact:
                burned.redact(dataset, path)
            return _Rewriting(dataset, rules, key).run(path)
    except images.CannotDecode as error:
        cause = type(error.__cause__ or error).__name__
        raise UnitError(
            f"the instance, or its pixels, cannot be read or written anew ({cause})"
        ) from None


_LARGEST = 1024**3  # bytes of a file; none is stored whose data set inflates to more


class _Rewriting:
    """One instance."""

    def __init__(self, dataset: FileDataset, rules: Rules, key: bytes) -> None:
        self._dataset = dataset
        self._rules = rules
        self._key = key
        self._owner = str(dataset.get("PatientID") or dataset.get("StudyInstanceUID") or "")
        uids = frozenset(self._mapped(dataset))
        self._uids = (
            re.compile(b"|".join(re.escape(uid.encode()) for uid in uids)) if uids else None
        )
        if rules.cleans:
            self._phrases = phrases_of(dataset, uids, self._uid)
        else:
            self._phrases = Phrases(frozenset(), uids=uids, new=self._uid)

    def run(self, path: Path) -> bytes:
        dataset = self._dataset
        if self._rules.strict:
            frames.tidy(dataset, path)
        else:
            frames.cut_tails(dataset)
        if self._rules.searches:
            self._check_pixels(dataset)
        self._apply(dataset)
        self._declare(dataset)
        return self._written(dataset)

    def _mapped(self, dataset: Dataset) -> Iterator[str]:
        """The UIDs that become others, wherever they stand."""
        left = [dataset]
        while left:
            item = left.pop()
            for tag in list(item.keys()):
                vr = item.get_item(tag).VR or vr_of(int(tag))
                if "UI" in {vr, vr_of(int(tag))}:
                    if self._rules.action(int(tag), vr) is Action.UID:
                        uids = (uid.strip("\0 ") for uid in texts_of(item[tag]))
                        yield from (uid for uid in uids if self._uid(uid) != uid)
                elif vr in {"", "SQ", "UN"} and item[tag].VR == "SQ":
                    left += item[tag].value or ()

    def _apply(self, dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            if tag.element == 0 or tag.group in _NO_DATA:  # a group's length, or no data set's
                del dataset[tag]
                continue
            if not self._untouched(dataset, tag):
                element = dataset[tag]
                self._act(dataset, element, self._rules.action(int(tag), element.VR))
        # A block of private elements that is empty now would still tell who made it.
        left = list(dataset.keys())
        for tag in [tag for tag in left if tag.is_private_creator]:
            block = (int(tag) & 0xFFFF0000) | tag.element << 8
            if not any(block <= other <= block | 0xFF for other in left):
                del dataset[tag]

    def _untouched(self, dataset: Dataset, tag: BaseTag) -> bool:
        """Whether an attribute stays as it is, so that its bytes need not be understood: those of a
        text may be in another character set than they say.
        """
        if self._rules.searches:
            return False
        raw = dataset.get_item(tag)
        vr = raw.VR or vr_of(int(tag))
        # a file may be encoded otherwise than it says, and has to be written as it says
        encoded = raw.VR or self._dataset.file_meta.TransferSyntaxUID.is_implicit_VR
        if vr in {"", "SQ", "UN"} or not encoded:
            return False
        if self._uids is not None and vr in _WITH_UIDS:
            value = raw.value if isinstance(raw.value, bytes) else str(raw.value).encode()
            if self._uids.search(value):
                return False
        return self._rules.action(int(tag), vr) in {Action.KEEP, Action.KEEP_WHOLE}

    def _act(self, dataset: Dataset, element: DataElement, action: Action) -> None:
        if action is Action.KEEP_WHOLE:
            return
        if action is Action.DELETE:
            del dataset[element.tag]
        elif action is Action.EMPTY:
            element.value = [] if element.VR == "SQ" else None
        elif element.VR == "SQ":
            for item in element.value or ():
                (self._fill if action is Action.DUMMY else self._apply)(item)
        elif action is Action.DUMMY:
            self._dummy(element)
        elif action is Action.UID:
            self._replace_uids(element)
        elif action is Action.CLEAN:
            self._clean(element)
        elif self._rules.searches:
            self._search(dataset, element)
        elif element.VR in _WITH_UIDS:
            self._change(element, self._phrases.with_other_uids)

    def _fill(self, item: Dataset) -> None:
        """Everything in an item whose sequence is replaced; what its attributes are stays."""
        for tag in list(item.keys()):
            element = item[tag]
            action = self._rules.action(int(tag), element.VR)
            if action is Action.KEEP and element.VR not in {"CS", "UI"}:
                action = Action.DUMMY
            self._act(item, element, action)

    def _dummy(self, element: DataElement) -> None:
        from dicomanonymizer import simpledicomanonymizer as anonymizer

        if element.VR == "UI":
            self._replace_uids(element)
            return
        if element.is_empty:
            return
        try:
            anonymizer.replace_element(element)
        except NotImplementedError:  # binary numbers: nothing of them can be told to be harmless
            element.value = None

    def _replace_uids(self, element: DataElement) -> None:
        new = [self._uid(uid.strip()) for uid in texts_of(element)]
        element.VR = "UI"  # whatever the file says
        element.value = new if len(new) > 1 else "".join(new)

    def _uid(self, uid: str) -> str:
        """PS3.5 B.2: a UID made of 128 bits. Those that the standard gives are no one's."""
        from pydicom.uid import UID

        if not uid or UID(uid).name != uid or _CONTEXT_GROUP.fullmatch(uid):
            return uid
        digest = bytearray(hmac.digest(self._key, b"uid\0" + uid.encode(), hashlib.sha256)[:16])
        digest[6] = digest[6] & 0x0F | 0x40  # the bits that make it a UUID of version 4
        digest[8] = digest[8] & 0x3F | 0x80
        return f"2.25.{int.from_bytes(digest)}"

    def _clean(self, element: DataElement) -> None:
        """Transform what is sensitive: the whole of a value of an attribute that the Basic Profile
        would not leave, of a name, an age or a date, and of a long text, in which anything may be
        said; the phrases in any other.
        """
        name = info_type(element.keyword, element.VR)
        whole = name in _WHOLE or element.VR in _LONG_TEXTS
        kept = basic_profile().action(int(element.tag)) is Action.KEEP
        # a private block cannot be read without its creator
        if element.tag.is_private_creator or (kept and not whole):
            self._change(element, self._phrases.cleaned)
            return
        texts = self._rules.texts
        self._change(element, lambda text: texts.apply(text, element.VR, name, self._owner))

    def _search(self, dataset: Dataset, element: DataElement) -> None:
        """Take phrases out of an attribute that is kept, and values that its VR does not have."""
        vr = element.VR
        if vr in _SEARCHED_VRS:
            self._change(element, self._phrases.cleaned)
        elif vr == "CS":
            self._change(element, self._code)
        elif vr in _FORMS:
            self._change(element, lambda text: self._formed(text, vr))
        elif isinstance(element.value, bytes) and int(element.tag) not in _PIXELS:
            if element.keyword == "ICCProfile":  # its first number is its length
                element.value = element.value[: int.from_bytes(element.value[:4])]
            if self._phrases.within(element.value):
                del dataset[element.tag]

    def _code(self, text: str) -> str:
        return text if is_term(text) or self._phrases.cleaned(text) == text else ""

    def _formed(self, text: str, vr: str) -> str:
        plain = text.strip(" \0")
        if not _FORMS[vr].fullmatch(plain):
            return ""
        if vr == "UI":
            return self._phrases.with_other_uids(text)
        return "" if len(plain) >= _LEAST_NUMBER and plain in self._phrases.words else text

    def _change(self, element: DataElement, change: Any) -> None:
        if element.is_empty:
            return
        before = texts_of(element)
        longest = LONGEST.get(element.VR, math.inf)
        after = [change(text) if text else "" for text in before]
        after = [
            CONTEXT if len(new) > max(longest, len(old)) else new
            for old, new in zip(before, after, strict=True)
        ]
        if after != before:
            element.value = after if len(after) > 1 else after[0]

    def _check_pixels(self, dataset: FileDataset) -> None:
        """Refuse a compressed image that says who the patient is in between its pixels."""
        if dataset.file_meta.TransferSyntaxUID in images.NATIVE:
            return
        if self._phrases.within(dataset.get("PixelData") or b"", _LEAST_IN_PIXELS):
            raise UnitError(
                "the compressed pixel data has text in it that identifies the patient; decompress"
                " the instance first"
            )

    def _declare(self, dataset: Dataset) -> None:
        """What PS3.15 E.1.1 asks for: that it was done, and how."""
        if self._rules.profile != "ATTRIBUTE_CONFIDENTIALITY_BASIC_PROFILE":
            return
        for keyword, value in _DECLARED.items():
            setattr(dataset, keyword, value)

    def _written(self, dataset: FileDataset) -> bytes:
        from pydicom.dataset import FileMetaDataset
        from pydicom.filewriter import dcmwrite

        meta = FileMetaDataset()
        meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
        meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.file_meta = meta
        dataset.preamble = b"\0" * 128
        out = io.BytesIO()
        dcmwrite(out, dataset, enforce_file_format=True)
        return out.getvalue()


_WHOLE = frozenset({"PERSON_NAME", "AGE", "DATE"})
_LONG_TEXTS = frozenset({"LT", "ST", "UC", "UT"})
_SEARCHED_VRS = frozenset({"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT", "UR"})
_WITH_UIDS = _SEARCHED_VRS | {"UI"}
# PS3.5 Table 6.2-1; anything else in such a value would be a text that nobody looks into
_FORMS: Mapping[str, re.Pattern[str]] = {
    "AS": re.compile(r"(\d{3}[DWMY])?"),
    "DA": re.compile(r"[\d.-]*"),
    "DS": re.compile(r"[-+.eE\d]*"),
    "DT": re.compile(r"[-+.\d]*"),
    "IS": re.compile(r"[-+\d]*"),
    "TM": re.compile(r"[\d:.-]*"),
    "UI": re.compile(r"[\d.]*"),
}
_LEAST_NUMBER = 6  # figures of a number that is taken for the patient's
_LEAST_IN_PIXELS = 7  # bytes of a phrase that are hardly there by chance
_CONTEXT_GROUP = re.compile(r"1\.2\.840\.10008\.6\.1\.\d+")  # PS3.16; pydicom names some of them
_NO_DATA = frozenset({0, 2})
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_DECLARED: Mapping[str, str] = {
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "dicomsql emulator: PS3.15 Basic Profile",
    "LongitudinalTemporalInformationModified": "REMOVED",
}
