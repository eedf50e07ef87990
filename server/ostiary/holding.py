"""What a change did, held against policy: every table it reached, by whatever means, and every row.

What the caller may not know of is refused without its name.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from ostiary.errors import Denied
from ostiary.refusal import refusal
from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.model import Access, Column, Denial, Permit, Reason, Table
from ostiary_tools.change import relation_of, touched
from ostiary_tools.datasources.port import Changer
from ostiary_tools.effects import Effects, TableEffect
from ostiary_tools.errors import Refused
from ostiary_tools.view import RowTerms, SchemaView, World

_UNHELD = ("replica", "max_cost", "max_rows_scanned")
"""Terms that say how something is read; a change cannot be held to them."""


async def hold(effects: Effects, changer: Changer, permit: Permit, world: World, engine: Engine) -> None:
    """Refuse what policy does not let the caller do. Raises CallFailed, Refused, SchemaChanged."""
    view = world.view(permit.intent.datasource)
    _defined(effects, permit)
    _decided(await asyncio.to_thread(touched, effects, view), effects.rows, permit, world, engine)
    for effect in effects.tables:
        await _rows(effect, changer, view, permit.intent.accesses)


def bearable(permit: Permit, engine: Engine) -> None:
    """Refuse a permit on terms that a change cannot be held to. Raises Denied."""
    for term in _UNHELD:
        if getattr(permit.obligations, term) is not None:
            rules = engine.stating(permit, term)
            named = ", ".join(f"`{rule}`" for rule in rules)
            message = f"rule {named} states `@{term}`, and a change cannot be held to that"
            raise Denied(message, "ask for a table without such a rule, or tell the operator", rules)


async def terms_of_applying(effects: Effects, permit: Permit, world: World, engine: Engine) -> Permit | Denial:
    """What policy says of applying a change that was just proposed."""
    extra = await asyncio.to_thread(touched, effects, world.view(permit.intent.datasource))
    accesses = tuple(dict.fromkeys((*permit.intent.accesses, *extra)))
    applied = replace(permit.intent, tool="apply_change", accesses=accesses, stays=True, rows_changed=effects.rows_known)
    return engine.decide(permit.principal, applied)


def _defined(effects: Effects, permit: Permit) -> None:
    if effects.defined and not any(access.action is Action.DEFINE for access in permit.intent.accesses):
        message = "the change would define things in the database, by what its statements set off"
        raise Refused("define", message, "change rows only; a trigger of the table does more than that")


def _decided(accesses: Sequence[Access], rows: int, permit: Permit, world: World, engine: Engine) -> None:
    view = world.view(permit.intent.datasource)
    stated = frozenset(permit.intent.accesses)
    others = tuple(access for access in accesses if access not in stated)
    if not others:
        return
    verdict = engine.decide(permit.principal, replace(permit.intent, accesses=(*permit.intent.accesses, *others)))
    if isinstance(verdict, Permit):
        bearable(verdict, engine)
        _no_stricter(verdict, permit, rows, engine)
        return
    known, hidden = _told_apart(verdict.reasons, view)
    if hidden or not known:
        message = "the change would reach things that are not for you, by foreign keys or triggers of its tables"
        raise Denied(message, "leave out the rows that others refer to; somebody who may change those can do it", ("effects",))
    raise refusal(replace(verdict, reasons=known), world)


def _no_stricter(verdict: Permit, permit: Permit, rows: int, engine: Engine) -> None:
    """Refuse terms of what foreign keys and triggers reached that were not known when the call was decided."""
    stated, known = verdict.obligations, permit.obligations
    unasked = set(engine.approvals(verdict)) - set(engine.approvals(permit))
    if stated.limit_rows is not None and rows > stated.limit_rows:
        raise Denied(f"the change is of {rows} rows, and {stated.limit_rows} are allowed", "change fewer rows", verdict.rules)
    if unasked or not stated.taints <= known.taints or not set(stated.budgets) <= set(known.budgets):
        message = "the change would reach tables, by foreign keys or triggers, whose terms it was not begun on"
        raise Denied(message, "propose it again", verdict.rules)


def _told_apart(reasons: Sequence[Reason], view: SchemaView) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """Those of things that exist for the caller, and the others."""
    known = tuple(reason for reason in reasons if _exists(reason.access, view))
    return known, tuple(reason for reason in reasons if reason not in known)


def _exists(access: Access, view: SchemaView) -> bool:
    resource = access.resource
    if isinstance(resource, Column):
        table = Table(resource.datasource, resource.schema, resource.table, resource.table_tags)
        return resource in view.visible and table in view.visible
    return resource in view.visible


async def _rows(effect: TableEffect, changer: Changer, view: SchemaView, stated: Collection[Access]) -> None:
    """Hold each row, as it was and as it is, to the rules of its table."""
    relation = relation_of(effect.table, view)
    for terms, before, doing in _rules(effect, view, stated):
        if terms.refusal or await changer.outside(effect.table, terms.predicate, before=before):
            rules = terms.rules or ("default-deny",)
            table = f"`{relation.schema}.{relation.name}`"
            which = "rows that are not yours to" if before else "rows that would not be yours to"
            raise Denied(f"the change would {doing} {which} have or change in {table}", "narrow it to rows you may change", rules)


def _rules(effect: TableEffect, view: SchemaView, stated: Collection[Access]) -> Iterator[tuple[RowTerms, bool, str]]:
    """Each predicate with whether it is of rows as they were, and what is done to them.

    A row that was deleted and inserted again with its key is seen as one that was updated, and is held to the rules of all three.
    """
    reading = view.rows.get(effect.table)
    table = relation_of(effect.table, view).resource(view.datasource)
    added, removed = [effect.updated if Access(action, table) in stated else 0 for action in (Action.INSERT, Action.DELETE)]
    kinds = (
        ("insert", effect.inserted + added, (False,)),
        ("update", effect.updated, (True, False)),
        ("delete", effect.deleted + removed, (True,)),
    )
    for word, count, sides in kinds:
        for before in sides if count else ():
            doing = "make" if not before else "touch"
            if reading is not None:
                yield reading, before, doing
            if (own := view.writes.get((word, effect.table))) is not None:
                yield own, before, doing
