"""Offsets for storages: the same as by the rule written out, without its n² steps."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphdiff.plan.lowering import placing
from graphdiff.plan.lowering.placing import lowest_places


def tried_in_turn(sizes: list[int], lives: list[tuple[int, int]]) -> list[int]:
    """Try every offset in turn for each storage."""
    offsets: list[int] = []
    for size, (first, last) in zip(sizes, lives, strict=True):
        others = [
            (offset, offset + other)
            for offset, other, (begun, ended) in zip(offsets, sizes, lives, strict=False)
            if begun <= last and first <= ended
        ]
        place = 0
        while any(begin < place + size and place < end for begin, end in others):
            place += 1
        offsets.append(place)
    return offsets


life = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda each: (min(each), max(each)))
brief = st.tuples(st.integers(0, 30), st.integers(0, 3)).map(lambda each: (each[0], each[0] + each[1]))


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 5]), st.one_of(life, brief)), max_size=40),
    st.booleans(),
)
@pytest.mark.parametrize("few", [0, placing._FEW])
def test_every_storage_lies_at_the_lowest_offset_that_is_free(few, storages, sort):
    if sort:
        storages = sorted(storages, key=lambda each: (-each[0], each[1]))
    sizes, lives = [size for size, _ in storages], [life for _, life in storages]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(placing, "_FEW", few)  # with none at all, every storage is placed by the account of room
        assert lowest_places(sizes, lives) == tried_in_turn(sizes, lives)


LENGTH = 1_000
WAITING = [(64, (place, 2 * LENGTH - place)) for place in range(LENGTH)]
PASSING = [(64, (LENGTH + place, LENGTH + place + 1)) for place in range(LENGTH)]
CHAINS = {
    "a chain: every value is used by the next": PASSING,
    "its gradient: values wait for their turn, the last first": WAITING + PASSING,
    "of two sizes": [(64 * (1 + place % 2), life) for place, (_, life) in enumerate(WAITING + PASSING)],
}


def most_needed(sizes: list[int], lives: list[tuple[int, int]]) -> int:
    """Bytes that are needed at one call, at most: no placing does with less."""
    return max(
        sum(size for size, (first, last) in zip(sizes, lives, strict=True) if first <= call <= last)
        for call in {first for first, _ in lives}
    )


@pytest.mark.parametrize("name", CHAINS)
def test_a_long_chain_is_placed_by_looking_at_a_few_others_for_each_value(name, monkeypatch):
    looked_at = 0

    def counted(placed, start, stop):
        nonlocal looked_at
        for each in islice(placed, start, stop):
            looked_at += 1
            yield each

    monkeypatch.setattr(placing, "islice", counted)
    storages = sorted(CHAINS[name], key=lambda each: (-each[0], each[1]))
    sizes, lives = [size for size, _ in storages], [life for _, life in storages]
    offsets = lowest_places(sizes, lives)
    assert looked_at < 10 * len(storages)  # each with every other would be half a million and more
    assert max(map(sum, zip(offsets, sizes, strict=True))) <= 1.01 * most_needed(sizes, lives)
