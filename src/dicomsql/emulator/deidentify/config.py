"""A DeidentifyConfig, checked and made into rules: what becomes of which attribute, text, pixel.

The messages follow the discovery documents of v1 and v1beta1; their FHIR parts are taken and mean
nothing here. v1beta1's `dicomTagConfig` takes the place of `dicom` and `image`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dicomsql.emulator import schemas
from dicomsql.emulator.deidentify import burned
from dicomsql.emulator.deidentify.tags import (
    MINIMAL,
    PRIMARY,
    TEXT_VRS,
    Action,
    basic_profile,
    is_address,
    is_graphic,
    is_known,
    names_instance,
    tag_of,
    vr_of,
)
from dicomsql.emulator.deidentify.texts import Texts, Transformation, default_texts
from dicomsql.emulator.schemas import BOOLEAN, INTEGER, STRING, Message, Repeated, Scalar
from dicomsql.emulator.status import StatusError, invalid_field

__all__ = ["Custom", "Rules", "check_config", "read_rules"]


@dataclass(frozen=True, slots=True)
class Custom:
    """An action of v1beta1's `dicomTagConfig.actions`, and the attributes that it is for."""

    tags: frozenset[int]
    vrs: frozenset[str]
    action: Action


@dataclass(frozen=True, slots=True)
class Rules:
    """What becomes of an instance.

    Attributes:
        profile: a name of TagFilterProfile.
        keep: the tags of a keep list, with those without which no instance is valid; else None.
        remove: the tags of a remove list.
        regenerate: whether the UIDs of the instance are replaced.
        custom: v1beta1's own actions, in their order.
        descriptors: v1beta1's Clean Descriptors Option: texts are cleaned instead of removed.
        redact: whether text in pixels is blanked.
        texts: how a text that is sensitive is transformed.
    """

    profile: str = "KEEP_ALL_PROFILE"
    keep: frozenset[int] | None = None
    remove: frozenset[int] = frozenset()
    regenerate: bool = True
    custom: tuple[Custom, ...] = ()
    descriptors: bool = False
    redact: bool = False
    texts: Texts = field(default_factory=default_texts)

    @property
    def searches(self) -> bool:
        """Whether phrases that identify are looked for in the attributes that stay."""
        return self.profile in _SEARCHED or self.descriptors

    @property
    def strict(self) -> bool:
        """Whether pixel data of which cannot be told that it is only the image fails."""
        return self.searches or self.redact or self.keep is not None

    @property
    def cleans(self) -> bool:
        """Whether they are looked for anywhere at all."""
        return self.searches or any(custom.action is Action.CLEAN for custom in self.custom)

    def action(self, tag: int, vr: str) -> Action:
        """What becomes of an attribute, at whatever depth."""
        chosen = self._custom(tag, vr)
        if chosen is not None:
            return chosen
        if tag in PRIMARY:
            return Action.UID if self.regenerate else Action.KEEP
        if self.keep is not None:
            return Action.KEEP if tag in self.keep else Action.DELETE
        if tag in self.remove:
            return Action.DELETE
        if self.profile == _BASIC:
            action = basic_profile().action(tag)
            if action is Action.KEEP and vr in _TELLING:
                return Action.EMPTY
            if action is Action.KEEP and is_address(tag):
                return Action.DELETE
            if action is Action.KEEP and names_instance(tag, vr):
                return Action.UID
            cleaned = self.descriptors and action is not Action.KEEP and vr in _DESCRIPTORS
            return Action.CLEAN if cleaned and not tag >> 16 & 1 else action
        if self.profile == _CONTENTS:
            basic = basic_profile().action(tag)
            if tag >> 16 & 1 or not is_known(tag) or is_address(tag) or is_graphic(tag):
                return Action.DELETE  # nothing tells what is in it, or it leads to the original
            if vr in TEXT_VRS:
                return Action.CLEAN
            if basic is not Action.KEEP and vr_of(tag) in TEXT_VRS:
                return Action.CLEAN  # whatever VR the file gives it
            # a UID leads to the original image as well as a number does
            if self.regenerate and (basic is Action.UID or names_instance(tag, vr)):
                return Action.UID
            # what cannot be inspected, such as a vendor's header or a scanned letter
            if vr in _BINARY:
                return basic
        return Action.KEEP

    def _custom(self, tag: int, vr: str) -> Action | None:
        """The last of the actions that is for the attribute, and can be done to its VR."""
        chosen = None
        for custom in self.custom:
            if tag in custom.tags or vr in custom.vrs:
                fits = vr in _ONLY_FOR.get(custom.action, (vr,))
                chosen = custom.action if fits else chosen
        return chosen


