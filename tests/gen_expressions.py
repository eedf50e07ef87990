"""Expressions of every kind over the columns in reach, drawn from the table in cases/generated.

Knows nothing of query levels: a subquery is asked of the caller. An expression may be one
that the server refuses; who uses it finds out.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

_TABLE = tomllib.loads((Path(__file__).parent / "cases" / "generated" / "expressions.toml").read_text("utf-8"))
SCALAR: dict[str, list[str]] = _TABLE["scalar"]
AGGREGATE: dict[str, list[str]] = _TABLE["aggregate"]
WINDOW: dict[str, list[str]] = _TABLE["window"]
LITERAL: dict[str, list[str]] = _TABLE["literal"]
FUNCTIONS: list[tuple[str, str, str]] = _TABLE["function"]["forms"]
"""In FROM: text with `@` for the alias, columns, their kinds."""
PARAMETER: dict[str, list[str]] = _TABLE["parameter"]
KINDS = tuple(LITERAL)
UNSORTED = frozenset({"xml"})
"""Kinds that have no order and no equality."""
TYPES = {
    "int": "int", "num": "numeric", "text": "text", "bool": "boolean", "date": "date", "ts": "timestamp", "json": "jsonb",
    "ints": "integer[]", "took": "interval",
}  # fmt: skip
"""How a kind that may be a parameter is written as a type."""
_HOLE = re.compile(rf"<({'|'.join((*KINDS, 'rows', 'window', 'frame'))})(?: (set|one))?>")
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_WORDS = frozenset(("order", "user", "from", "to", "select", "group", "desc", "as", "at", "value", "name", "type", "coalesce"))

Subquery = Callable[[str, str, "Reach"], str]
"""Kind of the column (or `rows`), `set` or `one`, and what is in reach around it."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A column in reach."""

    qualifier: str
    """Quoted as needed; empty where only the bare name reaches it."""
    name: str
    kind: str
    bare: bool = False
    """Its bare name is unambiguous."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Something that can stand in FROM by its name."""

    name: str
    """As written, quoted, with its schema where it needs one."""
    columns: tuple[tuple[str, str], ...]
    """Name and kind."""
    alone: str = ""
    """The name without schema, quoted."""

    def refs(self, alias: str) -> tuple[Ref, ...]:
        """Its columns under an alias."""
        return tuple(Ref(alias, name, kind) for name, kind in self.columns)


@dataclass(frozen=True, slots=True)
class Reach:
    """What an expression may mention, and how deep it may become."""

    refs: tuple[Ref, ...] = ()
    depth: int = 2
    form: Literal["row", "group", "window"] = "row"
    inside: tuple[Ref, ...] = ()
    """Of a grouped level: columns that only an aggregate may mention."""
    windows: tuple[str, ...] = ()


