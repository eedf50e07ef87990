"""Tree to text."""

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from pglast import ast, enums
from pglast.keywords import RESERVED_KEYWORDS, TYPE_FUNC_NAME_KEYWORDS
from pglast.parser import scan
from pglast.precedence import ExprPrec, Side
from pglast.printers import NODE_PRINTERS
from pglast.stream import RawStream
from pglast.visitors import Ancestor

from ostiary_tools.errors import Refused
from ostiary_tools.sql.tree import CHILDREN

# The printer recurses about six frames a level; `grammar` bounds the levels. Raised once, never lowered:
# lowering it while another thread prints would fail that thread.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 6000))

_CONSTANTS = frozenset({"SCONST", "USCONST", "ICONST", "FCONST", "BCONST", "XCONST"})
_NOTHING = nullcontext()


@dataclass(frozen=True, slots=True)
class Scan:
    """Where a relation or a sample of one stands in a printed text, with its alias."""

    node: Any
    start: int
    end: int

    @property
    def relation(self) -> Any:
        """The relation."""
        return self.node.relation if isinstance(self.node, ast.RangeTableSample) else self.node


@dataclass(frozen=True, slots=True)
class Printed:
    """A statement as text."""

    text: str
    scans: tuple[Scan, ...]
    """In the text's order."""


class _Enclosed:
    """What is printed within stands between parentheses."""

    def __init__(self, write: Callable[[str], int]) -> None:
        self._write = write

    def __enter__(self) -> None:
        self._write("(")

    def __exit__(self, *_: object) -> None:
        self._write(")")