def check_config(body: Any, version: str, where: str = "config") -> dict[str, Any]:
    """A DeidentifyConfig in canonical form.

    Raises:
        StatusError: 400 for what the version's document does not have, or what contradicts itself;
            501 for keys that a key management service has wrapped, and where a package that it
            takes is not installed.
    """
    config = schemas.check(body, _CONFIGS[version], where)
    if read_rules(config, b"").redact:
        burned.recipes()  # the package has to be there
    return config


def read_rules(config: Mapping[str, Any], key: bytes) -> Rules:
    """The rules of a canonical DeidentifyConfig.

    Args:
        key: the operation's own, for hashes and shifts of dates that are given none.

    Raises: as `check_config`.
    """
    basic_profile()  # the package has to be there
    texts = _texts(config.get("text", {}), key)
    if "dicomTagConfig" in config:
        if "dicom" in config:
            raise invalid_field("config", "Only one of dicom and dicom_tag_config can be set.")
        return _tag_config(config["dicomTagConfig"], config.get("image", {}), texts)
    dicom = config.get("dicom", {})
    if sum(name in dicom for name in ("keepList", "removeList", "filterProfile")) > 1:
        raise invalid_field(
            "config.dicom", "Only one of keep_list, remove_list and filter_profile can be set."
        )
    profile = dicom.get("filterProfile", _UNSPECIFIED)
    keep = None
    if "keepList" in dicom:
        keep = _minimal() | _tags(dicom["keepList"], "config.dicom.keep_list")
    elif profile == _MINIMAL_PROFILE:
        keep = _minimal()
    remove = _tags(dicom.get("removeList", {}), "config.dicom.remove_list")
    needed = remove & _minimal()
    if needed - PRIMARY:
        raise invalid_field(
            "config.dicom.remove_list",
            "The remove_list has a tag without which an instance is not valid.",
        )
    return Rules(
        profile=_KEEP_ALL if profile == _UNSPECIFIED else profile,
        keep=keep,
        remove=remove - needed,
        regenerate=not dicom.get("skipIdRedaction", False),
        redact=_redacts(config.get("image", {})),
        texts=texts,
    )


_UNSPECIFIED = "TAG_FILTER_PROFILE_UNSPECIFIED"
_KEEP_ALL = "KEEP_ALL_PROFILE"
_BASIC = "ATTRIBUTE_CONFIDENTIALITY_BASIC_PROFILE"
_MINIMAL_PROFILE = "MINIMAL_KEEP_LIST_PROFILE"
_CONTENTS = "DEIDENTIFY_TAG_CONTENTS"
_SEARCHED = frozenset({_BASIC, _CONTENTS, _MINIMAL_PROFILE})
# the texts that the Clean Descriptors Option (PS3.15 E.3.5) leaves in place
_DESCRIPTORS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})

# of a few attributes that are none of medical images, and that the table does not name
_TELLING = frozenset({"AS", "DA", "DT", "PN"})
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})

# the VRs that an action of v1beta1 can be done to, where it is not any (the document's Action)
_ONLY_FOR: Mapping[Action, frozenset[str]] = {
    Action.CLEAN: TEXT_VRS,
    Action.UID: frozenset({"UI"}),
    Action.KEEP: frozenset({"SQ"}),
}
_ACTIONS: Mapping[str, Action] = {
    "cleanTextTag": Action.CLEAN,
    "deleteTag": Action.DELETE,
    "keepTag": Action.KEEP_WHOLE,
    "recurseTag": Action.KEEP,
    "regenUidTag": Action.UID,
    "removeTag": Action.EMPTY,
    "resetTag": Action.DUMMY,
}
_PIXEL_DATA = 0x7FE00010


