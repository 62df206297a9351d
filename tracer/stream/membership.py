"""Whose a process is: what its cgroup and the beginnings of its namespaces prove, not what anything is called. Pure.

A container is its first process's PID namespace, and the id of the cgroup in which that process began. Its members are
who is in that namespace, or below that cgroup. Where root alone may make cgroups, root has called the cgroup so, and
that counts by itself: containers may share a namespace. Elsewhere, in a user's or in another container's cgroups,
anybody could have: such a claim counts only for processes in a namespace that has begun there.

One rule for the stream, recordings and /proc: each says in its own way how namespaces began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tracer.stream.metadata import CgroupFact, Container
from tracer.stream.pidns import Chain, PidnsId


class Birth(NamedTuple):
    """How a PID namespace began. chain: of its first process; fact: about the cgroup of that process."""

    chain: Chain
    fact: CgroupFact | None


class Member(NamedTuple):
    """A container that a process is in, by its cgroup. root: the id of the container's own cgroup; 0: not known."""

    container: Container
    root: int


class Membership:
    """birth_of: how a namespace began; None: not known. reported: the container that an engine reports for a namespace
    whose first process is in no cgroup of the container's. home_of: the namespace that a container has begun, by its
    own cgroup; None: it shares another's, or that is not known."""

    def __init__(
        self,
        birth_of: Callable[[PidnsId], Birth | None],
        reported: Callable[[PidnsId], Container | None],
        home_of: Callable[[int], PidnsId | None],
    ) -> None:
        self._birth_of, self._reported, self._home_of = birth_of, reported, home_of

    def along(self, chain: Chain, fact: CgroupFact | None) -> list[Member]:
        """The containers of a process with this chain by its cgroup, outermost first."""
        if fact is None:
            return []
        found = [Member(fact.container, fact.root)] if fact.container else []
        return found + [
            Member(inner.container, inner.root)
            for inner in fact.inner
            if self._has_begun(chain, inner.root, inner.within)
        ]

    def _has_begun(self, chain: Chain, root: int, within: int) -> bool:
        """Whether one of these namespaces began below the cgroup root; where that is below another container's, within,
        inside of a namespace that began there."""
        is_within = not within
        for number in chain:
            roots = self._roots(number.pidns)
            if is_within and root in roots:
                return True
            is_within = is_within or within in roots
        return False

    def _roots(self, pidns: PidnsId) -> set[int]:
        birth = self._birth_of(pidns)
        fact = birth.fact if birth else None
        return {fact.root, *(inner.root for inner in fact.inner)} if fact else set()

    def owner(self, pidns: PidnsId) -> Container | None:
        """The container whose process was the first of this namespace; None: of no container, or not known."""
        found = self._owner(pidns)
        return found.container if found else None

    def _owner(self, pidns: PidnsId) -> Member | None:
        if reported := self._reported(pidns):
            return Member(reported, 0)
        birth = self._birth_of(pidns)
        found = self.along(*birth) if birth else []
        return found[-1] if found else None

    def container(self, chain: Chain, fact: CgroupFact | None) -> Container | None:
        """The container of a process with this chain in this cgroup; None: it is in none.

        By its cgroup, because containers can share a namespace; a process of a foreign cgroup inside a container's
        namespace (nsenter) belongs to that container. So does one whose cgroup is that of a container which has a
        namespace of its own, if the process is in another container's: it was moved there. And so does one whose cgroup
        has a container's name that no engine knows, in the namespace of a container that an engine does know.
        """
        found = self.member(chain, fact)
        return found.container if found else None

    def member(self, chain: Chain, fact: CgroupFact | None) -> Member | None:
        """As `container`, with the cgroup of the container that proves it: that of the container's life."""
        found = self.along(chain, fact)
        owner = next(self._owners(chain), None)
        if not found or not fact:
            return owner
        own, said = found[-1], owner.container if owner else None
        is_unheard_of = said is not None and said.engine and not own.container.engine and not fact.pending
        if said and said.id != own.container.id and (is_unheard_of or self._home_of(own.root)):
            return owner
        return own

    def _owners(self, chain: Chain) -> Iterator[Member]:
        """The containers that have begun these namespaces, innermost first."""
        return (owner for number in reversed(chain) if (owner := self._owner(number.pidns)))

    def enclosing(self, chain: Chain, fact: CgroupFact | None) -> tuple[Container, ...]:
        """The process's container, then those around it, innermost first: those whose cgroups its own is below, and
        those whose namespaces lie around it (Docker in Docker)."""
        own = self.container(chain, fact)
        cgroups = [member.container for member in reversed(self.along(chain, fact))]
        if own is None or own.id not in {container.id for container in cgroups}:
            cgroups = []
        found: dict[str, Container] = {}
        for container in (own, *cgroups, *(owner.container for owner in self._owners(chain[:-1]))):
            if container:
                found.setdefault(container.id, container)
        return tuple(found.values())
