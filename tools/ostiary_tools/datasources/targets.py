"""What a statement writes by itself, from its text: which tables, and by which words."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pglast import ast, parse_sql
from pglast.parser import ParseError

from ostiary_tools.snapshot import Name

_PARSED_CHARS = 200_000
_WORDS = {ast.InsertStmt: "insert", ast.UpdateStmt: "update", ast.DeleteStmt: "delete", ast.MergeStmt: "merge"}


@dataclass(frozen=True, slots=True)
class Direct:
    """One statement."""

    targets: frozenset[Name] = frozenset()
    """Schema, empty where none is written, and name of the tables that it names to be written."""
    word: str = ""
    """Of the statement itself: `insert`, `update`, `delete` or `merge`; empty of any other."""
    alias: str = ""
    """What its own target is called in it."""
    returns: bool = False
    """It has a RETURNING of its own, or may have."""


def direct(text: str) -> Direct:
    """Read a statement. One that is too long to be parsed again is taken for an INSERT of many values where it begins so."""
    if len(text) > _PARSED_CHARS:
        return _from_head(text[:_PARSED_CHARS])
    try:
        [parsed] = parse_sql(text)
    except (ParseError, ValueError):
        return Direct()
    statement: Any = parsed.stmt
    targets = frozenset(_targets(statement))
    word = _WORDS.get(type(statement), "")
    if not word:
        return Direct(targets)
    relation = statement.relation
    alias = relation.alias.aliasname if relation.alias else relation.relname
    return Direct(targets, word, alias, bool(getattr(statement, "returningClause", None)))


def _from_head(head: str) -> Direct:
    opening, found, _ = head.partition("VALUES")
    shortened = direct(f"{opening}VALUES (NULL)") if found else Direct()
    return replace(shortened, returns=True) if shortened.word == "insert" else Direct()


def _targets(node: Any) -> Iterator[Name]:
    if isinstance(node, tuple):
        for item in node:
            yield from _targets(item)
    elif isinstance(node, ast.Node):
        if isinstance(node, ast.InsertStmt | ast.UpdateStmt | ast.DeleteStmt | ast.MergeStmt) and node.relation:
            yield (node.relation.schemaname or "", node.relation.relname or "")
        for name in node:
            yield from _targets(getattr(node, name))
