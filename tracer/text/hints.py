"""Names in the hints of error messages, which are made safe where they are printed. Pure."""

from __future__ import annotations

from collections.abc import Iterable

_MAX_SHOWN = 8
_MAX_NEAR = 3
_CUTOFF = 0.65  # of difflib's ratio: web and db have 0.4, web and wbe 0.67, follow and folow 0.9
_LEAST_PART = 3  # characters of a name that identify it


def near_names(text: str, names: Iterable[str]) -> list[str]:
    """The names that look like this one, or contain it; best first, at most three."""
    import difflib  # takes as long to import as all else here

    names = list(names)
    by_case = {name.lower(): name for name in names}
    found = [by_case[name] for name in difflib.get_close_matches(text.lower(), by_case, _MAX_NEAR, _CUTOFF)]
    parts = [name for name in names if len(text) >= _LEAST_PART and text.lower() in name.lower()]
    return list(dict.fromkeys([*found, *parts]))[:_MAX_NEAR]


def near(text: str, names: Iterable[str]) -> str:
    """A question with the names that look like this one, and a blank after it; "" where none does."""
    found = near_names(text, names)
    return f"did you mean {' or '.join(found)}? " if found else ""


def shown(names: list[str]) -> str:
    """As many names as fit on a line."""
    more = len(names) - _MAX_SHOWN
    return ", ".join(names[:_MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")
