"""Offsets for storages: the same as by the rule written out, without its n² steps."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphdiff.plan import placing
from graphdiff.plan.placing import lowest_places


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


def test_a_long_chain_is_placed_in_a_few_steps_for_each_value():
    """A gradient's: values wait for their turn, the last first, and each turn needs some memory of its own."""
    length = 3_000
    waiting = [(64, (place, 2 * length - place)) for place in range(length)]
    passing = [(128 if place % 2 else 64, (length + place, length + place + 1)) for place in range(length)]
    storages = sorted(waiting + passing, key=lambda each: (-each[0], each[1]))
    began = process_time()
    offsets = lowest_places([size for size, _ in storages], [life for _, life in storages])
    assert process_time() - began < 0.8  # 0.1 s; with every storage compared with every other 1.2 s
    assert max(offset + size for offset, (size, _) in zip(offsets, storages, strict=True)) <= 64 * (length + 4)
