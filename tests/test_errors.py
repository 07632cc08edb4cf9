"""The error tree: what errors say, and what they keep to themselves."""

from __future__ import annotations

import pickle

import pytest

from dicomsql.errors import (
    ApiFailure,
    ConflictError,
    DataError,
    DocumentError,
    IntegrityError,
    InternalError,
    LanguageError,
    OperationalError,
    alone,
    nearest,
    separate,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SELECT x FROM t WHERE PatientName = 'Zebra^Quagga' AND", "'············' AND"),
        ("SELECT x FROM t WHERE id IN ('it''s', 123456)", "IN ('·····', ······)"),
        ("SELECT x FROM t WHERE PatientName = 'Zebra", "PatientName = '·····"),
        ("SELECT x FROM t WHERE n = $$Zebra$$ AND", "n = ········· AND"),
        ('SELECT "00100010", `b` FROM t', 'SELECT "00100010", `b` FROM t'),
        ("SELECT x1234 FROM t LIMIT 10", "SELECT x1234 FROM t LIMIT 10"),
    ],
)
def test_the_excerpt_hides_literals_and_keeps_columns(text: str, shown: str) -> None:
    error = LanguageError("Wrong", text=text, position=7)
    excerpt, caret = str(error).splitlines()[1:]
    assert shown in excerpt
    assert len(excerpt) == len(text) + 2
    assert caret.index("^") == 2 + 7
    assert "Zebra" not in str(error)


def test_a_literal_over_several_lines_is_hidden_in_each() -> None:
    text = "SELECT 'Zebra\nQuagga' FROM t WHERE"
    error = LanguageError("Wrong", text=text, position=text.index("FROM"))
    assert (error.line, error.column) == (2, 9)
    assert "Quagga" not in str(error)
    assert "FROM t" in str(error)


def test_errors_travel_between_processes() -> None:
    failure = ApiFailure("GET", "https://host/v1", 409, "ABORTED", "no", 2, "id", "a.b.c.d")
    for error in (
        ConflictError(failure),
        LanguageError("Wrong", text="SELECT", position=3),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
    assert isinstance(ConflictError(failure), IntegrityError)
    assert "2 attempts" in str(failure)


def test_other_messages() -> None:
    error = DocumentError("no such key", document="a.yaml", path="/paths")
    assert str(error) == "a.yaml#/paths: no such key"
    assert nearest("studis", ("studies", "series")) == " Did you mean studies?"
    assert nearest("zzz", ("studies",)) == ""


def test_an_error_leaves_what_it_came_from_behind() -> None:
    mine = KeyError("mine")
    try:
        raise mine
    except KeyError:
        with pytest.raises(DataError) as caught, alone():
            try:
                raise ValueError("Zebra^Quagga")
            except ValueError:
                raise DataError("masked") from None
    # What the caller was handling is the caller's own.
    assert caught.value.__context__ is mine
    assert caught.value.__cause__ is None


def test_a_cause_leaves_its_class_and_its_trace() -> None:
    with pytest.raises(OperationalError) as caught, alone():
        try:
            try:
                int("Zebra^Quagga")
            except ValueError as error:
                raise InternalError("a defect") from error
        except InternalError as error:
            raise OperationalError("it failed") from error
    defect = caught.value.__cause__
    assert isinstance(defect, InternalError)
    found = defect.__cause__
    assert str(found) == "ValueError"
    assert found is not None
    assert found.__traceback__ is not None
    assert caught.value.__context__ is defect.__context__ is found.__context__ is None


def test_an_error_that_is_raised_again_is_no_context_of_itself() -> None:
    error = DataError("once")
    handled = KeyError("x")
    handled.__context__ = error
    separate(error, handled)
    assert error.__context__ is None
    separate(None)
