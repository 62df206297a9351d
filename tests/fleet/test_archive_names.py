"""Files of an archive by their names: whatever is made when, no two of them have a message in common by halves."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tracer.fleet.archive_names import Block, block_of, blocks, folder_of, host_in, merges, split

RUN = "ab" * 16 + "-00000000"
NUMBERS = st.sets(st.integers(1, 300), max_size=80)


def messages(found: list[Block]) -> list[int]:
    return [number for block in found for number in range(block.first, block.last + 1)]


@given(NUMBERS)
def test_messages_in_few_blocks(numbers: set[int]) -> None:
    found = blocks(RUN, numbers)
    assert messages(found) == sorted(numbers)
    for block in found:
        assert block_of(block.file) == block
        assert not set(messages([block.parent])) <= numbers
    for one, other in itertools.combinations(found, 2):
        assert not (one.holds(other) or other.holds(one))


@given(NUMBERS, NUMBERS)
def test_two_archivers_that_had_different_messages(one: set[int], other: set[int]) -> None:
    """Each block is disjoint from each, or one holds the other: what counts has each message once."""
    files = {block.file for numbers in (one, other) for block in blocks(RUN, numbers)}
    count, covered = split(files)
    assert sorted(count + covered) == sorted(files)
    found = [block for file in count if (block := block_of(file))]
    assert sorted(messages(found)) == sorted(one | other)


@given(NUMBERS, st.sets(st.integers(1, 300)), st.sets(st.integers(1, 300)), st.integers(1, 100))
def test_merges(archived: set[int], here: set[int], other_view: set[int], most: int) -> None:
    """Of archived messages alone; of two that merge at once, with different views, each message counts once."""
    here &= archived
    results = []
    for known in (archived, archived & other_view):
        files = {block.file: block.size for block in blocks(RUN, here & known)}
        made = list(merges(files, blocks(RUN, known), most))
        for merge in made:
            assert set(messages([merge.block])) - {0} <= known
            inside = [file for file in files if merge.block.holds(block_of(file) or merge.block)]
            assert sorted(merge.files) == sorted(inside)
            assert sum(files[file] for file in merge.files) <= most
        gone = {file for merge in made for file in merge.files}
        results.append((set(files) - gone) | {merge.block.file for merge in made})
    for view, known in zip(results, (archived, archived & other_view), strict=True):
        count, covered = split(view)
        assert not covered
        found = set(messages([block for file in count if (block := block_of(file))]))
        assert here & known <= found <= (archived | {0})
    count, _covered = split(results[0] | results[1])
    numbers = messages([block for file in count if (block := block_of(file))])
    assert len(numbers) == len(set(numbers)) and here <= set(numbers)


def test_what_is_no_file_of_an_archive() -> None:
    for name in (
        "",
        "x.parquet",
        f"{RUN}.1-2.parquet",
        f"{RUN}.2-4.parquet",
        f"{RUN}.3-2.parquet",
        f"../{RUN}.1-1.parquet",
    ):
        assert block_of(name) is None
    assert split(["x.parquet", f"{RUN}.1-1.parquet"]) == ([f"{RUN}.1-1.parquet"], [])


def test_folders() -> None:
    assert folder_of("events", "a/b", "2026-11-29") == "events/date=2026-11-29/host=a%2Fb"
    assert host_in(folder_of("batches", "a/b")) == "a/b"
    assert host_in("events/date=2026-11-29") == ""
