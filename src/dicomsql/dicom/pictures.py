"""Pictures as servers render them: what their bytes have to be, to be one and whole."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FORMS", "Form", "form_of"]

# Bytes among which the tail is looked for: some writers fill up with zeros.
_TAIL = 64


@dataclass(frozen=True, slots=True)
class Form:
    """What a picture is: its media type, the names of its files, how it begins and ends.

    Attributes:
        tail: stands among the last bytes of a whole one.
    """

    media: str
    extension: str
    head: bytes
    tail: bytes

    def is_whole(self, content: bytes) -> bool:
        """Whether bytes are a picture of this form from its beginning to its end."""
        return content.startswith(self.head) and self.tail in content[-_TAIL:]


# PNG 5.2 and 11.2.5; ISO/IEC 10918-1 annex B.
FORMS = {
    "png": Form("image/png", ".png", b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"),
    "jpeg": Form("image/jpeg", ".jpg", b"\xff\xd8\xff", b"\xff\xd9"),
}


def form_of(media: str) -> Form | None:
    """The form that a media type says; None for any other."""
    return next((form for form in FORMS.values() if form.media == media), None)