def _tag_config(config: Mapping[str, Any], image: Mapping[str, Any], texts: Texts) -> Rules:
    """v1beta1's DicomTagConfig; without a profile it is the Basic one."""
    options = config.get("options", {})
    profile = config.get("profileType", _BASIC)
    if profile == "PROFILE_TYPE_UNSPECIFIED":
        profile = _BASIC
    custom: list[Custom] = []
    redact = _redacts(options.get("cleanImage", image))
    for number, action in enumerate(config.get("actions", [])):
        where = f"config.dicom_tag_config.actions[{number}]"
        kinds = [name for name in action if name != "queries"]
        if len(kinds) != 1:
            raise invalid_field(where, "An action has queries, and exactly one thing to do.")
        tags, vrs = _queries(action.get("queries", []), where)
        if kinds[0] == "cleanImageTag":
            if tags != {_PIXEL_DATA} or vrs:
                raise invalid_field(where, "clean_image_tag can be done to PixelData only.")
            redact = _redacts(action["cleanImageTag"])
        else:
            custom.append(Custom(tags, vrs, _ACTIONS[kinds[0]]))
    return Rules(
        profile=profile,
        keep=_minimal() if profile == _MINIMAL_PROFILE else None,
        regenerate=options.get("primaryIds") != "KEEP",
        custom=tuple(custom),
        descriptors="cleanDescriptors" in options,
        redact=redact,
        texts=texts,
    )


def _minimal() -> frozenset[int]:
    return frozenset(tag for tag in map(tag_of, MINIMAL) if tag is not None)


def _tags(tags: Mapping[str, Any], where: str) -> frozenset[int]:
    found = {name: tag_of(name) for name in tags.get("tags", [])}
    return frozenset(_checked(found, where))


def _queries(queries: Sequence[str], where: str) -> tuple[frozenset[int], frozenset[str]]:
    vrs = frozenset(q for q in queries if re.fullmatch("[A-Z]{2}", q))
    tags = {query: tag_of(query) for query in queries if query not in vrs}
    if not queries:
        raise invalid_field(where, "An action needs queries: tags, keywords or VRs.")
    return frozenset(_checked(tags, where)), vrs


def _checked(found: Mapping[str, int | None], where: str) -> Iterable[int]:
    for name, tag in found.items():
        if tag is None:
            shown = name if re.fullmatch(r"\w{1,64}", name) else "?"
            raise invalid_field(where, f'"{shown}" is no keyword and no tag, such as 00100010.')
        yield tag


def _redacts(image: Mapping[str, Any]) -> bool:
    """Text is found by the tags that locate it, so a mode for some of it does as for all of it."""
    mode = image.get("textRedactionMode", "TEXT_REDACTION_MODE_UNSPECIFIED")
    named = image.get("customRegexes") or image.get("additionalInfoTypes")
    return (mode.startswith("REDACT_") and mode != "REDACT_NO_TEXT") or bool(named)


def _texts(config: Mapping[str, Any], key: bytes) -> Texts:
    """TextConfig: its own transformations before those of the profile."""
    listed = [*config.get("additionalTransformations", []), *config.get("transformations", [])]
    own: dict[str, Transformation] = {}
    other: Transformation | None = None
    for number, item in enumerate(listed):
        where = f"config.text.additional_transformations[{number}]"
        kinds = [name for name in item if name != "infoTypes"]
        if len(kinds) != 1:
            raise invalid_field(where, "A transformation has exactly one configuration.")
        transformation = _transformation(kinds[0], item[kinds[0]], key, where)
        for name in item.get("infoTypes", []):
            own.setdefault(name, transformation)
        if not item.get("infoTypes"):
            other = other or transformation
    return default_texts(key).changed(
        own,
        other,
        excluded=frozenset(config.get("excludeInfoTypes", [])),
        empty=config.get("profileType") == "EMPTY",
    )


