"""Honest queries: a seeded grammar of PostgreSQL's SELECT over the tables of a live snapshot.

Each statement is a fair thing to ask of them; most are also accepted by the server, and
those that are not are for the caller to throw away. The answers depend on nothing but
the data.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

from gen_expressions import FUNCTIONS, KINDS, TYPES, UNSORTED, Expressions, Reach, Ref, Shape
from gen_large import LARGE

from ostiary_tools.snapshot import Snapshot

_TYPES_OF = {
    "int": ("integer",),
    "text": ("text", "character varying(20)"),
    "num": ("numeric(12,2)", "numeric"),
    "float": ("double precision",),
    "bool": ("boolean",),
    "date": ("date",),
    "ts": ("timestamp without time zone",),
    "tstz": ("timestamp with time zone",),
    "time": ("time without time zone",),
    "took": ("interval",),
    "json": ("jsonb",),
    "tsv": ("tsvector",),
    "texts": ("text[]",),
    "ints": ("integer[]",),
    "mood": ("mood",),
    "pair": ("pair",),
    "irange": ("int4range",),
    "drange": ("daterange",),
    "spans": ("int4multirange",),
    "uuid": ("uuid",),
    "inet": ("inet",),
    "bytea": ("bytea",),
}
_KIND_OF = {name: kind for kind, names in _TYPES_OF.items() for name in names}
_PARAMETER = re.compile(r"\$(\d+)::")
_ODD_NAMES = ("select", "Mixed Case", "a.b", 'q"q', "größe", "日本", "value", "name", "type", "count", "coalesce", "id")


@dataclass(frozen=True, slots=True)
class Asked:
    """One statement and the values of its parameters, each with its type."""

    text: str
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """What a query may mention from around it."""

    outer: tuple[Ref, ...] = ()
    ctes: tuple[Shape, ...] = ()
    depth: int = 2


Source = tuple[str, tuple[Ref, ...]]
"""A piece of a FROM list and the columns it brings."""


def shapes(snapshot: Snapshot) -> tuple[Shape, ...]:
    """The tables of a snapshot, their columns of the kinds that are known here."""
    found = []
    for relation in snapshot.relations.values():
        columns = tuple((c.name, _KIND_OF[t]) for c in relation.columns if (t := c.type.removeprefix("public.")) in _KIND_OF)
        alone = (
            f'"{relation.name}"'.replace('""', '"') if '"' not in relation.name else '"' + relation.name.replace('"', '""') + '"'
        )
        schema = '"' + relation.schema + '"' if not relation.schema.islower() else relation.schema
        found.append(Shape(alone if relation.schema == "public" else f"{schema}.{alone}", columns, alone))
    return tuple(found)


def generated(snapshot: Snapshot, seed: int, *, without: str = "") -> Iterator[Asked]:
    """Statements without end, the same for the same seed and tables; none has the word `without`, whatever its case."""
    grammar = _Grammar(Random(seed), shapes(snapshot))  # noqa: S311  it must be repeatable, not secret
    while True:
        asked = grammar.statement()
        if not without or without not in asked.text.lower():
            yield asked


@dataclass
class _Grammar:
    rng: Random
    tables: tuple[Shape, ...]
    numbers: int = 0
    count: int = 0
    draw: Expressions = field(init=False)

    def __post_init__(self) -> None:
        self.draw = Expressions(self.rng, self._subquery)

    def statement(self) -> Asked:
        """The next statement: now and then one of great size, otherwise any query."""
        self.count += 1
        self.numbers = 0
        with_parameters = self.rng.random() < 0.15
        self.draw.parameters = [] if with_parameters else None
        if self.count % 25 == 0:
            text = self.rng.choice(LARGE)(self.rng, self.draw, self.tables)
        elif self.rng.random() < 0.03:
            text = f"TABLE {self.rng.choice(self.tables).name}"
        else:
            kinds = self.rng.choices(KINDS, k=self.rng.randint(1, 4))
            text = self.query(kinds, Level(depth=self.rng.randint(1, 3)), named=with_parameters)
        text, parameters = _numbered(text, self.draw.parameters or [])
        return Asked(self._dressed(text), parameters)

    def query(self, kinds: list[str], level: Level, *, named: bool = False) -> str:
        """Any query with columns of these kinds; `named` gives each column a name of its own."""
        sortable = not UNSORTED.intersection(kinds)
        chance = self.rng.random()
        if level.depth > 0 and chance < 0.12 and sortable:
            return self._set_operation(kinds, level, named=named)
        if level.depth > 0 and chance < 0.24:
            return self._with(kinds, level, named=named)
        if chance < 0.28 and not named:
            rows = ", ".join(f"({self._values(kinds, level)})" for _ in range(self.rng.randint(1, 4)))
            return f"VALUES {rows}" + (self._order(len(kinds)) if sortable and self.rng.random() < 0.5 else "")
        return self._select(kinds, level, named=named)

    # Query levels

    def _select(self, kinds: list[str], level: Level, *, named: bool) -> str:
        sources, refs = self._from(level)
        where = ""
        reach = Reach((*refs, *level.outer), level.depth)
        if self.rng.random() < 0.45:
            where = f" WHERE {self.draw.value('bool', replace(reach, depth=min(level.depth, 2)))}"
        chance = self.rng.random()
        if chance < 0.25:
            return self._aggregated(kinds, reach, f"{sources}{where}", named=named)
        windows: tuple[str, ...] = ()
        clause = ""
        if chance < 0.45:
            reach = replace(reach, form="window")
            windows, clause = self._windows(reach)
        reach = replace(reach, windows=windows)
        outputs = [self.draw.value(kind, reach) for kind in kinds]
        listed = ", ".join(self._output(text, n, named=named) for n, text in enumerate(outputs, 1))
        sortable = not UNSORTED.intersection(kinds)
        distinct, order = self._distinct(len(kinds)) if sortable and not clause else ("", "")
        if refs and not named and self.rng.random() < 0.04:
            return f"SELECT {self._star(refs)} FROM {sources}{where}"
        tail = order or (self._order(len(kinds)) if sortable and self.rng.random() < 0.5 else "")
        return f"SELECT {distinct}{listed} FROM {sources}{where}{clause}{tail}"

    def _star(self, refs: tuple[Ref, ...]) -> str:
        qualifiers = sorted({ref.qualifier for ref in refs if ref.qualifier})
        return self.rng.choice(["*", *(f"{q}.*" for q in qualifiers)])

    def _aggregated(self, kinds: list[str], reach: Reach, tail: str, *, named: bool) -> str:
        groups = [ref for ref in reach.refs if ref.kind not in UNSORTED]
        chosen = self.rng.sample(groups, min(len(groups), self.rng.randint(0, 3))) if groups else []
        written = [self.draw.column(ref) for ref in chosen]
        grouped = replace(reach, refs=tuple(chosen), inside=reach.refs, form="group", depth=1)
        outputs = [
            f"GROUPING({', '.join(written)})"
            if written and kind == "int" and self.rng.random() < 0.2
            else self.draw.value(kind, grouped)
            for kind in kinds
        ]
        listed = ", ".join(self._output(text, n, named=named) for n, text in enumerate(outputs, 1))
        by = f" GROUP BY {self._grouping(written)}" if written else ""
        having = f" HAVING {self.draw.value('bool', replace(grouped, depth=0))}" if self.rng.random() < 0.25 else ""
        order = self._order(len(kinds)) if not UNSORTED.intersection(kinds) and self.rng.random() < 0.5 else ""
        return f"SELECT {listed} FROM {tail}{by}{having}{order}"

    def _grouping(self, written: list[str]) -> str:
        listed = ", ".join(written)
        sets = f"GROUPING SETS (({listed}), {written[0]}, ())"
        forms = (listed, listed, f"({listed})", f"ROLLUP ({listed})", f"CUBE ({listed})", sets, f"DISTINCT {listed}, {written[0]}")
        more = (f"DISTINCT ROLLUP ({listed}), CUBE ({written[0]})", f"GROUPING SETS (ROLLUP ({listed}), CUBE ({written[-1]}))")
        return self.rng.choice((*forms, *more))

    def _windows(self, reach: Reach) -> tuple[tuple[str, ...], str]:
        """Names of windows, and the clause that defines them; one may build on another."""
        if self.rng.random() < 0.5:
            return (), ""
        row = replace(reach, form="row")
        first = f"w1 AS ({self.draw.window(row, framed=self.rng.random() < 0.5)})"
        base = f"w2 AS (PARTITION BY {self.draw.value('bool', replace(row, depth=1))})"
        built = (
            f"w3 AS (w2 ORDER BY {self.draw.value('int', replace(row, depth=0))}, {self.draw.value('text', replace(row, depth=0))})"
        )
        return ("w1", "w3"), f" WINDOW {first}, {base}, {built}"

    def _distinct(self, width: int) -> tuple[str, str]:
        """DISTINCT, or DISTINCT ON with the order that makes it certain."""
        chance = self.rng.random()
        if chance < 0.1:
            return "DISTINCT ", ""
        if chance < 0.18:
            return "DISTINCT ON (1) ", " ORDER BY " + ", ".join(map(str, range(1, width + 1)))
        return ("ALL ", "") if chance < 0.2 else ("", "")

    def _order(self, width: int) -> str:
        """A total order over the outputs, and perhaps a bound."""
        ways = ("", "", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST", " USING <")
        order = " ORDER BY " + ", ".join(f"{n}{self.rng.choice(ways)}" for n in range(1, width + 1))
        bounds = (
            "",
            "",
            " LIMIT 5",
            " LIMIT ALL",
            " OFFSET 1 LIMIT 4",
            " OFFSET 2 ROWS FETCH NEXT 3 ROWS ONLY",
            " LIMIT (SELECT 3)",
        )
        more = (
            " FETCH FIRST ROW ONLY",
            " FETCH FIRST 2 ROWS WITH TIES",
            " LIMIT 2 + 1",
            " LIMIT NULL",
            " FETCH FIRST (1 + 1) ROWS WITH TIES",
        )
        return order + self.rng.choice((*bounds, *more))

    def _output(self, text: str, number: int, *, named: bool) -> str:
        """An entry of the output list; without a name the server gives it one."""
        if named:
            return f"{text} AS c{number}"
        chance = self.rng.random()
        if chance < 0.5:
            return text
        name = self.draw.quoted(self.rng.choice(_ODD_NAMES))
        return f"{text} AS {name}"

    def _values(self, kinds: list[str], level: Level) -> str:
        return ", ".join(self.draw.value(kind, Reach(level.outer, min(level.depth, 1))) for kind in kinds)

    def _set_operation(self, kinds: list[str], level: Level, *, named: bool) -> str:
        deeper = replace(level, depth=level.depth - 1)
        arms = [f"({self.query(kinds, deeper, named=named)})" for _ in range(self.rng.randint(2, 3))]
        text = arms[0]
        for arm in arms[1:]:
            text += self.rng.choice(
                (" UNION ", " UNION ALL ", " INTERSECT ", " EXCEPT ", " EXCEPT ALL ", " INTERSECT ALL ", " UNION DISTINCT ")
            )
            text += arm
        return text + (self._order(len(kinds)) if self.rng.random() < 0.4 else "")

    def _with(self, kinds: list[str], level: Level, *, named: bool) -> str:
        deeper = replace(level, depth=level.depth - 1)
        if self.rng.random() < 0.4:
            name = self._name("r")
            text, columns = self.rng.choice((self._counting, self._climbing, self._walking))(name)
            written = f"RECURSIVE {text}"
        else:
            name = self._name("q")
            own = [self.rng.choice(KINDS) for _ in range(self.rng.randint(1, 3))]
            columns = tuple((f"c{n}", kind) for n, kind in enumerate(own, 1))
            listed = f" ({', '.join(c for c, _ in columns)})" if self.rng.random() < 0.5 else ""
            inner = self.query(own, deeper, named=not listed)
            written = f"{name}{listed} AS {self.rng.choice(('', 'MATERIALIZED ', 'NOT MATERIALIZED '))}({inner})"
        shape = Shape(name, columns, name)
        body = replace(deeper, ctes=(*deeper.ctes, shape, shape))
        text = self._set_operation(kinds, body, named=named) if self.rng.random() < 0.1 else self._select(kinds, body, named=named)
        return f"WITH {written} {text}"

    def _counting(self, name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        union = self.rng.choice(("UNION", "UNION ALL"))
        body = f"VALUES (1, 'a'::text) {union} SELECT n + 1, t || 'b' FROM {name} WHERE n < {self.rng.randint(2, 6)}"
        return f"{name} (n, t) AS ({body})", (("n", "int"), ("t", "text"))

    def _climbing(self, name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Down a tree, with SEARCH or CYCLE."""
        first = "SELECT id, parent_id, label FROM tree WHERE parent_id IS NULL"
        second = f"SELECT t.id, t.parent_id, {name}.label || '/' || t.id FROM tree t JOIN {name} ON t.parent_id = {name}.id"
        cycle = self.rng.choice(("CYCLE id SET looped USING path", "CYCLE id SET looped TO 'y' DEFAULT 'n' USING path"))
        search = self.rng.choice(("SEARCH DEPTH FIRST BY id SET place", "SEARCH BREADTH FIRST BY id, label SET place"))
        extra = self.rng.choice(("", search, cycle, f"{search} {cycle}"))
        return f"{name} AS ({first} UNION ALL {second}) {extra}", (("id", "int"), ("parent_id", "int"), ("label", "text"))

    def _walking(self, name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        body = f"SELECT 1 AS a, 1 AS b UNION ALL (SELECT b, a + b FROM {name} AS own WHERE own.b < 50)"
        return f"{name} AS ({body})", (("a", "int"), ("b", "int"))

    def _subquery(self, kind: str, form: str, reach: Reach) -> str:
        level = Level(reach.refs if reach.form == "row" else (), (), max(0, min(reach.depth, 1) - 1))
        if kind == "rows":
            return self.query(self.rng.choices(KINDS, k=self.rng.randint(1, 2)), level)
        if form == "set":
            return (
                self._select([kind], level, named=False) if self.rng.random() < 0.8 else f"VALUES ({self._values([kind], level)})"
            )
        sources, refs = self._from(level)
        value = self.draw.value(kind, Reach((*refs, *level.outer), 1))
        sortable = kind not in UNSORTED
        return f"SELECT {value} FROM {sources} {'ORDER BY 1 ' if sortable else ''}LIMIT 1"

    # FROM

    def _from(self, level: Level) -> Source:
        """The text after FROM, and its columns."""
        texts: list[str] = []
        refs: tuple[Ref, ...] = ()
        for _ in range(self.rng.choices((1, 2, 3), (8, 2, 1))[0]):
            text, more = self._joined(level, refs, self.rng.choices((0, 1, 2), (5, 3, 1))[0])
            texts.append(text)
            refs = (*refs, *more)
        return ", ".join(texts), _with_bare_names(refs)

    def _joined(self, level: Level, before: tuple[Ref, ...], joins: int) -> Source:
        text, refs = self._entry(level, before)
        for _ in range(joins):
            right, more = self._entry(level, (*before, *refs))
            kind = self.rng.choice(("JOIN", "INNER JOIN", "LEFT JOIN", "LEFT OUTER JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"))
            text, refs = self._join(text, refs, right, more, kind)
        if joins and self.rng.random() < 0.12:
            return self._join_with_name(text, refs)
        return text, refs

    def _join(self, left: str, refs: tuple[Ref, ...], right: str, more: tuple[Ref, ...], kind: str) -> Source:
        if kind == "CROSS JOIN":
            return f"{left} CROSS JOIN {right}", (*refs, *more)
        there = {ref.name: ref.kind for ref in more}
        names = [ref.name for ref in refs]
        common = [r.name for r in refs if there.get(r.name) == r.kind and names.count(r.name) == 1 and r.kind not in UNSORTED]
        chance = self.rng.random()
        if common and chance < 0.3:
            using = self.rng.sample(common, min(len(common), self.rng.randint(1, 2)))
            alias = self._name("u") if self.rng.random() < 0.3 else ""
            merged = tuple(Ref(alias, name, there[name]) for name in using)
            listed = ", ".join(self.draw.quoted(name) for name in using)
            text = f"{left} {kind} {right} USING ({listed}){f' AS {alias}' if alias else ''}"
            return text, (*merged, *(r for r in (*refs, *more) if r.name not in using))
        if common and chance < 0.4:
            merged = tuple(Ref("", name, there[name]) for name in common)
            return f"{left} NATURAL {kind} {right}", (*merged, *(r for r in (*refs, *more) if r.name not in common))
        reach = Reach(_with_bare_names((*refs, *more)), 1)
        lefts, rights = [r for r in refs if r.kind == "int"], [r for r in more if r.kind == "int"]
        if lefts and rights and (kind.startswith("FULL") or self.rng.random() < 0.7):
            condition = f"{self.draw.column(self.rng.choice(lefts))} = {self.draw.column(self.rng.choice(rights))}"
        elif kind.startswith("FULL"):
            return f"{left} CROSS JOIN {right}", (*refs, *more)
        else:
            condition = self.draw.value("bool", reach)
        return f"{left} {kind} {right} ON {condition}", (*refs, *more)

    def _join_with_name(self, text: str, refs: tuple[Ref, ...]) -> Source:
        name = self._name("j")
        renames = self.rng.random() < 0.5
        names = [ref.name for ref in refs]
        # Columns that carry one name cannot be told apart by the join's; without a list only the others are reached.
        kept = tuple(Ref(name, ref.name, ref.kind) for ref in refs if names.count(ref.name) == 1)
        return (f"({text}) AS {name}", kept) if not renames or not kept else (f"({text}) {name}", kept)

    def _entry(self, level: Level, before: tuple[Ref, ...]) -> Source:
        chance = self.rng.random()
        if level.ctes and chance < 0.5:
            return self._table(self.rng.choice(level.ctes))
        if chance < 0.65 or level.depth <= 0:
            return self._table(self.rng.choice(self.tables))
        if chance < 0.8:
            return self._derived(level, before)
        if chance < 0.85:
            return self._value_list(level)
        return self._function(level, before)

    def _table(self, shape: Shape) -> Source:
        sample = ""
        chance = self.rng.random()
        if shape.columns and shape.name != shape.alone and chance < 0.2:
            return shape.name, tuple(Ref(shape.name, n, k) for n, k in shape.columns)
        alias = self._name("t") if chance < 0.9 else ""
        if shape in self.tables and "view" not in shape.name and self.rng.random() < 0.1:
            method = self.rng.choice(("SYSTEM", "BERNOULLI", "pg_catalog.bernoulli"))
            sample = f" TABLESAMPLE {method} ({self.rng.choice(('60', '30.5', '100'))}) REPEATABLE ({self.rng.randint(1, 9)})"
        only = "ONLY " if shape in self.tables and self.rng.random() < 0.05 else ""
        columns = shape.columns
        listed = ""
        if alias and shape not in self.tables and self.rng.random() < 0.3:
            columns = tuple((self._name("k"), kind) for _, kind in columns)
            listed = f" ({', '.join(n for n, _ in columns)})"
        written = f" {self.rng.choice(('', 'AS '))}{alias}{listed}" if alias else ""
        return f"{only}{shape.name}{written}{sample}", tuple(Ref(alias or shape.alone, n, k) for n, k in columns)

    def _derived(self, level: Level, before: tuple[Ref, ...]) -> Source:
        alias = self._name("s")
        kinds = self.rng.choices(KINDS, k=self.rng.randint(1, 3))
        lateral = bool(before) and self.rng.random() < 0.5
        inside = Level((*before, *level.outer) if lateral else level.outer, level.ctes, level.depth - 1)
        listed = self.rng.random() < 0.5
        text = self.query(kinds, inside, named=not listed)
        columns = [f"c{n}" for n in range(1, len(kinds) + 1)]
        names = f" ({', '.join(columns)})" if listed else ""
        refs = tuple(Ref(alias, n, k) for n, k in zip(columns, kinds, strict=True))
        return f"{'LATERAL ' if lateral else ''}({text}) AS {alias}{names}", refs

    def _value_list(self, level: Level) -> Source:
        alias = self._name("v")
        kinds = self.rng.choices(KINDS, k=self.rng.randint(1, 3))
        rows = ", ".join(f"({self._values(kinds, replace(level, depth=1))})" for _ in range(self.rng.randint(1, 3)))
        columns = [f"column{n}" for n in range(1, len(kinds) + 1)]
        if self.rng.random() < 0.5:
            columns = [f"c{n}" for n in range(1, len(kinds) + 1)]
            return f"(VALUES {rows}) AS {alias} ({', '.join(columns)})", _refs(alias, columns, kinds)
        return f"(VALUES {rows}) {alias}", _refs(alias, columns, kinds)

    def _function(self, level: Level, before: tuple[Ref, ...]) -> Source:
        """A function's rows: its arguments see what stands before it."""
        alias = self._name("f")
        template, names, kinds = self.rng.choice(FUNCTIONS)
        text = self.draw.fill(template.replace("@", alias), Reach((*before, *level.outer), 2))
        return text, _refs(alias, names.replace("@", alias).split(), kinds.split())

    def _name(self, prefix: str) -> str:
        self.numbers += 1
        return f"{prefix}{self.numbers}"

    def _dressed(self, text: str) -> str:
        """Comments, line ends and a semicolon, which mean nothing."""
        chance = self.rng.random()
        if chance < 0.05:
            return f"-- it's a question; \"really\"\n{text} /* nested /* comment */ ' */;"
        return f"{text};" if chance < 0.15 else f"({text})" if chance < 0.18 else text


def _numbered(text: str, drawn: list[tuple[str, str]]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The parameters that the text still has, numbered without a gap."""
    kept = sorted({int(number) for number in _PARAMETER.findall(text)})
    text = _PARAMETER.sub(lambda found: f"${kept.index(int(found[1])) + 1}::", text)
    return text, tuple((TYPES[drawn[n - 1][0]], drawn[n - 1][1]) for n in kept)


def _refs(alias: str, names: list[str], kinds: list[str]) -> tuple[Ref, ...]:
    return tuple(Ref(alias, name, kind) for name, kind in zip(names, kinds, strict=True))


def _with_bare_names(refs: tuple[Ref, ...]) -> tuple[Ref, ...]:
    names = [ref.name for ref in refs]
    return tuple(replace(ref, bare=names.count(ref.name) == 1) for ref in refs)
