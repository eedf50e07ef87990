"""How fast short documents become what is searched, end to end: judged, recorded, cut, embedded by the bundled model, on disk.

- `rows`: a collection is made what the rows of a query are, as `ostiary vectors refresh` does it.
- `documents`: they are given, a thousand a call, as `ostiary vectors index` gives them.

Each up to stored rows, where the index comes afterwards (`exact`), and into an HNSW that is searched meanwhile.

    python bench/vectors_indexing.py [--count 20000] [--rounds 3]
"""

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from vectors import configured

from ostiary.config import load
from ostiary.local_calls import LocalCalls, local_calls
from ostiary_tools.embedded import attached, names
from ostiary_tools.indexing.documents import MOST

INDEXES = ("exact", "hnsw")
PRODUCTS = """
select p.id * 1000 + n as id, p.name as name, p.sku as sku, c.name as kind, n as n
from products p join categories c on c.id = p.category_id cross join generate_series(1, 999) n
order by n, p.id limit {count}
"""
TEMPLATE = "{name} ({sku}), number {n} of this product in the kind {kind}"


async def rows(calls: LocalCalls, index: str, count: int, number: int) -> float:
    """Rows a second."""
    name = f"rows_{index}_{number}"
    source = {"sql": PRODUCTS.format(count=count), "key": "id", "template": TEMPLATE, "metadata": ["n"]}
    await calls("manage_collection", {"action": "create", "name": name, "store": "pg", "index": index, "source": source})
    return await timed(calls, count, [{"collection": name, "refresh": True}])


async def documents(calls: LocalCalls, index: str, count: int, number: int) -> float:
    """Documents a second."""
    name = f"documents_{index}_{number}"
    await calls("manage_collection", {"action": "create", "name": name, "store": "pg", "index": index})
    kinds = ("lamp", "chair", "kettle", "carpet", "mirror", "shelf", "clock")
    given = [
        {"key": f"d{n}", "text": f"A {kinds[n % 7]} in colour {n % 91}, number {n} of this product", "metadata": {"n": n}}
        for n in range(count)
    ]
    return await timed(calls, count, [{"collection": name, "documents": given[at : at + MOST]} for at in range(0, count, MOST)])


async def timed(calls: LocalCalls, count: int, every: Sequence[dict[str, Any]]) -> float:
    """A second, and nothing left out."""
    began = time.perf_counter()
    replies = [await calls("index_documents", one) for one in every]
    rate = count / (time.perf_counter() - began)
    added = sum(int(reply.split(" added", 1)[0].split()[-1].replace(",", "")) for reply in replies)
    assert added == count, replies
    return rate


async def main(home: Path, count: int, rounds: int) -> None:
    """In turns, the median told."""
    async with attached(home / "data", print, runtime_dir=home / "run") as cluster:
        config = load(None, configured(home, cluster.dsn(names.KEEPER, names.VECTORS)), {})
        async with local_calls(config, None) as calls:
            taken: dict[tuple[str, str], list[float]] = {}
            for number in range(rounds):
                for what in (rows, documents):
                    for index in INDEXES:
                        taken.setdefault((what.__name__, index), []).append(await what(calls, index, count, number))
    table = Table("what", *INDEXES, title=f"{count:,} short documents, a second, median of {rounds}")
    for what in (rows, documents):
        table.add_row(what.__name__, *(f"{statistics.median(taken[what.__name__, index]):.0f}" for index in INDEXES))
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    folder.chmod(0o711)  # as root, the database's own user must reach its part
    try:
        asyncio.run(main(folder, options.count, options.rounds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
