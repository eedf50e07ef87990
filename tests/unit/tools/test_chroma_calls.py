"""How what is put into Chroma is divided into calls."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary_tools.vectors.chroma.writing import calls
from ostiary_tools.vectors.port import Chunk

MOST = 250
LONGEST = 100_000


def _chunks(sizes: Sequence[int], length: int) -> list[Chunk]:
    nothing, text = np.zeros(1, np.float32), "x" * length
    numbers = [(key, number) for key, size in enumerate(sizes) for number in range(size)]
    return [Chunk(str(key), number, text, {}, "", nothing) for key, number in numbers]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 600), max_size=12), st.sampled_from([0, 1, LONGEST // 2, LONGEST]))
def test_no_call_is_too_large_and_no_document_that_fits_is_cut(sizes: list[int], length: int):
    chunks = _chunks(sizes, length)
    found = [chunks[part] for part in calls(chunks)]
    assert [one.id for call in found for one in call] == [one.id for one in chunks]
    assert all(len(call) <= MOST and sum(len(one.text) for one in call) <= 4_000_000 for call in found)
    for key, size in enumerate(sizes):
        if size <= MOST and size * length <= 4_000_000:
            assert sum(any(one.key == str(key) for one in call) for call in found) == 1


def test_small_documents_share_a_call():
    assert len(list(calls(_chunks([1] * 1_000, 10)))) == 1_000 // MOST
