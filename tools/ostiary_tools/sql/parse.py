"""Text to tree: PostgreSQL's own grammar, behind bounds that keep a hostile text from exhausting the process.

`parse` promises one raw statement or a refusal in words. It knows nothing of what a
statement may do.
"""

from typing import Any

from pglast import ast
from pglast.parser import ParseError, parse_sql, scan

from ostiary_tools.errors import Refused
from ostiary_tools.sql import syntax
from ostiary_tools.sql.tree import levels

MAX_BYTES = 100_000
"""Of the statement's text, UTF-8."""
MAX_CHAIN = 1500
"""Lexical bound on the depth of the tree. The binding builds its objects by recursion in C, about 550 bytes a level
at worst, and a deeper tree ends the process: on a stack of 512 kB seen with 920 UNION, 1,040 `at local`, 1,620 `isnull`."""
_SHORT = MAX_CHAIN - 10
"""A text of so many characters cannot be deeper: no token counts for more levels than it has characters."""

_OPEN = {"ASCII_40", "ASCII_91"}
_CLOSE = {"ASCII_41", "ASCII_93"}
_BREAK = {"ASCII_44", "ASCII_59", "AND", "OR", "SELECT", "WHERE", "ON"}
"""What stands before and after these are siblings in the tree, not parent and child."""
_NEST = {"UNION", "INTERSECT", "EXCEPT", "JOIN", "CASE", "BETWEEN", "BETWEEN_SYMMETRIC", "WITH", "WITH_LA"}
"""Each of these may put everything before it one level down."""


def parse(text: str, *, depth: int | None = None) -> Any:
    """Return the tree of the only statement; `depth` is a bound on its levels, where one is known. Raises Refused."""
    check_text(text)
    try:
        if not _is_shallow(text, depth):
            raise Refused(
                "size", "the statement is nested too deeply or chains too many operators", "split it, or use lists: `x in (…)`"
            )
        statements = parse_sql(text)
    except ParseError as error:
        raise syntax.refusal(error, text) from None
    if len(statements) != 1:
        raise Refused(
            "one_statement", f"exactly one statement is run, this text has {len(statements)}", "send each statement by itself"
        )
    return _said_once(statements[0].stmt)


def _said_once(statement: Any) -> Any:
    """The parser copies what stands behind `(a, b) =` for each name; the last copy is kept, which is printed."""
    if isinstance(statement, ast.UpdateStmt | ast.InsertStmt | ast.MergeStmt):
        for level in levels(statement):
            for node in level:
                if isinstance(node, ast.MultiAssignRef) and node.colno != node.ncolumns:
                    node.source = None
    return statement


def depth_of(text: str) -> int:
    """A bound on the levels that the text's tree can have."""
    return len(text) if len(text) <= _SHORT else _chain(scan(text))


def check_text(text: str) -> None:
    """Raise Refused for what cannot be parsed whole: the parser reads C strings, and a lone surrogate cannot be encoded."""
    if "\0" in text:
        raise Refused("syntax", "the statement holds a NUL character", "remove it")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Refused("syntax", "the statement is not valid Unicode", "remove lone surrogates") from None
    if size > MAX_BYTES:
        raise Refused("size", f"the statement is longer than {MAX_BYTES:,} bytes", "pass long values as parameters")


def _is_shallow(text: str, known: int | None) -> bool:
    return len(text) <= _SHORT or (known if known is not None and known <= MAX_CHAIN else _chain(scan(text))) <= MAX_CHAIN


def _chain(tokens: list[Any]) -> int:
    """An upper bound on the depth of the tree, from tokens alone."""
    # Each level of brackets: tokens since the last break, the longest run so far, tokens that nest whatever follows.
    levels = [[0, 0, 0]]
    deepest = 0
    before = ""
    for token in tokens:
        name = token.name
        level = levels[-1]
        # After a dot a keyword is a name: `a.and` breaks nothing.
        if name in _OPEN:
            levels.append([0, 0, 0])
        elif name in _CLOSE and len(levels) > 1:
            levels.pop()
            levels[-1][0] += 1 + level[2] + max(level[0], level[1])
        elif before == "ASCII_46":
            level[0] += 1
        elif name in _BREAK or name in _NEST:
            level[1] = max(level[0], level[1])
            level[0] = 0
            # A set operation's level takes twice the stack of an operator's.
            level[2] += 2 * (name in _NEST)
        else:
            level[0] += 1
        before = name
        deepest = max(deepest, len(levels))
    return deepest + sum(open_level[2] + max(open_level[0], open_level[1]) for open_level in levels)
