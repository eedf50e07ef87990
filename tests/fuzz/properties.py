"""What must hold of the judge for any text whatever, without a database."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

from pglast import ast
from pglast.parser import parse_sql

from ostiary_tools.errors import Refused
from ostiary_tools.sql.judge import Judged, judge, judge_afresh
from ostiary_tools.sql.tree import levels, same
from ostiary_tools.view import SchemaView

SLOWEST_S = 20
"""Of processor time; a statement of the greatest length takes about one."""


class Broken(Exception):
    """A property does not hold."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name


def judged(text: str, view: SchemaView) -> Judged | Refused:
    """The judgement, once everything that must hold of it does. Raises Broken."""
    with _bounded():
        try:
            found = judge(text, view)
        except Refused as refusal:
            return refusal
        except Broken:
            raise
        except BaseException as error:
            raise Broken("raises", repr(error)) from error
        _check_print(found, view)
        _check_walk(found.statement.text)
        if not found.catalogs:
            _check_meaning(text, found.statement.text)
        return found


def _check_print(found: Judged, view: SchemaView) -> None:
    try:
        again = judge_afresh(found.statement.text, view)
    except Refused as refusal:
        raise Broken("fixpoint", f"the print is refused: {refusal}") from None
    if again != replace(found, supplied=()):
        raise Broken("fixpoint", f"the print is judged otherwise: {again.statement.text}")


def _check_walk(printed: str) -> None:
    """The judge's way through a tree leads past every node."""
    tree = parse_sql(printed)[0].stmt
    reached = sum(len(level) for level in levels(tree))
    every = sum(1 for _ in _every(tree))
    if reached != every:
        raise Broken("walk", f"{every - reached} nodes are never looked at")


def _every(tree: Any) -> Iterator[Any]:
    stack = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, tuple):
            stack.extend(part)
        elif isinstance(part, ast.Node):
            yield part
            stack.extend(getattr(part, name) for name in part)


def _check_meaning(text: str, printed: str) -> None:
    """But for the names that the judge completes, the print says what the text said."""
    before, after = parse_sql(text)[0].stmt, parse_sql(printed)[0].stmt
    if _is_rewritten(before) or _count(before, ast.RangeSubselect) != _count(after, ast.RangeSubselect):
        return
    for tree in (before, after):
        _forget_names(tree)
    if not same(before, after):
        raise Broken("meaning", printed)


def _is_rewritten(tree: Any) -> bool:
    """Stars, NATURAL, `unnest` of several, `pg_typeof` and questions to the catalog are written otherwise on purpose."""
    for node in _every(tree):
        if isinstance(node, ast.A_Star) or (isinstance(node, ast.JoinExpr) and node.isNatural):
            return True
        if isinstance(node, ast.FuncCall) and node.funcname and node.funcname[-1].sval.startswith(("unnest", "pg_", "to_reg")):
            return True
        if isinstance(node, ast.TypeName) and node.names and node.names[-1].sval.startswith("reg"):
            return True
    return False


def _count(tree: Any, kind: type) -> int:
    return sum(isinstance(node, kind) for node in _every(tree))


def _forget_names(tree: Any) -> None:
    """Leave of each dotted name its last word, and of output columns no name."""
    for node in _every(tree):
        for name in ("funcname", "names", "fields", "collname", "method"):
            if isinstance(value := getattr(node, name, None), tuple) and value:
                setattr(node, name, value[-1:])
        if isinstance(node, ast.RangeVar):
            node.schemaname = None
        if isinstance(node, ast.ResTarget):
            node.name = None


@contextmanager
def _bounded() -> Iterator[None]:
    """Break off what takes too long; the interpreter looks at signals between two instructions."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Broken("slow", f"longer than {SLOWEST_S} seconds")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SLOWEST_S)
    start = time.process_time()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    if time.process_time() - start > SLOWEST_S:
        raise Broken("slow", f"{time.process_time() - start:.0f} seconds")
