"""How the rows behind a collection are looked up for one caller, and what of them it may have.

What a text is made of decides how near it is to a question, so its caller must have every part of that as it is: the columns of
the template, what chooses the rows, and each row that a text was gathered from. Of metadata it has what it has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Statement, Table
from ostiary_tools.chunking.template import parsed
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Name
from ostiary_tools.sql import picking
from ostiary_tools.sql.judge import Judged, judge
from ostiary_tools.vectors.collection import Source
from ostiary_tools.view import SchemaView, World


@dataclass(frozen=True, slots=True)
class Lookup:
    """A statement for `Intent.lookups`, and what its rows hold."""

    statement: Statement
    """Its parameter is an array of keys."""
    accesses: tuple[Access, ...]
    columns: tuple[str, ...]
    """In their order: the key, those of the text, then metadata; each once."""
    masked: frozenset[str]
    """Metadata that the caller has otherwise than it was kept, through a mask or from fewer rows: shown, and not asked for."""
    hidden: frozenset[str]
    """Metadata that it does not have."""


def lookup_of(source: Source, view: SchemaView) -> Lookup:
    """For the caller of the view. Raises Refused, in words that name nothing of what is behind the collection."""
    key = ("lookup", source)
    if key not in view.kept:
        view.kept[key] = _lookup_of(source, view)
    found: Lookup = view.kept[key]
    return found


def _lookup_of(source: Source, view: SchemaView) -> Lookup:
    shown = dict.fromkeys(column for _, column in parsed(source.template).pieces if column)
    text = tuple(dict.fromkeys((source.key, *shown)))
    try:
        select = picking.Source(source.statement)
        needed = judge(select.by_key(source.key, text), view)
    except Refused as error:
        raise not_yours() from error
    if select.takes_values or needed.parameter_count != 1 or needed.catalogs:
        raise Refused("source", "rows of such a statement cannot be looked up", "index them without values, and of tables alone")
    if _masks(needed) or select.reaches_otherwise(tuple(_withheld(needed, view))):
        raise not_yours()
    others = dict.fromkeys(name for name in source.metadata if name not in text)
    judged = {name: _judged(select.by_key(source.key, (*text, name)), view) for name in others}
    hidden = frozenset(name for name, one in judged.items() if one is None)
    found = {name: one for name, one in judged.items() if one is not None}
    masked = (name for name, one in found.items() if _masks(one) or select.reaches_otherwise(tuple(_withheld(one, view))))
    columns = (*text, *found)
    whole = judge(select.by_key(source.key, columns), view)
    return Lookup(whole.statement, whole.accesses, columns, frozenset(masked), hidden)


def _judged(text: str, view: SchemaView) -> Judged | None:
    try:
        return judge(text, view)
    except Refused:
        return None


def _masks(judged: Judged) -> bool:
    return any(access.action is Action.READ_MASKED for access in judged.accesses)


def _withheld(judged: Judged, view: SchemaView) -> Iterator[Name]:
    """Relations that it reads and of which rules leave the caller some rows."""
    for access in judged.accesses:
        if isinstance(access.resource, Table) and access.action is Action.READ:
            name = (access.resource.schema, access.resource.name)
            inside = view.insides.get(name)
            if name in view.rows or (inside is not None and inside.rules):
                yield name


def withheld(lookup: Lookup, view: SchemaView) -> bool:
    """Whether there may be rows that its caller has not."""
    tables = {access.resource for access in lookup.accesses if isinstance(access.resource, Table)}
    names = ((table.schema, table.name) for table in tables)
    return any(name not in view.snapshot.relations or view.filtered(view.snapshot.relations[name]) for name in names)


def view_of(source: Source, world: World) -> SchemaView:
    """The caller's view of where the rows are. Raises Refused, in the same words where that does not exist for the caller."""
    if source.datasource not in {*world.views, *world.unavailable}:
        raise not_yours()
    return world.view(source.datasource)


def not_yours() -> Refused:
    """The refusal of rows that the caller has not whole, whatever of them it is."""
    return Refused(
        "source", "the texts of this collection are made of what you may not read as it is", "search another collection, or query"
    )
