"""The judgement of a statement, the only door of this package.

What is run is the text printed from the judged tree, and that text is judged again: its
accesses and its print must be the same, so a fault of the printer can refuse a
statement and never widen it.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from pglast.parser import fingerprint

from ostiary_policies.model import Access, Resource, Statement
from ostiary_tools.catalogs import Name, value
from ostiary_tools.errors import Refused
from ostiary_tools.sql import catalogs, expansion, explaining, fencing, grammar, printing, statement
from ostiary_tools.sql.parse import parse
from ostiary_tools.sql.scope import Env
from ostiary_tools.sql.tree import same
from ostiary_tools.sql.work import Work
from ostiary_tools.view import SchemaView


@dataclass(frozen=True, slots=True)
class Judged:
    """A statement that reads, and all that it would do."""

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
    """The caller's own."""
    catalogs: tuple[Name, ...] = ()
    """Offered catalogs it reads, in the order of the parameters that follow the caller's."""
    supplied: tuple[str, ...] = field(default=(), repr=False)
    """The value of each of them."""
    keyed: bool = False
    """What is run takes the halves of the hash key."""


_Key = tuple[str, str, str, frozenset[Resource], frozenset[Resource], Hashable]

_memory: dict[_Key, Judged] = {}
_KEPT = 1_000
_KEPT_CHARS = 10_000
"""A longer text is judged each time: the memory stays under some 20 MB."""


def judge(text: str, view: SchemaView) -> Judged:
    """Judge one statement as the caller of `view`. Raises Refused and nothing else.

    The answer follows from the text, the schema and what the caller may see and read of it, so it
    is remembered by these; agents repeat themselves, and the gate asks for each plan again.
    """
    key = (text, view.datasource, view.snapshot.version, view.visible, view.readable, view.narrowed)
    if (known := _memory.get(key)) is not None:
        return _supplied(known, view)
    try:
        judged = judge_afresh(text, view)
    except RecursionError as error:
        raise printing.unprintable() from error
    if view.snapshot.version and len(text) <= _KEPT_CHARS:
        if len(_memory) >= _KEPT:
            _memory.clear()
        _memory[key] = _memory[judged.statement.text, *key[1:]] = judged
    return _supplied(judged, view)


class Bindable(Protocol):
    """A judged statement, whether it reads or changes."""

    @property
    def statement(self) -> Statement: ...  # noqa: D102  as said there

    @property
    def parameter_count(self) -> int: ...  # noqa: D102

    @property
    def supplied(self) -> tuple[str, ...]: ...  # noqa: D102


def bind(judged: Bindable, values: Sequence[str | float | bool | None]) -> Statement:
    """The judged statement with the caller's value for each of its parameters. Raises Refused."""
    if judged.parameter_count != len(values):
        message = f"the statement has {judged.parameter_count} parameters and {len(values)} values were given"
        raise Refused("parameters", message, "give one value for each of $1, $2 …")
    return replace(judged.statement, parameters=(*map(_as_text, values), *judged.supplied))


def own(statement: Statement, view: SchemaView) -> Statement:
    """A bound statement without what the judge supplied: what is kept of it to be judged and bound again."""
    return Statement(statement.text, statement.parameters[: judge(statement.text, view).parameter_count])


def judge_afresh(text: str, view: SchemaView) -> Judged:
    """Judge without remembering. Raises Refused, and RecursionError where the printer gives up."""
    tree, checked, accesses = classify(parse(text), text, view)
    printed = printing.print_scans(tree)
    fence = fencing.fenced(tree, printed, view, checked.parameter_count + len(checked.catalogs), repeats=checked.repeats)
    again = fence.tree if fence else tree
    if printed.text != text:
        again, checked_again, accesses_again = classify(fence.tree if fence else parse(printed.text), printed.text, view)
        if accesses_again != accesses or checked_again.catalogs != checked.catalogs:
            raise printing.unprintable()
    if not same(tree, again):
        raise printing.unprintable()
    return _judged(printed.text, checked, accesses, fence)


def classify(tree: Any, text: str, view: SchemaView) -> tuple[Any, grammar.Grammar, frozenset[Access]]:
    """The tree with every name bound, what kind of statement it is, and all that it would do. Raises Refused."""
    checked = grammar.check(tree)
    work = Work(view, text, keeps_rows=checked.selects_fields)
    work.run(view.snapshot.always, "this database's own types")
    statement.select(checked.select, Env(), work)
    if checked.repeats:
        expansion.check(checked.select)
    if checked.kind == "explain":
        explaining.check(work, verbose=checked.verbose)
    names = catalogs.number(work, checked.parameter_count)
    return tree, replace(checked, catalogs=names) if names else checked, view.of_wholes(work.accesses)


def _judged(printed: str, checked: grammar.Grammar, accesses: frozenset[Access], fence: fencing.Fenced | None) -> Judged:
    ordered = tuple(sorted(accesses, key=repr))
    return Judged(
        Statement(printed, fenced=fence.text if fence else "", estimated=fence.estimated if fence else ""),
        ordered,
        fingerprint(printed),
        printing.redact(printed),
        "explain" if checked.kind == "explain" else "select",
        checked.parameter_count,
        checked.catalogs,
        keyed=fence is not None and fence.keyed,
    )


def _supplied(judged: Judged, view: SchemaView) -> Judged:
    """With the values of the catalogs it reads and the hash key; they are kept by the view, not by the memory."""
    if judged.catalogs:
        judged = replace(judged, supplied=tuple(value(view, name) for name in judged.catalogs))
    return replace(judged, statement=with_keys(judged.statement, view)) if judged.keyed else judged


def with_keys(statement: Statement, view: SchemaView) -> Statement:
    """The statement with the halves of the hash key. Raises Refused when there are none."""
    if view.hash_key is None:
        raise Refused("mask", "a column of the statement is masked by a hash, and there is no key for it", "tell the operator")
    return replace(statement, keys=tuple(view.hash_key))


def _as_text(value: str | float | bool | None) -> str | None:
    """A JSON value in PostgreSQL's input syntax."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
