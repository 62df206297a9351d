"""Which of the containers that a cgroup path names are believed, and which need a namespace to prove them. Pure.

Who may make cgroups in a directory calls them what he likes. Root's names are believed, unless the container is
somewhere else. A user's, and those below
another container's own cgroup, are claims (`tracer.stream.metadata.Inner`); and never of a container that an engine of
root's knows, or that has a cgroup of root's making: those are somewhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tracer.containers.cgroup_paths import Found
from tracer.stream.metadata import Container, Inner

_USERS = 0xFFFFFFFF


class Claim(NamedTuple):
    """A container that a path names. own: the path of its own cgroup, root: its id; maker: who may have called it so,
    as in `CgroupName`. is_listed: an engine knows a container of this id; owner: the user whose engine it is, None:
    root's. may_be_listed: an engine did not answer."""

    found: Found
    own: str
    root: int
    maker: int
    is_listed: bool = False
    owner: int | None = None
    may_be_listed: bool = False

    def is_by_its_engine(self) -> bool:
        """Whether the engine that lists it is that of whoever made the cgroup: its answer is about this one."""
        return self.is_listed and (self.owner is None if not self.maker else self.owner == self.maker & _USERS)


class Believed(NamedTuple):
    """container: by its cgroup alone; root: the id of its own cgroup. inner: others, outermost first."""

    container: Container | None
    root: int
    inner: tuple[Inner, ...]


def believe(
    claims: Iterable[Claim],
    is_taken: Callable[[str], bool],
    life_of: Callable[[Claim], Container],
    is_elsewhere: Callable[[Claim], bool] = lambda _claim: False,
) -> Believed:
    """What to believe. claims: outermost first. is_taken: whether a container of this id has a cgroup of root's
    making. life_of: the life of a container, described by an engine where `Claim.is_by_its_engine`. is_elsewhere:
    whether the container of a cgroup of root's making lives in another one (`tracer.containers.places`)."""
    container, root, within, inner = None, 0, 0, list[Inner]()
    for claim in claims:
        if not claim.maker and not within:
            if is_elsewhere(claim):
                continue
            container, root = life_of(claim), claim.root
        elif _is_refused(claim, within) or is_taken(claim.found.id):
            continue
        else:
            inner.append(Inner(claim.root, life_of(claim), within))
        within = claim.root
    return Believed(container, root, tuple(inner))


def _is_refused(claim: Claim, within: int) -> bool:
    """Whether an engine knows the container to be another's than of this cgroup's maker, or may still say so."""
    if claim.is_listed:
        return bool(within) or not claim.is_by_its_engine()
    return claim.may_be_listed
