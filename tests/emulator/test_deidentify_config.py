"""What a DeidentifyConfig may say, and what it comes to."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from dicomsql.emulator.deidentify import burned
from dicomsql.emulator.deidentify.config import check_config, read_rules
from dicomsql.emulator.deidentify.phrases import Phrases
from dicomsql.emulator.deidentify.tags import MINIMAL, Action, basic_profile, tag_of
from dicomsql.emulator.status import StatusError

KMS = {"wrappedKey": "eA==", "cryptoKey": "projects/p/locations/l/keyRings/r/cryptoKeys/k"}


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"dicom": {"profile": "x"}}, "config.dicom"),
        ({"dicom": {"filterProfile": "BASIC"}}, "config.dicom.filter_profile"),
        ({"dicom": {"skipIdRedaction": "yes"}}, "config.dicom.skip_id_redaction"),
        ({"dicomTagConfig": {}}, "config"),
        ({"dicom": {"keepList": {"tags": ["PatientNam"]}}}, "config.dicom.keep_list"),
        ({"dicom": {"keepList": {"tags": ["0010001"]}}}, "config.dicom.keep_list"),
        ({"dicom": {"keepList": {}, "removeList": {}}}, "config.dicom"),
        ({"dicom": {"filterProfile": "KEEP_ALL_PROFILE", "removeList": {}}}, "config.dicom"),
        ({"dicom": {"removeList": {"tags": ["Rows"]}}}, "config.dicom.remove_list"),
        ({"image": {"textRedactionMode": "ALL"}}, "config.image.text_redaction_mode"),
        ({"image": {"excludeInfoTypes": []}}, "config.image"),
        (
            {"text": {"additionalTransformations": [{"redactConfig": {}, "dateShiftConfig": {}}]}},
            "config.text.additional_transformations[0]",
        ),
        (
            {"text": {"transformations": [{"cryptoHashConfig": {"cryptoKey": "c2hvcnQ="}}]}},
            "config.text.additional_transformations[0]",
        ),
        (
            {"text": {"transformations": [{"characterMaskConfig": {"maskingCharacter": "##"}}]}},
            "config.text.additional_transformations[0]",
        ),
    ],
)
def test_what_is_wrong_is_refused(config: dict[str, Any], field: str) -> None:
    with pytest.raises(StatusError) as failure:
        check_config(config, "v1")
    assert failure.value.http == 400
    violated = [v.get("field") for d in failure.value.details for v in d["fieldViolations"]]
    assert violated == [field]


@pytest.mark.parametrize(
    "action",
    [
        {"queries": ["PatientName"]},
        {"queries": [], "keepTag": {}},
        {"queries": ["PatientName"], "keepTag": {}, "deleteTag": {}},
        {"queries": ["PatientName"], "cleanImageTag": {}},
    ],
)
def test_actions_that_are_none_are_refused(action: dict[str, Any]) -> None:
    with pytest.raises(StatusError, match=r"action|PixelData"):
        check_config({"dicomTagConfig": {"actions": [action]}}, "v1beta1")


def test_wrapped_keys_are_not_done() -> None:
    config = {"text": {"transformations": [{"dateShiftConfig": {"kmsWrapped": KMS}}]}}
    with pytest.raises(StatusError) as failure:
        check_config(config, "v1")
    assert failure.value.http == 501


def test_parts_for_fhir_are_taken() -> None:
    config = {"fhir": {"fieldMetadataList": [{}]}, "useRegionalDataProcessing": True}
    assert check_config(config, "v1") == config
    assert read_rules(config, b"").profile == "KEEP_ALL_PROFILE"


def test_the_profile_of_tag_config_is_basic_without_one() -> None:
    rules = read_rules({"dicomTagConfig": {}}, b"")
    assert rules.action(0x00100010, "PN") is Action.EMPTY
    assert rules.action(0x00091001, "LO") is Action.DELETE  # private
    assert rules.action(0x60023000, "OW") is Action.DELETE  # of a repeating group
    assert rules.action(0x00280010, "US") is Action.KEEP
    assert rules.action(0x0020000D, "UI") is Action.UID


def test_the_last_action_that_fits_counts() -> None:
    actions = [
        {"queries": ["PN", "00100020"], "deleteTag": {}},
        {"queries": ["PatientName"], "keepTag": {}},
        {"queries": ["PatientSex"], "regenUidTag": {}},  # no UID: as the profile says
        {"queries": ["PatientAge"], "recurseTag": {}},
    ]
    rules = read_rules({"dicomTagConfig": {"actions": actions}}, b"")
    assert rules.action(0x00100010, "PN") is Action.KEEP_WHOLE
    assert rules.action(0x00080090, "PN") is Action.DELETE
    assert rules.action(0x00100040, "CS") is Action.EMPTY
    assert rules.action(0x00101010, "AS") is Action.DELETE


def test_no_name_and_no_date_stays_in_the_basic_profile() -> None:
    rules = read_rules({"dicomTagConfig": {}}, b"")
    assert rules.action(0x00142006, "PN") is Action.EMPTY  # EvaluatorName: not in the table
    assert rules.action(0x00080416, "DT") is Action.EMPTY


def test_the_tables_name_what_there_is() -> None:
    assert None not in {tag_of(keyword) for keyword in MINIMAL}
    assert len(basic_profile().actions) > 600


def test_phrases_are_words_of_their_own() -> None:
    phrases = Phrases(frozenset({"lee", "zx-81920"}))
    assert (
        phrases.cleaned("Lee, sleeves; LEE_2 and ZX-81920.") == "[CTX], sleeves; [CTX]_2 and [CTX]."
    )
    assert phrases.cleaned("on 2020-01-31 call +48 22 555 01 23") == "on [CTX] call [CTX]"
    assert phrases.cleaned("WINDOW 5.000 kV 120") == "WINDOW 5.000 kV 120"
    assert phrases.within(b"\0ZX-81920\0") and phrases.within("zx-81920".encode("utf-16-le"))
    assert not phrases.within(b"lee")  # as short as noise
    assert phrases.cleaned("20200131 ") == "[CTX] "
    assert phrases.cleaned("1099.310058593") == "1099.310058593"


@pytest.mark.parametrize(
    ("package", "config"),
    [
        ("dicomanonymizer.dicomfields_selector", {}),
        ("deid.config", {"image": {"textRedactionMode": "REDACT_ALL_TEXT"}}),
    ],
)
def test_without_a_package_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, package: str, config: dict[str, Any]
) -> None:
    basic_profile.cache_clear()
    burned.recipes.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StatusError, match=r"dicomsql\[deidentify\]") as failure:
        check_config(config, "v1")
    assert failure.value.http == 501
