"""Why a call would be permitted or denied: planned and decided as the gate does it, and then neither run nor recorded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.entities import resource_id
from ostiary_policies.explain import explain, term_by_term
from ostiary_policies.masks import Mask
from ostiary_policies.model import Access, AuditLog, Column, Intent, Permit, Principal, Table
from ostiary_tools.api import Refused, Tool, ToolError, World
from ostiary_tools.identifiers import identifier, qualified
from ostiary_tools.view import RowTerms


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision in words, for the owner of the policies."""

    allowed: bool
    sentences: tuple[str, ...]
    """A headline, then one for each term or reason."""
    rules: tuple[str, ...]
    """Ids of the policies that decided, or the rule of the grammar that refused before them."""
    statements: tuple[str, ...] = ()
    """What would be run: the judged text, names bound and stars written out, with its fences."""


def explain_call(engine: Engine, principal: Principal, tool: Tool[Any], arguments: Mapping[str, Any], world: World) -> Explanation:
    """Plan the call in this world and decide it."""
    try:
        intent = tool.plan(tool.args.model_validate(dict(arguments)), world)
    except ValidationError as error:
        wrong = (f"`{'.'.join(map(str, found['loc']))}`: {found['msg'].lower()}" for found in error.errors(include_url=False))
        return Explanation(allowed=False, sentences=("the arguments are not valid", *wrong), rules=())
    except ToolError as error:
        rules = (error.rule,) if isinstance(error, Refused) else ()
        said = (f"refused before any policy was asked: {error.message}", *(f"rule `{rule}`" for rule in rules), error.hint)
        return Explanation(allowed=False, sentences=tuple(filter(None, said)), rules=rules)
    decision = engine.decide(principal, intent)
    if isinstance(decision, Permit):
        statements = tuple(statement.runs for statement in (*intent.statements, *intent.lookups, *intent.changes))
        sentences = (*explain(decision), *told_rows(intent, world), *told_masks(intent, world, engine))
        return Explanation(allowed=True, sentences=sentences, rules=decision.rules, statements=statements)
    forbids = tuple(sorted({rule for reason in decision.reasons for rule in reason.rules}))
    return Explanation(allowed=False, sentences=tuple(explain(decision)), rules=forbids)


def deciding(permit: Permit, world: World) -> tuple[str, ...]:
    """Ids of all policies that decided what the call gets: those of the permit, and row rules of the tables it touches; sorted."""
    of_rows = (rule for _, terms in filtered(permit.intent, world) for rule in terms.rules)
    return tuple(sorted({*permit.rules, *of_rows}))


def filtered(intent: Intent, world: World) -> Iterator[tuple[Table, RowTerms]]:
    """The tables the call would touch of which the caller has the rows that rules allow, by their ids."""
    view = world.views.get(intent.datasource or "")
    if view is None or not (view.rows or view.writes):
        return
    tables = {
        access.resource for access in intent.accesses if access.action is not Action.SEE and isinstance(access.resource, Table)
    }
    written = sorted({(access.action.value, access.resource) for access in intent.accesses if access.resource in tables}, key=repr)
    for table in sorted(tables, key=resource_id):
        name = (table.schema, table.name)
        own = (view.writes.get((word, name)) for word, one in written if one == table)
        yield from ((table, terms) for terms in (view.rows.get(name), *own) if terms is not None)


def masks(intent: Intent, world: World) -> Iterator[tuple[Column, Mask]]:
    """The columns of which the call would get masks, by their ids."""
    view = world.views.get(intent.datasource or "")
    columns = (access.resource for access in intent.accesses if access.action is Action.READ_MASKED)
    for column in sorted((one for one in columns if isinstance(one, Column)), key=resource_id):
        if view is not None and (mask := view.masked.get(column)) is not None:
            yield column, mask


def narrowing(permit: Permit, world: World, engine: Engine) -> Iterator[str]:
    """What of the call's tables its caller gets, on what terms and by which rules, in lines for the caller."""
    for table, terms in filtered(permit.intent, world):
        yield f"rows: of {qualified(table.schema, table.name)} only what the rules allow{_by(terms.rules)}"
    for column, mask in masks(permit.intent, world):
        name = f"{qualified(column.schema, column.table)}.{identifier(column.name)}"
        yield f"mask: of {name} only `{mask.kind}`{_by(_masking(column, mask, world, engine))}"
    for term, words in term_by_term(permit.obligations).items():
        yield f"term: {words}{_by(engine.stating(permit, term))}"
    if engine.allows(permit.principal, Access(Action.READ_AUDIT, AuditLog())).allowed:
        # It holds what rules compare with, which is for those who see all that was done.
        intent = permit.intent
        for statement in (*intent.statements, *intent.lookups, *intent.explained, *intent.changes):
            yield f"it would run: {statement.runs}"


def _by(rules: Sequence[str]) -> str:
    return f", by {', '.join(f'`{rule}`' for rule in rules)}" if rules else ""


def _masking(column: Column, mask: Mask, world: World, engine: Engine) -> tuple[str, ...]:
    """Ids of the policies that state the mask."""
    rules = engine.allows(world.principal, Access(Action.READ_MASKED, column)).rules
    return tuple(rule for rule in rules if engine.policies.policies[rule].mask == mask)


def told_masks(intent: Intent, world: World, engine: Engine) -> Iterator[str]:
    """The same in sentences, for the owner of the policies."""
    for column, mask in masks(intent, world):
        stating = ", ".join(f"`{rule}`" for rule in _masking(column, mask, world, engine))
        yield f"of `{resource_id(column)}` only the mask `{mask}` ({stating})"


def told_rows(intent: Intent, world: World) -> Iterator[str]:
    """The same in sentences, for the owner of the policies."""
    for table, terms in filtered(intent, world):
        rules = ", ".join(f"`{rule}`" for rule in terms.rules) or "no row rule permits any"
        yield f"of `{resource_id(table)}` only the rows where {terms.predicate} ({rules})"