@dataclass
class Expressions:
    """Draws expressions, and collects the values of the parameters they use."""

    rng: Random
    subquery: Subquery
    parameters: list[tuple[str, str]] | None = None
    """Kind and value of `$1`, `$2` …; `None` when the statement may have none."""
    _used: set[str] = field(default_factory=set)

    def value(self, kind: str, reach: Reach) -> str:
        """An expression of that kind."""
        if reach.form == "group":
            return self._grouped(kind, reach)
        if reach.form == "window" and kind in WINDOW and self.rng.random() < 0.5:
            return self.fill(self.rng.choice(WINDOW[kind]), Reach(reach.refs, min(reach.depth - 1, 1), windows=reach.windows))
        if reach.depth <= 0 or self.rng.random() < 0.15:
            return self.leaf(kind, reach)
        return self.fill(self._template(SCALAR.get(kind, LITERAL[kind])), reach)

    def leaf(self, kind: str, reach: Reach) -> str:
        """A column, parameter or literal of that kind."""
        columns = [ref for ref in reach.refs if ref.kind == kind]
        chance = self.rng.random()
        if columns and chance < 0.75:
            return self.column(self.rng.choice(columns))
        if self.parameters is not None and kind in PARAMETER and chance < 0.9:
            return self._parameter(kind)
        return self.rng.choice(LITERAL[kind])

    def column(self, ref: Ref) -> str:
        """The column's name, bare or qualified."""
        name = self.quoted(ref.name)
        return name if not ref.qualifier or (ref.bare and self.rng.random() < 0.5) else f"{ref.qualifier}.{name}"

    def quoted(self, name: str) -> str:
        """The name as an identifier, in one of the ways it may be written."""
        if _PLAIN_NAME.fullmatch(name) and name not in _WORDS:
            chance = self.rng.random()
            return f'"{name}"' if chance < 0.1 else name.upper() if chance < 0.15 else name
        return '"' + name.replace('"', '""') + '"'

    def window(self, reach: Reach, *, framed: bool) -> str:
        """The inside of a window's brackets."""
        row = Reach(reach.refs, 0)
        kind = self.rng.choice(("int", "int", "date", "num"))
        partition = f"PARTITION BY {self.value('text', row)}, {self.value('bool', row)} " if self.rng.random() < 0.6 else ""
        order = self.value(kind, Reach(reach.refs, self.rng.randint(0, 1))) + self.rng.choice(("", " DESC", " NULLS FIRST"))
        mode = self.rng.choice(("ROWS", "ROWS", "RANGE", "GROUPS"))
        more = f", {self.value('text', row)}" if mode != "RANGE" else ""
        return f"{partition}ORDER BY {order}{more}" + (f" {mode} {self._frame(mode, kind)}" if framed else "")

    def _frame(self, mode: str, kind: str) -> str:
        step = "interval '2 days'" if mode == "RANGE" and kind == "date" else self.rng.choice(("1", "2", "3"))
        start = self.rng.choice(("UNBOUNDED PRECEDING", f"{step} PRECEDING", "CURRENT ROW"))
        end = self.rng.choice(("CURRENT ROW", f"{step} FOLLOWING", "UNBOUNDED FOLLOWING"))
        exclude = self.rng.choice(("", "", " EXCLUDE CURRENT ROW", " EXCLUDE GROUP", " EXCLUDE TIES", " EXCLUDE NO OTHERS"))
        return (start if self.rng.random() < 0.3 and "FOLLOWING" not in start else f"BETWEEN {start} AND {end}") + exclude

    def _grouped(self, kind: str, reach: Reach) -> str:
        if kind in AGGREGATE and self.rng.random() < 0.7:
            return self.fill(self.rng.choice(AGGREGATE[kind]), Reach(reach.inside, min(reach.depth, 1)))
        deeper = Reach(reach.refs, min(reach.depth, 1))
        return self.value(kind, deeper) if reach.depth <= 0 else self.fill(self._template(SCALAR.get(kind, LITERAL[kind])), reach)

    def _template(self, templates: list[str]) -> str:
        # What has not been drawn yet comes first: every form is to occur.
        fresh = [t for t in templates if t not in self._used]
        template = self.rng.choice(fresh if fresh and self.rng.random() < 0.5 else templates)
        self._used.add(template)
        return template

    def fill(self, template: str, reach: Reach) -> str:
        """The template with an expression in each of its holes."""
        deeper = Reach(reach.refs, reach.depth - 1, reach.form, reach.inside, reach.windows)
        return _HOLE.sub(lambda hole: self._hole(hole[1], hole[2], deeper), template)

    def _hole(self, kind: str, form: str | None, reach: Reach) -> str:
        if kind in ("window", "frame"):
            named = kind == "window" and reach.windows and self.rng.random() < 0.4
            return self.rng.choice(reach.windows) if named else f"({self.window(reach, framed=kind == 'frame')})"
        if form or kind == "rows":
            query = self.subquery(kind, form or "set", reach)
            return f"({query})" if form == "one" else query
        text = self.value(kind, reach)
        simple = re.fullmatch(r"[\w.\"]+|'[^']*'", text)
        return text if simple or self.rng.random() < 0.1 else f"({text})"

    def _parameter(self, kind: str) -> str:
        assert self.parameters is not None
        known = [n for n, (k, _) in enumerate(self.parameters, 1) if k == kind]
        if not known or self.rng.random() < 0.5:
            self.parameters.append((kind, self.rng.choice(PARAMETER[kind])))
            known = [len(self.parameters)]
        return f"${self.rng.choice(known)}::{TYPES[kind]}"
