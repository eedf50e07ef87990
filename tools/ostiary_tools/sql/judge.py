"""The judgement of a statement, the only door of this package.

What is run is the text printed from the judged tree, and that text is judged again: its
accesses and its print must be the same, so a fault of the printer can refuse a
statement and never widen it.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pglast.parser import fingerprint

from ostiary_policies.model import Access, Statement
from ostiary_tools.sql import explaining, grammar, printing, statement
from ostiary_tools.sql.parse import parse
from ostiary_tools.sql.scope import Env
from ostiary_tools.sql.work import Work
from ostiary_tools.view import SchemaView


@dataclass(frozen=True, slots=True)
class Judged:
    """A statement and all that it would do."""

    statement: Statement
    """The printed text, without bound values."""
    accesses: tuple[Access, ...]
    """Sorted, unique."""
    fingerprint: str
    """Equal for statements that differ in their constants only."""
    redacted: str
    """The text without its constants, for the audit log."""
    kind: Literal["select", "explain"]
    parameter_count: int


def judge(text: str, view: SchemaView) -> Judged:
    """Judge one statement as the caller of `view`. Pure. Raises Refused and nothing else."""
    try:
        return _judge(text, view)
    except RecursionError as error:
        raise printing.unprintable() from error


def _judge(text: str, view: SchemaView) -> Judged:
    tree, checked, accesses = _read(text, view)
    printed = printing.print_tree(tree)
    if printed == text:
        # Reading it again would be the same computation: this is the text of an earlier judgement.
        return _judged(printed, checked, accesses)
    again, checked, accesses_again = _read(printed, view)
    if accesses_again != accesses or printing.print_tree(again) != printed or not printing.same(tree, again):
        raise printing.unprintable()
    return _judged(printed, checked, accesses)


def _judged(printed: str, checked: grammar.Grammar, accesses: set[Access]) -> Judged:
    ordered = tuple(sorted(accesses, key=repr))
    return Judged(
        Statement(printed), ordered, fingerprint(printed), printing.redact(printed), checked.kind, checked.parameter_count
    )


def _read(text: str, view: SchemaView) -> tuple[Any, grammar.Grammar, set[Access]]:
    tree = parse(text)
    checked = grammar.check(tree)
    work = Work(view)
    statement.select(checked.select, Env(), work)
    if checked.kind == "explain":
        explaining.check(work, verbose=checked.verbose)
    return tree, checked, work.accesses