def _transformation(kind: str, config: Mapping[str, Any], key: bytes, where: str) -> Transformation:
    if "kmsWrapped" in config:
        raise StatusError(
            "UNIMPLEMENTED", f"{where}: there is no key management service here; give crypto_key."
        )
    if "cryptoKey" in config:
        try:
            key = base64.b64decode(config["cryptoKey"], validate=True)
        except binascii.Error:
            key = b""
        if len(key) not in (16, 24, 32):
            raise invalid_field(where, "The crypto_key has to be 128, 192 or 256 bits in base64.")
    mask = config.get("maskingCharacter", "*")
    if len(mask) != 1 or not mask.isprintable() or mask == "\\":
        raise invalid_field(where, "The masking_character has to be one printable character.")
    return Transformation(kind.removesuffix("Config"), key, mask)


def _enum(*names: str) -> Scalar:
    def read(value: Any) -> str:
        if value in names:
            return str(value)
        raise ValueError

    return Scalar("TYPE_ENUM", read)


def _read_message(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError


_ANYTHING = Scalar("TYPE_MESSAGE", _read_message)
_NOTHING = Message({})
_STRINGS = Repeated(STRING)
_TAG_LIST = Message({"tags": _STRINGS})
_PROFILES = (_MINIMAL_PROFILE, _BASIC, _KEEP_ALL, _CONTENTS)
_DICOM = Message(
    {
        "filterProfile": _enum(_UNSPECIFIED, *_PROFILES),
        "keepList": _TAG_LIST,
        "removeList": _TAG_LIST,
        "skipIdRedaction": BOOLEAN,
    }
)
_MODES = ("TEXT_REDACTION_MODE_UNSPECIFIED", "REDACT_ALL_TEXT", "REDACT_SENSITIVE_TEXT")
_REGEXES = Repeated(Message({"pattern": STRING, "groupIndexes": Repeated(INTEGER)}))
_IMAGE = Message({"textRedactionMode": _enum(*_MODES, "REDACT_NO_TEXT"), "customRegexes": _REGEXES})
_IMAGE_BETA = Message(
    {
        "textRedactionMode": _enum(
            *_MODES, "REDACT_NO_TEXT", "REDACT_SENSITIVE_TEXT_CLEAN_DESCRIPTORS"
        ),
        "customRegexes": _REGEXES,
        "additionalInfoTypes": _STRINGS,
        "excludeInfoTypes": _STRINGS,
    }
)
_KEYED = Message({"cryptoKey": STRING, "kmsWrapped": _ANYTHING})
_TRANSFORMATIONS = Repeated(
    Message(
        {
            "infoTypes": _STRINGS,
            "characterMaskConfig": Message({"maskingCharacter": STRING}),
            "cryptoHashConfig": _KEYED,
            "dateShiftConfig": _KEYED,
            "redactConfig": _NOTHING,
            "replaceWithInfoTypeConfig": _NOTHING,
        }
    )
)
_TEXT = {
    "additionalTransformations": _TRANSFORMATIONS,
    "excludeInfoTypes": _STRINGS,
    "transformations": _TRANSFORMATIONS,
}
_CONFIG: dict[str, schemas.Schema] = {
    "dicom": _DICOM,
    "fhir": _ANYTHING,
    "image": _IMAGE,
    "text": Message({**_TEXT}),
    "useRegionalDataProcessing": BOOLEAN,
}
_TAG_CONFIG = Message(
    {
        "profileType": _enum("PROFILE_TYPE_UNSPECIFIED", *_PROFILES),
        "options": Message(
            {
                "cleanDescriptors": _NOTHING,
                "cleanImage": _IMAGE_BETA,
                "primaryIds": _enum("PRIMARY_IDS_OPTION_UNSPECIFIED", "KEEP", "REGEN"),
            }
        ),
        "actions": Repeated(
            Message(
                {
                    "queries": _STRINGS,
                    "cleanImageTag": _IMAGE_BETA,
                    **dict.fromkeys(_ACTIONS, _NOTHING),
                }
            )
        ),
    }
)
_CONFIGS: Mapping[str, Message] = {
    "v1": Message(_CONFIG),
    "v1beta1": Message(
        {
            **_CONFIG,
            "dicomTagConfig": _TAG_CONFIG,
            "fhirFieldConfig": _ANYTHING,
            "image": _IMAGE_BETA,
            "operationMetadata": _ANYTHING,
            "text": Message(
                {**_TEXT, "profileType": _enum("PROFILE_TYPE_UNSPECIFIED", "EMPTY", "BASIC")}
            ),
        }
    ),
}
