"""The living host, for a command that looks at it once: what that needs is kept, all other privileges are given up."""

from __future__ import annotations

import contextlib
import pwd
from collections.abc import Sequence

from tracer.containers.names import Names
from tracer.host.lookup import Lookup
from tracer.system import cgroup_hierarchy, imports
from tracer.system.host_pidns import require_initial_pidns
from tracer.system.privileges import drop_but_look

_USED = ("tracer.host.census", "tracer.host.translation", "tracer.host.process_details", "tracer.text.hints", "difflib")


def look(uses: Sequence[str]) -> Lookup:
    """The host, to be asked, and the engine by its own process. Before anything of it is read, all privileges but that
    of looking are given up: open before what is needed. uses: modules that the caller needs; they are imported here.
    Raises NstraceError."""
    lookup = prepared(uses)
    drop_but_look()
    return lookup


def prepared(uses: Sequence[str]) -> Lookup:
    """As `look`, but the caller gives privileges up, before anything is asked."""
    require_initial_pidns()
    names = Names()
    names.prepare()
    imports.load(*_USED, *uses)
    cgroup_hierarchy.directory()
    with contextlib.suppress(KeyError):
        pwd.getpwuid(0)  # loads what looks users up
    return Lookup(names)
