"""Tree to text, and the proof that the text says what the tree said."""

import sys
from typing import Any

from pglast import ast
from pglast.parser import scan
from pglast.stream import RawStream

from ostiary_tools.errors import Refused

# The printer recurses about six frames a level; `grammar` bounds the levels. Raised once, never lowered:
# lowering it while another thread prints would fail that thread.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 6000))

_CONSTANTS = frozenset({"SCONST", "USCONST", "ICONST", "FCONST", "BCONST", "XCONST"})
_NOT_SAID = frozenset(
    {
        "location",
        "rexpr_list_start",
        "rexpr_list_end",
        "list_start",
        "list_end",
        "stmt_len",
        "name_location",
        "funcformat",
        "arg_location",
    }
)
"""Positions, and whether a call was written in SQL's own words."""


class _Printer(RawStream):
    """Prints a backslash so that it is one, whatever `standard_conforming_strings` says."""

    def write_quoted_string(self, s: str) -> None:
        quoted = s.replace("'", "''")
        self.write("E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in s else f"'{quoted}'")


def print_tree(tree: Any) -> str:
    """The statement as text. Raises Refused when it cannot be printed."""
    try:
        return str(_Printer()(tree))
    except (RecursionError, NotImplementedError, AttributeError, TypeError, KeyError) as error:
        raise unprintable() from error


def unprintable() -> Refused:
    """The refusal of what the printer does not say faithfully."""
    return Refused("printing", "the statement uses a form that cannot be printed faithfully", "write it in a simpler form")


def redact(text: str) -> str:
    """The text with `?` in the place of every constant."""
    kept: list[str] = []
    end = 0
    for token in scan(text):
        if token.name in _CONSTANTS:
            kept.extend((text[end : token.start], "?"))
            end = token.end + 1
    return "".join((*kept, text[end:]))


def same(left: Any, right: Any) -> bool:
    """Whether two trees say the same."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
            pairs.extend(zip(one, other, strict=True))
        elif isinstance(one, ast.Node) and type(one) is type(other):
            pairs.extend((getattr(one, n), getattr(other, n)) for n in one if n not in _NOT_SAID)
        elif one != other and (one or other):
            return False
    return True
