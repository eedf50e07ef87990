"""The judgement of a statement that changes rows: the other door of this package.

It is judged like one that reads, printed and judged again; where the caller has not all rows or values of the table that
it changes, a fence stands beside that, through which alone the statement sees it.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from pglast import ast
from pglast.parser import fingerprint

from ostiary_policies.model import Access, Resource, Statement
from ostiary_tools.catalogs import Name
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Relation
from ostiary_tools.sql import expansion, fencing, grammar, printing, reaching, writing
from ostiary_tools.sql.defining import JudgedDefinition, defines, judge_definition
from ostiary_tools.sql.judge import with_keys
from ostiary_tools.sql.parse import parse
from ostiary_tools.sql.printing import Printed
from ostiary_tools.sql.tree import same
from ostiary_tools.sql.twin import names_beside, twin, untwinned
from ostiary_tools.sql.work import Work
from ostiary_tools.view import SchemaView

ChangeKind = Literal["insert", "update", "delete", "merge", "define"]


@dataclass(frozen=True, slots=True)
class JudgedChange:
    """A statement that changes rows, and all that it would do."""

    statement: Statement
    """The printed text, without bound values."""
    accesses: tuple[Access, ...]
    """Sorted, unique; of what foreign keys and triggers do too."""
    fingerprint: str
    """Equal for statements that differ in their constants only."""
    redacted: str
    """The text without its constants, for the audit log."""
    kind: ChangeKind
    target: Name | None
    """The table whose rows it changes; `None` for a definition."""
    parameter_count: int
    keyed: bool = False
    """What is run takes the halves of the hash key."""
    given: frozenset[tuple[Name, str]] = frozenset()
    """Columns of the target, and of its parts, whose values the statement itself says: not by their defaults alone."""
    supplied: tuple[str, ...] = ()
    """None: a change does not read the catalogs. As of `Judged`, so that both are bound alike."""


_Key = tuple[str, str, str, frozenset[Resource], frozenset[Resource], Hashable]

_memory: dict[_Key, JudgedChange] = {}
_KEPT = 500
_KEPT_CHARS = 10_000


def judge_change(text: str, view: SchemaView) -> JudgedChange:
    """Judge one statement that changes rows as the caller of `view`; remembered as of `judge`. Raises Refused and nothing else."""
    key = (text, view.datasource, view.snapshot.version, view.visible, view.readable, view.narrowed)
    if (known := _memory.get(key)) is None:
        try:
            known = _judged_afresh(text, view)
        except RecursionError as error:
            raise printing.unprintable() from error
        if view.snapshot.version and len(text) <= _KEPT_CHARS:
            if len(_memory) >= _KEPT:
                _memory.clear()
            _memory[key] = _memory[known.statement.text, *key[1:]] = known
    return replace(known, statement=with_keys(known.statement, view)) if known.keyed else known


def _judged_afresh(text: str, view: SchemaView) -> JudgedChange:
    tree = parse(text)
    if defines(tree):
        return _of_definition(judge_definition(text, view))
    checked, target, accesses = _classified(tree, text, view)
    relation = target.relation
    printed = printing.print_scans(tree)
    fence = _fenced(tree, printed, relation, checked, view)
    again = fence.tree if fence else parse(printed.text)
    _, again_target, accesses_again = _classified(again, printed.text, view)
    given = _given(target, view)
    if (
        accesses_again != accesses
        or again_target.relation != relation
        or _given(again_target, view) != given
        or not same(tree, again)
    ):
        raise printing.unprintable()
    return JudgedChange(
        Statement(printed.text, fenced=fence.text if fence else "", estimated=fence.estimated if fence else ""),
        tuple(sorted(accesses, key=repr)),
        fingerprint(printed.text),
        printing.redact(printed.text),
        cast("ChangeKind", checked.kind),
        target.name,
        checked.parameter_count,
        keyed=fence is not None and fence.keyed,
        given=given,
    )


def _given(target: writing.Target, view: SchemaView) -> frozenset[tuple[Name, str]]:
    parts = reaching.whole(target.relation, view)
    return frozenset(((part.schema, part.name), column) for part in parts for column in target.changes.given)


def _fenced(tree: Any, printed: Printed, target: Relation, checked: grammar.Grammar, view: SchemaView) -> fencing.Fenced | None:
    """The fenced text, and the judged tree again, from this text. Raises Refused."""
    repeats = checked.repeats
    if isinstance(tree, ast.InsertStmt) or not view.fenced(target):
        return fencing.fenced(tree, printed, view, checked.parameter_count, repeats=repeats)
    names = names_beside(printed.text, " ".join(column.name for column in target.columns))
    both = twin(tree, names)
    fence = fencing.fenced(both, printing.print_scans(both), view, checked.parameter_count, repeats=repeats, beside=names)
    if fence is None:
        raise printing.unprintable()
    return replace(fence, tree=untwinned(fence.tree, names))


def _of_definition(judged: JudgedDefinition) -> JudgedChange:
    return JudgedChange(judged.statement, judged.accesses, judged.fingerprint, judged.redacted, judged.kind, None, 0)


def _classified(tree: Any, text: str, view: SchemaView) -> tuple[grammar.Grammar, writing.Target, frozenset[Access]]:
    """What kind of statement it is, what it changes, and all that it would do; every name of the tree is bound. Raises Refused."""
    checked = grammar.check_change(tree)
    work = Work(view, text, keeps_rows=checked.selects_fields)
    work.run(view.snapshot.always, "this database's own types")
    target = writing.change(tree, work)
    if checked.repeats:
        expansion.check(writing.as_select(tree))
    if work.supplied:
        raise Refused("catalog", "a change does not read the catalogs", "read them by a query, and write what it gave")
    return checked, target, view.of_wholes(work.accesses)
