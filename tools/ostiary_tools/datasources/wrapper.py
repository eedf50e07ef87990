"""What is put around a judged statement: its values cast, its columns printed and cut, its rows bounded."""

from collections.abc import Iterable, Sequence

from pglast.parser import scan

from ostiary_policies.model import Statement
from ostiary_tools.errors import DatabaseError
from ostiary_tools.result import ColumnHead, Rows

_TEXT_OIDS = frozenset({25, 1043})
"""`text` and `varchar`: their output is their value, so `left` can cut it without a copy of the whole."""


def check_sendable(statement: Statement) -> None:
    """Raise DatabaseError for what the protocol cannot carry: NUL and lone surrogates."""
    for text in (statement.runs, *statement.values):
        if text is not None and ("\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text))):
            raise DatabaseError("22021", "a text holds a character PostgreSQL cannot store", "leave out NUL and lone surrogates")


def bind_text(text: str, types: Sequence[str]) -> tuple[str, bool]:
    """Cast each `$n` from text to the type the server inferred for it; also say whether the statement must stand alone.

    Works on the tokens of PostgreSQL's own scanner: a `$1` in a string or a name is
    none of them. Only EXPLAIN must stand alone.
    """
    tokens = scan(text)
    alone = bool(tokens) and tokens[0].name == "EXPLAIN"
    if not types:
        return text, alone
    pieces: list[str] = []
    end = 0
    for token in tokens:
        if token.name == "PARAM":
            number = text[token.start + 1 : token.end + 1]
            pieces += [text[end : token.start], f"(CAST(${number}::pg_catalog.text AS {types[int(number) - 1]}))"]
            end = token.end + 1
    return "".join([*pieces, text[end:]]), alone


def wrap(text: str, oids: Sequence[int], *, width: int, max_rows: int) -> str:
    """Put our SELECT over the judged one: one row more than the bound and one character more than the width, to know of more."""
    names = [f"c{place}" for place in range(1, len(oids) + 1)]
    values = ", ".join(_printed(name, oid, width + 1) for name, oid in zip(names, oids, strict=True))
    alias = f"q({', '.join(names)})" if names else "q"
    # Merged with ours, a column would be computed once for each mention of it; OFFSET 0 keeps the judged statement apart and costs
    # no step of its own. The newlines end a comment that the text might end with.
    fenced = f"SELECT * FROM (\n{text}\n) AS j OFFSET 0"  # noqa: S608  the text is the judged one
    return f"SELECT {values} FROM ({fenced}) AS {alias} LIMIT {max_rows + 1}"  # noqa: S608  names and numbers are ours


def _printed(name: str, oid: int, width: int) -> str:
    if oid in _TEXT_OIDS:
        return f"pg_catalog.left({name}::pg_catalog.text, {width})"
    # concat runs the type's output function, where a cast to text may be another function (`inet`, `character`) or a user's own;
    # it prints NULL as empty. IS DISTINCT FROM tells a NULL row from a row of NULLs, IS NULL does not.
    return f"CASE WHEN {name} IS DISTINCT FROM NULL THEN pg_catalog.left(pg_catalog.concat({name}), {width}) END"


def bounded(heads: tuple[ColumnHead, ...], records: Sequence[Iterable[str | None]], *, width: int, max_rows: int) -> Rows:
    """The rows without what was fetched to know of more."""
    clipped = 0
    rows: list[tuple[str | None, ...]] = []
    for record in records[:max_rows]:
        row = tuple(record)
        if long := [value for value in row if value is not None and len(value) > width]:
            clipped += len(long)
            row = tuple(value[: width - 1] + "…" if value is not None and len(value) > width else value for value in row)
        rows.append(row)
    return Rows(heads, tuple(rows), truncated=len(records) > max_rows, clipped=clipped)
