"""Statements made of other statements: tokens spliced, trees grafted, characters broken, levels stacked.

Knows nothing of what is judged or run.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from pglast import ast
from pglast.parser import ParseError, parse_sql, scan
from pglast.stream import RawStream

from ostiary_tools.errors import Refused
from ostiary_tools.sql.parse import parse

_ODD = (
    "\0",
    "\ud800",
    "\u200b",
    "\u00a0",
    "\ufeff",
    "'",
    '"',
    "$$",
    "\\",
    "--",
    "/*",
    "*/",
    ";",
    "\n",
    "(",
    ")",
    "[",
    "::",
    "😀",
    "İ",
    "$1",
    "$2",
    "E'",
    "U&'",
    ".",
)
_STACKS = (
    "({})",
    "(select {})",
    "not ({})",
    "case when true then {} end",
    "coalesce({}, null)",
    "array[{}]",
    "row({}, 1)",
    "({})::text",
    "-({})",
    "exists (select {})",
    "({}) is null",
    "(({}))",
    "to_jsonb({})",
    "(select x from (select {} as x) as deep)",
    "(table customers) union all {}",
)
_QUERIES = (
    "select * from ({}) as outside",
    "with w as ({}) select * from w",
    "with w as materialized ({}) select w from w",
    "select (select count(*) from ({}) as counted)",
    "{} union all {}",
    "({}) except ({})",
    "select exists ({})",
    "select array({})",
    "select a.* from ({}) as a natural join ({}) as b",
    "select to_jsonb(r) from ({}) as r",
    "select r from ({}) as r",
    "select r.* from lateral ({}) as r (a)",
    "explain {}",
    "explain (verbose) {}",
    "select 1 from ({}) r group by r",
    "with recursive w as ({} union all {}) select * from w limit 5",
    "select * from orders o, lateral ({}) as l",
)
_LONGEST = 20_000


def mutant(rng: Random, known: Sequence[str], given: str) -> str:
    """A statement that was not there before, made of `given` and others that are known."""
    text = given
    for _ in range(rng.choices((1, 2, 3, 6), (6, 3, 2, 1))[0]):
        # Most changes make a text that is no SQL; a few of these are enough.
        text = _changed(rng, known, text, tries=rng.choice((1, 4, 4, 4)))
    return text


def _changed(rng: Random, known: Sequence[str], text: str, tries: int) -> str:
    changed = rng.choice(_WAYS)(rng, text, rng.choice(known))[:_LONGEST]
    return changed if tries <= 1 or _parses(changed) else _changed(rng, known, text, tries - 1)


def _parses(text: str) -> bool:
    try:
        parse(text)
    except Refused:
        return False
    return True


def _splice(rng: Random, text: str, other: str) -> str:
    """A run of tokens in the place of another."""
    mine, theirs = _tokens(text), _tokens(other)
    start, from_ = rng.randrange(len(mine) + 1), rng.randrange(len(theirs) + 1)
    taken = theirs[from_ : from_ + rng.choice((1, 1, 2, 3, 8, 20))]
    return " ".join([*mine[:start], *taken, *mine[start + rng.choice((0, 1, 1, 2, 5)) :]])


def _rename(rng: Random, text: str, other: str) -> str:
    """One word in the place of one, so that names of functions, tables and columns wander."""
    mine, theirs = _tokens(text), [t for t in _tokens(other) if t[:1].isalpha()]
    places = [n for n, token in enumerate(mine) if token[:1].isalpha()]
    if places and theirs:
        mine[rng.choice(places)] = rng.choice(theirs)
    return " ".join(mine)


def _repeat(rng: Random, text: str, _other: str) -> str:
    mine = _tokens(text)
    start = rng.randrange(len(mine) + 1)
    end = start + rng.choice((1, 2, 4, 9))
    return " ".join(mine[:end] + mine[start:end] * rng.choice((1, 2, 40)) + mine[end:])


def _drop(rng: Random, text: str, _other: str) -> str:
    mine = _tokens(text)
    start = rng.randrange(len(mine) + 1)
    return " ".join(mine[:start] + mine[start + rng.choice((1, 1, 2, 4)) :])


def _noise(rng: Random, text: str, _other: str) -> str:
    place = rng.randrange(len(text) + 1)
    odd = rng.choice((*_ODD, chr(rng.randrange(1, 0x3000))))
    return text[:place] + odd + text[place + rng.choice((0, 0, 1)) :]


def _stack(rng: Random, text: str, _other: str) -> str:
    """One expression put deeper, a little or beyond all bounds."""
    mine = _tokens(text)
    if not mine:
        return text
    place = rng.randrange(len(mine))
    around = rng.choice(_STACKS)
    inner = mine[place]
    for _ in range(rng.choice((1, 1, 2, 3, 8, 60, 300))):
        inner = around.replace("{}", inner)
    return " ".join([*mine[:place], inner, *mine[place + 1 :]])


def _enclose(rng: Random, text: str, other: str) -> str:
    """A whole statement inside or beside another."""
    one, _, two = rng.choice(_QUERIES).partition("{}")
    return one + text.rstrip("; \n") + two.replace("{}", other.rstrip("; \n"))


def _graft(rng: Random, text: str, other: str) -> str:
    """A subtree in the place of another of the same kind, or of any expression."""
    try:
        tree, donor = parse_sql(text)[0], parse_sql(other)[0]
        places = _places(tree)
        holder, name, index = rng.choice(places)
        old = _at(holder, name, index)
        candidates = [_at(*place) for place in _places(donor)]
        alike = [node for node in candidates if type(node) is type(old)]
        free = [node for node in candidates if type(node).__name__ in _EXPRESSIONS]
        pool = free if type(old).__name__ in _EXPRESSIONS and rng.random() < 0.6 else alike
        if not pool:
            return text
        new = rng.choice(pool)
        value = getattr(holder, name)
        setattr(holder, name, new if index is None else (*value[:index], new, *value[index + 1 :]))
        return str(RawStream()(tree))
    except (
        ParseError,
        RuntimeError,  # a graft where the printer expects something else, or one that is too deep
        AttributeError,
        TypeError,
        KeyError,
        IndexError,
        ValueError,
        UnicodeEncodeError,
    ):
        # Not everything can be taken apart and printed by the library; then the other ways remain.
        return text


_EXPRESSIONS = frozenset(
    {
        "A_Const",
        "A_Expr",
        "A_ArrayExpr",
        "A_Indirection",
        "BoolExpr",
        "CaseExpr",
        "CoalesceExpr",
        "ColumnRef",
        "FuncCall",
        "JsonFuncExpr",
        "MinMaxExpr",
        "NullTest",
        "RowExpr",
        "SubLink",
        "TypeCast",
    }
)
_Place = tuple[Any, str, int | None]


def _places(tree: Any) -> list[_Place]:
    """Where in the tree a node hangs: its holder, the field, and the index in a list."""
    found: list[_Place] = []
    stack = [tree]
    while stack:
        node = stack.pop()
        for name in node:
            value = getattr(node, name)
            parts = list(enumerate(value)) if isinstance(value, tuple) else [(None, value)]
            for index, part in parts:
                if isinstance(part, ast.Node):
                    found.append((node, name, index))
                    stack.append(part)
    return found


def _at(holder: Any, name: str, index: int | None) -> Any:
    value = getattr(holder, name)
    return value if index is None else value[index]


def _tokens(text: str) -> list[str]:
    """The words of a text; by blanks when PostgreSQL's scanner does not read it."""
    try:
        return [text[token.start : token.end + 1] for token in scan(text)]
    except (ParseError, UnicodeEncodeError, ValueError):
        return text.split()


_WAYS: tuple[Callable[[Random, str, str], str], ...] = (
    _splice,
    _splice,
    _rename,
    _rename,
    _rename,
    _repeat,
    _drop,
    _noise,
    _stack,
    _enclose,
    _enclose,
    _graft,
    _graft,
    _graft,
    _graft,
)