class _Printer(RawStream):
    """The library's printers on a stream that does no more than they need: theirs makes a generator for every bracket."""

    def __init__(self) -> None:
        super().__init__()
        self.scans: list[Scan] = []
        self._sampled: Any = None

    def write_quoted_string(self, s: str) -> None:
        """Print a backslash so that it is one, whatever `standard_conforming_strings` says."""
        quoted = s.replace("'", "''")
        self.write("E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in s else f"'{quoted}'")

    def push_indent(self, amount: int = 0, relative: bool = True) -> AbstractContextManager[None]:  # noqa: ARG002  the library's signature
        """One line is printed, so nothing is indented."""
        return _NOTHING

    def expression(self, need_parens: bool) -> AbstractContextManager[None]:
        """Parentheses around what follows, or nothing."""
        return _Enclosed(self.write) if need_parens else _NOTHING

    def print_name(self, nodes: Any, sep: str = ".") -> None:
        """A dotted name, which most names are, in one go."""
        if isinstance(nodes, str):
            self.write(_name(nodes))
        elif sep == "." and isinstance(nodes, tuple) and {type(part) for part in nodes} == _STRINGS:
            self.write(sep.join([_name(part.sval) for part in nodes]))
        else:
            super().print_name(nodes, sep)
            return
        self.separator()

    def print_node(self, node: Any, is_name: bool = False, is_symbol: bool = False) -> None:
        """Find the printer by the kinds of the node and its parent; there are no comments to interleave."""
        kind = type(node)
        if kind is ast.A_Expr and node.kind in _BETWEEN:
            self._print_between(node)
        elif kind in _SCANS and node is not self._sampled:
            self._print_scan(node)
        elif kind is ast.String and is_name:
            super().print_node(node.sval, is_name=is_name, is_symbol=is_symbol)
        elif isinstance(node, ast.Node):
            particular = _particular(node) if kind in _PARTICULAR_CHILDREN else None
            (particular or NODE_PRINTERS[kind])(node, self)
        else:
            super().print_node(node, is_name=is_name, is_symbol=is_symbol)
        self.separator()

    def _print_scan(self, node: Any) -> None:
        """Print it, and say where."""
        if type(node) is ast.RangeTableSample:
            self._sampled = node.relation
        self.maybe_write_space("a")
        start = self.tell()
        NODE_PRINTERS[type(node)](node, self)
        self.scans.append(Scan(node, start, self.tell()))

    def write(self, s: str) -> int:
        """The library says what version 17 added to MERGE, which means what all say without it."""
        return int(super().write(_OLDER.get(s, s)))

    def _print_between(self, node: Any) -> None:
        """The library's own forgets the parentheses around a left side that binds less."""
        lower, upper = node.rexpr
        self.print_operand(node.lexpr, ExprPrec.BETWEEN, Side.LEFT)
        self.swrite(f"{node.name[0].sval} ")
        self.print_b_expr(lower)
        self.swrite("AND ")
        self.print_operand(upper, ExprPrec.BETWEEN, Side.RIGHT)


def _name(name: str) -> str:
    if _PLAIN_NAME(name) and name not in _KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


_OLDER = {"NOT MATCHED BY TARGET": "NOT MATCHED"}
_STRINGS = {ast.String}
_SCANS = {ast.RangeVar, ast.RangeTableSample}
_PLAIN_NAME = re.compile("[a-z_][a-z0-9_]*").fullmatch
_KEYWORDS = RESERVED_KEYWORDS | TYPE_FUNC_NAME_KEYWORDS
_KINDS = enums.A_Expr_Kind
_BETWEEN = {_KINDS.AEXPR_BETWEEN, _KINDS.AEXPR_NOT_BETWEEN, _KINDS.AEXPR_BETWEEN_SYM, _KINDS.AEXPR_NOT_BETWEEN_SYM}
_PARTICULAR = frozenset(key for key in NODE_PRINTERS if isinstance(key, tuple))
"""Kinds of parent and child of which the child has a printer of its own."""
_PARTICULAR_CHILDREN = frozenset(child for _, child in _PARTICULAR)
_BARREN = frozenset({ast.A_Const, ast.Alias, ast.ColumnRef, ast.ParamRef, ast.RangeVar, ast.String})
"""Kinds in which nothing asks what holds it, and half of all nodes."""
_ASKING = frozenset({ast.AlterTableCmd, ast.BoolExpr, ast.JsonAggConstructor, ast.SelectStmt})
"""Kinds whose printers ask what holds the node. One that is missing here cannot be printed, so its statement is refused."""


def _particular(node: Any) -> Callable[[Any, RawStream], None] | None:
    above = getattr(node, "ancestors", None)
    return None if above is None else NODE_PRINTERS.get((type(abs(above).node), type(node)))


def print_tree(tree: Any) -> str:
    """The statement as text, or an expression of one. Raises Refused when it cannot be printed."""
    return print_scans(tree).text


def print_scans(tree: Any) -> Printed:
    """The same, with the places of what it scans."""
    placed = []
    try:
        placed = _place(tree)
        printer = _Printer()
        printer.print_node(tree)
        return Printed(str(printer.getvalue()), tuple(sorted(printer.scans, key=lambda scan: scan.start)))
    except (RuntimeError, ValueError, AttributeError, TypeError, LookupError) as error:
        raise unprintable() from error
    finally:
        # A node that knows what holds it lives until the collector comes by; a tree is freed at once without.
        for node in placed:
            _tell(node, None)


_tell: Callable[[Any, Any], None] = ast.Node.ancestors.__set__


def _place(tree: Any) -> list[Any]:
    """Tell the nodes whose printers ask what holds them, and return these; telling every node costs as much as printing."""
    _tell(tree, Ancestor())
    placed, stack = [tree], [tree]
    while stack:
        node = stack.pop()
        kind = type(node)
        for name in CHILDREN[kind]:
            value = getattr(node, name)
            if value is None:
                continue
            for part, holder in _held(value, node):
                held = type(part)
                if held in _ASKING or (held in _PARTICULAR_CHILDREN and (kind, held) in _PARTICULAR):
                    _tell(part, Ancestor(Ancestor(None, node, name), holder, name))
                    placed.append(part)
                if held not in _BARREN:
                    stack.append(part)
    return placed


def _held(value: Any, holder: Any) -> Sequence[tuple[Any, Any]]:
    """The nodes in a field with what holds each: the node itself, or the tuple."""
    if isinstance(value, tuple):
        held = [(part, value) for part in value if isinstance(part, ast.Node)]
        return held if len(held) == len(value) else [each for part in value for each in _held(part, value)]
    return ((value, holder),) if isinstance(value, ast.Node) else ()


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
