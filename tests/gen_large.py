"""Honest queries of great size: many joins, arms, levels, operators, WITH queries, long lists."""

from collections.abc import Callable
from random import Random

from gen_expressions import Expressions, Reach, Shape

_JOINED = ("item", "note", "tree", "crm.visit", "crm.account", '"order"', "measured")

Large = Callable[[Random, Expressions, tuple[Shape, ...]], str]


def joins(rng: Random, _draw: Expressions, _tables: tuple[Shape, ...]) -> str:
    """Up to sixty joins."""
    sources = [rng.choice(("item t1 JOIN note t2 ON t2.item_id = t1.id", "item t1 JOIN note t2 USING (id)"))]
    for n in range(3, rng.choice((20, 40, 61)) + 1):
        kind = rng.choice(("JOIN", "LEFT JOIN", "INNER JOIN"))
        sources.append(f"{kind} {rng.choice(_JOINED)} AS t{n} ON t{n}.id = t{rng.randint(1, n - 1)}.id")
    chosen = ", ".join(f"t{rng.randint(1, len(sources) + 1)}.id AS i{n}" for n in range(5))
    return f"SELECT {chosen}, t1.*, count(*) OVER () FROM {' '.join(sources)} ORDER BY 1, 2, 3, 4, 5"


def arms(rng: Random, draw: Expressions, tables: tuple[Shape, ...]) -> str:
    """A hundred arms of one set operation."""
    kinds = rng.choices(("int", "text", "date", "num", "bool"), k=2)
    written = []
    for n in range(100):
        table = rng.choice(tables)
        values = ", ".join(draw.value(kind, Reach(table.refs("a"), 1)) for kind in kinds)
        written.append(f"SELECT {n}, {values} FROM {table.name} AS a")
    return rng.choice((" UNION ALL ", " UNION ALL ", " UNION ", " EXCEPT ")).join(written)


def levels(rng: Random, _draw: Expressions, _tables: tuple[Shape, ...]) -> str:
    """Thirty subselects, each in the next."""
    text = "SELECT id, qty AS n, label AS t FROM item"
    for n in range(30):
        exists = f" WHERE EXISTS (SELECT 1 FROM note WHERE note.id = x{n}.id)"
        where = rng.choice(("", f" WHERE x{n}.n IS NOT NULL", exists, f" WHERE id = ANY (SELECT x{n}.id)"))
        value = rng.choice((f"x{n}.n + 1", "n", "coalesce(n, 0)"))
        text = f"SELECT id, {value} AS n, t || '{n}' AS t FROM ({text}) AS x{n}{where}"
    return text


def operators(rng: Random, draw: Expressions, tables: tuple[Shape, ...]) -> str:
    """A hundred operators in a chain."""
    table = rng.choice(tables)
    written = []
    for n in range(100):
        value = draw.value(rng.choice(("text", "text", "int")), Reach(table.refs("t"), rng.choice((0, 0, 1))))
        written.append(f"coalesce(({value})::text, {n}::text)")
    return f"SELECT 'x' || {' || '.join(written)} FROM {table.name} AS t"


def lists(rng: Random, draw: Expressions, tables: tuple[Shape, ...]) -> str:
    """A long IN, a CASE of many arms, and a long chain of AND or OR."""
    table = rng.choice(tables)
    tests = [f"({draw.value('bool', Reach(table.refs('t'), 1))})" for _ in range(40)]
    cases = " ".join(f"WHEN t.id = {n} THEN {n * 2}" for n in range(50))
    where = f"t.id IN ({', '.join(map(str, range(300)))}) AND ({rng.choice((' AND ', ' OR ')).join(tests)})"
    return f"SELECT t.*, CASE {cases} END FROM {table.name} t WHERE {where}"


def with_queries(rng: Random, _draw: Expressions, _tables: tuple[Shape, ...]) -> str:
    """Two dozen WITH queries, each of the one before."""
    queries = ["q0 AS (SELECT id, qty AS n FROM item)"]
    for n in range(1, 25):
        before = f"q{n - 1}"
        forms = (f"SELECT id, n + 1 AS n FROM {before}", f"SELECT q.id, q.n FROM {before} AS q WHERE q.n > 0", f"TABLE {before}")
        queries.append(f"q{n} AS {rng.choice(('', 'MATERIALIZED ', 'NOT MATERIALIZED '))}({rng.choice(forms)})")
    return f"WITH {', '.join(queries)} SELECT a.id, a.n, b.n AS m FROM q24 a JOIN q{rng.randint(0, 23)} b USING (id)"


LARGE: tuple[Large, ...] = (joins, arms, levels, operators, lists, with_queries)
