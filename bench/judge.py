"""How long judging a five-table query takes, step by step: median and 95th percentile in milliseconds.

`judge` remembers what it judged; all but the last row are without that memory.

python bench/judge.py
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from pglast import parse_sql

from ostiary.app import ALLOCATIONS
from ostiary_tools.sql.printing import print_tree

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fix_sql import shop_snapshot, view_of

judging = import_module("ostiary_tools.sql.judge")  # the package names its door after its module

_ROUNDS = 500
_SQL = """
select c.name, o.id, p.name, sum(i.quantity * i.unit_price) as spent, max(y.amount)
from customers c join orders o on o.customer_id = c.id join order_items i on i.order_id = o.id
join products p on p.id = i.product_id left join payments y on y.order_id = o.id
where o.placed_at >= date_trunc('month', now()) and c.email ilike '%' || $1 and o.status in ('paid', 'sent')
group by c.name, o.id, p.name having count(*) > 1 order by spent desc limit 20
"""


def main() -> None:
    """Print the table."""
    view = view_of(replace(shop_snapshot(), version="1"))  # what has no version is not remembered
    tree, *_ = judging.classify(_SQL, view)
    steps: dict[str, Callable[[], object]] = {
        "the parser alone (pglast)": lambda: parse_sql(_SQL),
        "classify": lambda: judging.classify(_SQL, view),
        "print": lambda: print_tree(tree),
        "classify + print": lambda: print_tree(judging.classify(_SQL, view)[0]),
        "judge: classify, print, classify what was printed, compare": lambda: judging.judge_afresh(_SQL, view),
        "judge, remembered": lambda: judging.judge(_SQL, view),
    }
    gc.freeze()  # both as the server does
    gc.set_threshold(ALLOCATIONS)
    print("| step | median ms | p95 ms |\n|---|---|---|")
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(_ROUNDS):
        for name, step in steps.items():  # in turns, so that a slow moment slows all alike
            taken[name].append(_timed(step))
    for name, times in taken.items():
        print(f"| {name} | {statistics.median(times):.3f} | {statistics.quantiles(times, n=20)[-1]:.3f} |")


def _timed(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
