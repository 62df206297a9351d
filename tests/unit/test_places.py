"""Which of several cgroups that are called by one id is the container's own."""

from __future__ import annotations

from tracer.containers.places import Home, Places

ID = "ab" * 32
WEB, AGENT, AGAIN = 7, 8, 9


class Kernel:
    """What has begun where. reported: what an engine says."""

    def __init__(self) -> None:
        self.homes: dict[int, list[Home]] = {}
        self.reported: int | None = None
        self.places = Places(100)

    def refuses(self, root: int) -> bool:
        return self.places.is_elsewhere(ID, root, lambda one: self.homes.get(one, []), lambda _id: self.reported)


def two(*, web: list[Home], agent: list[Home]) -> Kernel:
    kernel = Kernel()
    kernel.places.add(ID, AGENT, f"/agent/docker/{ID}")
    kernel.places.add(ID, WEB, f"/docker/{ID}")
    kernel.homes = {WEB: web, AGENT: agent}
    return kernel


def test_where_a_namespace_began_is_the_container() -> None:
    kernel = two(web=[Home(5, 50)], agent=[])
    assert (kernel.refuses(AGENT), kernel.refuses(WEB)) == (True, False)


def test_of_two_with_a_namespace_the_older_or_the_engines() -> None:
    kernel = two(web=[Home(5, 50)], agent=[Home(9, 90)])
    assert (kernel.refuses(AGENT), kernel.refuses(WEB)) == (True, False)
    kernel = two(web=[Home(9, 90)], agent=[Home(5, 50)])
    kernel.reported = 90
    assert (kernel.refuses(AGENT), kernel.refuses(WEB)) == (True, False)
    kernel = two(web=[Home(9, 90)], agent=[Home(5, 50)])
    kernel.reported = 77  # of neither
    assert (kernel.refuses(WEB), kernel.refuses(AGENT)) == (True, False)


def test_where_nothing_has_begun_nobody_is_refused_yet() -> None:
    kernel = two(web=[], agent=[])
    assert (kernel.refuses(AGENT), kernel.refuses(WEB)) == (False, False)
    assert kernel.places.is_contested(ID)
    kernel.homes[WEB] = [Home(5, 50)]
    assert kernel.refuses(AGENT)
    assert not kernel.places.is_contested(ID)


def test_a_later_life_is_at_the_same_path_and_what_was_refused_stays_so() -> None:
    kernel = two(web=[Home(5, 50)], agent=[Home(6, 60)])
    assert kernel.refuses(AGENT)
    del kernel.homes[WEB]
    assert kernel.refuses(AGENT)
    kernel.places.add(ID, AGAIN, f"/docker/{ID}")
    kernel.homes[AGAIN] = [Home(7, 70)]
    assert (kernel.refuses(AGAIN), kernel.refuses(AGENT)) == (False, True)
