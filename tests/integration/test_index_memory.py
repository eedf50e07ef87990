"""Memory while a million rows are indexed stays what it was after the first of them, but for eight bytes a row."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fix_indexing import OWNER, SOURCE, OpenDesk

from ostiary.call import Call
from ostiary_tools.embedders.checked import Checked
from ostiary_tools.vectors.collection import Embedding

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROWS = 1_000_000
WARM = 200_000
MOST_MB = 64


class Lengths:
    """An embedder in two dimensions, by the length of a text: what is measured is not the model."""

    name, model, dimension, normalised, max_tokens = "lengths", "lengths 1", 2, False, 256

    async def embed(self, texts: Sequence[str]) -> Any:
        """Never zero."""
        return np.array([[1.0, float(len(text))] for text in texts], np.float32)

    def tokens(self, text: str) -> int:
        """No text here has more."""
        return len(text) // 4

    async def close(self) -> None:
        """Nothing is held."""


def resident_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@pytest.mark.asyncio
async def test_memory_stays_flat_while_a_million_rows_are_indexed(desk: OpenDesk):
    statement = "SELECT n AS id, 'row' AS title, 'tiny' AS body FROM pg_catalog.generate_series(1, 1000000) n"
    source = replace(SOURCE, statement=statement, metadata=())
    async with desk(rows=1) as it:
        shelves = it.house.gate._shelves
        shelves._furniture = replace(shelves._furniture, embedders={"lengths": Checked(Lengths(), 1_000, 1_000_000)})
        made = await it.collection(source=source, embedding=Embedding("lengths", "lengths 1", 2, normalised=False))
        seen: list[tuple[float, float]] = []

        async def tell(done: float, _total: float | None, _message: str) -> None:
            if not seen or done - seen[-1][0] >= 10_000:
                seen.append((done, resident_mb()))

        call = Call("index_documents", {"collection": "notes", "refresh": True}, by_worker=True, tell=tell)
        reply = await it.house.gate.call(OWNER, call)
        assert "1,000,000 added" in reply.text
        assert await it.store.count(made) == ROWS
    warm = next(memory for done, memory in seen if done >= WARM)
    most = max(memory for _, memory in seen)
    assert len(seen) > 50
    assert most - warm < MOST_MB, f"resident: {warm:.0f} MB after {WARM:,} rows, {most:.0f} MB at most"
