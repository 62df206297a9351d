"""Names in the hints of error messages, which are made safe where they are printed. Pure."""

from __future__ import annotations

_MAX_SHOWN = 8


def near(text: str, names: list[str]) -> str:
    """A question with the names that look like this one, and a blank after it; "" where none does."""
    import difflib  # takes as long to import as all else here

    found = difflib.get_close_matches(text, names)
    return f"did you mean {' or '.join(found)}? " if found else ""


def shown(names: list[str]) -> str:
    """As many names as fit on a line."""
    more = len(names) - _MAX_SHOWN
    return ", ".join(names[:_MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")
