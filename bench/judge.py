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

from ostiary.serve import ALLOCATIONS
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.masks import Mask, MaskKind
from ostiary_policies.model import Intent, Principal
from ostiary_tools.snapshot import Relation
from ostiary_tools.sql.judge import Judged
from ostiary_tools.sql.parse import parse
from ostiary_tools.sql.printing import print_tree
from ostiary_tools.view import RowTerms, SchemaView, hash_key

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


_MASKS = (
    ("customers", "email", Mask(MaskKind.EMAIL)),
    ("customers", "name", Mask(MaskKind.HASH)),
    ("orders", "note", Mask(MaskKind.REDACT)),
    ("payments", "method", Mask(MaskKind.FIRST, "2")),
    ("products", "category", Mask(MaskKind.SHAPE)),
)
_ROWS = {"orders": "\"status\" OPERATOR(pg_catalog.=) 'paid'", "customers": '"city" IS NOT NULL AND "city" <> \'x\''}
_WHO = Principal("ada", ("analyst",))
_ENGINE = Engine(
    PolicySet.parse(
        {
            "all.cedar": '@id("all") permit (principal in Role::"analyst", action, resource);'
            '@id("masked") @mask("null") permit (principal in Role::"analyst", action == Action::"read_masked", resource);'
        }
    )
)


def main() -> None:
    """Print the table."""
    view = view_of(replace(shop_snapshot(), version="1"))  # what has no version is not remembered
    fenced = _fenced(view)
    tree, *_ = judging.classify(parse(_SQL), _SQL, view)
    steps: dict[str, Callable[[], object]] = {
        "the parser alone (pglast)": lambda: parse_sql(_SQL),
        "classify": lambda: judging.classify(parse(_SQL), _SQL, view),
        "print": lambda: print_tree(tree),
        "classify + print": lambda: print_tree(judging.classify(parse(_SQL), _SQL, view)[0]),
        "judge: classify, print, classify what was printed, compare": lambda: judging.judge_afresh(_SQL, view),
        "judge, remembered": lambda: judging.judge(_SQL, view),
        "the same with masks and row rules: judge, fence, prove the fences": lambda: judging.judge_afresh(_SQL, fenced),
        "the same, and decide": lambda: _ENGINE.decide(_WHO, _intent(judging.judge_afresh(_SQL, fenced))),
        "the same, remembered": lambda: _ENGINE.decide(_WHO, _intent(judging.judge(_SQL, fenced))),
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


def _fenced(view: SchemaView) -> SchemaView:
    """The view of somebody with a mask of each table of the query, and rules of two."""
    relations = {name: _typed(relation) for name, relation in view.snapshot.relations.items()}
    masked = {
        relations["public", table].column_resource(view.datasource, column): mask
        for table, name, mask in _MASKS
        if (column := relations["public", table].column(name)) is not None
    }
    rows = {("public", table): RowTerms(predicate, ("rule",)) for table, predicate in _ROWS.items()}
    return replace(
        view,
        snapshot=replace(view.snapshot, relations=relations),
        readable=view.readable - frozenset(masked),
        masked=masked,
        rows=rows,
        hash_key=hash_key("0123456789abcdef0123456789abcdef"),
        kept={},
    )


def _typed(relation: Relation) -> Relation:
    return replace(relation, columns=tuple(replace(c, kind=("pg_catalog", "text"), deterministic=True) for c in relation.columns))


def _intent(judged: Judged) -> Intent:
    return Intent("query", {}, judged.accesses, "shop", (judged.statement,))


def _timed(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
