"""A few rows of a change for its caller, as they were and as they are: through its masks and row rules, or not at all."""

import asyncio
from collections.abc import Iterator, Mapping
from itertools import islice

from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.masks import Mask
from ostiary_policies.model import Column, Obligations, Permit
from ostiary_tools.change import Sample, changed_columns, relation_of
from ostiary_tools.datasources.port import Changer
from ostiary_tools.effects import Effects, TableEffect
from ostiary_tools.errors import Overtaken, Refused
from ostiary_tools.identifiers import quoted
from ostiary_tools.snapshot import Relation
from ostiary_tools.sql.masking import masked
from ostiary_tools.view import SchemaView, World

_TABLES = 3
_ROWS = 3
_COLUMNS = 8


async def samples(effects: Effects, changer: Changer, permit: Permit, world: World, engine: Engine) -> tuple[Sample, ...]:
    """Of the first tables that the caller may read anything of."""
    view = world.view(permit.intent.datasource)
    shown: list[Sample] = []
    for effect in effects.tables:
        if len(shown) == _TABLES:
            break
        relation = relation_of(effect.table, view)
        names = await asyncio.to_thread(_names, effect, _masks(relation, view), _assigned(relation, permit))
        if expressions := list(islice(_expressions(names, relation, view, permit, engine), _COLUMNS)):
            shown.append(await _sample(effect, expressions, changer, view))
    return tuple(shown)


async def _sample(effect: TableEffect, expressions: list[str], changer: Changer, view: SchemaView) -> Sample:
    terms = view.rows.get(effect.table)
    predicate = terms.predicate if terms else "TRUE"
    keys = tuple(view.hash_key or ())
    sides = [
        await changer.sample(effect.table, expressions, predicate, keys, before=before, limit=_ROWS) if any_ else None
        for before, any_ in ((True, effect.updated + effect.deleted), (False, effect.updated + effect.inserted))
    ]
    return Sample(".".join(effect.table), *sides)


def _masks(relation: Relation, view: SchemaView) -> Mapping[str, Mask]:
    return {column.name: mask for column in relation.columns if (mask := view.mask(relation, column)) is not None}


def _expressions(names: list[str], relation: Relation, view: SchemaView, permit: Permit, engine: Engine) -> Iterator[str]:
    """The key and what has changed, as the caller reads it. Whether a masked column is there depends on no value of it."""
    masks = _masks(relation, view)
    for name in names:
        column = relation.column(name)
        access = view.reading(relation, column) if column is not None else None
        if column is None or access is None or not _free(engine.allows(permit.principal, access).obligations):
            continue
        expression = masked(masks[name], column, view.snapshot.types, (1, 2)) if name in masks else quoted(name)
        if expression is not None and engine.allows(permit.principal, access).allowed:
            yield f"{expression} AS {quoted(name)}"


def in_words(found: Overtaken, permit: Permit, world: World, engine: Engine) -> Refused:
    """How many rows; of which table, where the caller sees it; their keys, where it reads every one and has all rows."""
    view = world.view(permit.intent.datasource)
    relation = view.relation(*found.table)
    whose, which = "", ""
    if relation is not None:
        whose = f" of `{'.'.join(found.table)}`"
        if found.table not in view.rows and all(_plain(name, relation, view, permit, engine) for name in found.key):
            more = f" and {found.count - len(found.rows):,} more" if found.count > len(found.rows) else ""
            which = f": {', '.join('(' + ', '.join(map(str, row)) + ')' for row in found.rows)}{more}"
    what = "1 row" if found.count == 1 else f"{found.count:,} rows"
    end = "is no longer as the change left it" if found.count == 1 else "are no longer as the change left them"
    return Refused(found.rule, f"{what}{whose} {end}{which}", found.hint, quotes=bool(which))


def _plain(name: str, relation: Relation, view: SchemaView, permit: Permit, engine: Engine) -> bool:
    """Whether the caller reads the column as it is, and nothing more is asked for that."""
    column = relation.column(name)
    access = view.reading(relation, column) if column is not None else None
    if column is None or access is None or view.mask(relation, column) is not None:
        return False
    verdict = engine.allows(permit.principal, access)
    return verdict.allowed and _free(verdict.obligations)


def _assigned(relation: Relation, permit: Permit) -> frozenset[str]:
    """Columns that a statement writes itself, whatever it writes there."""
    written = (access.resource for access in permit.intent.accesses if access.action in (Action.INSERT, Action.UPDATE))
    columns = (one for one in written if isinstance(one, Column))
    return frozenset(one.name for one in columns if (one.schema, one.table) == (relation.schema, relation.name))


def _names(effect: TableEffect, masks: Mapping[str, Mask], assigned: frozenset[str]) -> list[str]:
    """The key, the columns that have changed, and of rows that came or went whatever they hold; of masked ones those assigned."""
    whole = [row.before or row.after for row in effect.rows if row.before is None or row.after is None]
    held = {name for place, name in enumerate(effect.columns) if any(row is not None and row[place] is not None for row in whole)}
    wanted = held.union(changed_columns(effect)).difference(masks).union(assigned.intersection(masks), effect.key)
    return sorted(wanted.intersection(effect.columns), key=lambda name: (name not in effect.key, effect.columns.index(name)))


def _free(terms: Obligations) -> bool:
    """Whether reading it asks for nothing that a sample could not give."""
    return not (terms.approvals or terms.replica or terms.taints or terms.budgets)
