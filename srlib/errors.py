"""What srlib raises when what it was given is at fault, and not its own code."""

from __future__ import annotations


class SrlibError(ValueError):
    """Something that its user can mend; the message is one line that says what and how."""


class PhotoError(SrlibError):
    """A file or folder that cannot be used; the message says which, why and what to do."""


def one_line(error: BaseException) -> str:
    """What an error says, short enough to be read beside a file's name."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]
