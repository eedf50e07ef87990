"""A denial in words for the agent: what was refused, under which rule, and the nearest thing that is allowed.

It says nothing of what the caller may not see: what is hidden reads as unknown.
"""

from collections.abc import Iterable, Sequence
from math import ceil

from ostiary.errors import Denied, OverBudget
from ostiary_policies.actions import Action
from ostiary_policies.budgets import Budget, Measure
from ostiary_policies.engine import Engine
from ostiary_policies.entities import names_in, resource_id
from ostiary_policies.explain import wish_of_backup
from ostiary_policies.model import (
    AuditLog,
    Backup,
    Collection,
    Column,
    Datasource,
    Denial,
    Function,
    Intent,
    Permit,
    Principal,
    Reason,
    Resource,
    Schema,
    Table,
    Tool,
)
from ostiary_tools.backup.known import nearest as nearest_backups
from ostiary_tools.control.budgets import Standing, Wish
from ostiary_tools.identifiers import identifier
from ostiary_tools.join_paths import edges
from ostiary_tools.snapshot import Relation
from ostiary_tools.vectors.known import nearest
from ostiary_tools.view import SchemaView, World

_READS = frozenset({Action.READ, Action.READ_MASKED})
_ALIKE = 2
"""Columns that a table must have of those asked for to be named: one, such as `id`, most tables have."""
_LESS = "ask for less in one call"
_NAMED = 8
"""Names listed at most in one sentence: a refusal is read by a model that pays for each."""


def refusal(denial: Denial, world: World) -> Denied:
    """The error that answers a denied call."""
    rules = sorted({rule for reason in denial.reasons for rule in reason.rules}) or ["default-deny"]
    message = "; ".join(_sentences(denial.reasons, world))
    return Denied(message, _nearest(denial, world), tuple(rules))


def over_budget(exhausted: Sequence[tuple[Wish, Standing]], permit: Permit, engine: Engine, world: World) -> OverBudget:
    """The error that answers a call of which a budget has too little left."""
    rules = sorted({rule for wish, _ in exhausted for rule in engine.stating_budget(permit, wish.budget)})
    said, reasons = [], []
    for wish, standing in exhausted:
        stating = _some(list(engine.stating_budget(permit, wish.budget)))
        reasons.append(f"rule {stating}: {_standing(wish, standing)}")
        said.append(reasons[-1] if _never(wish) else f"{reasons[-1]}; {span(standing.ends_in_s)} until the next")
    hopeless = [wish for wish, _ in exhausted if _never(wish)]
    timed = not hopeless and all(_used(*each) for each in exhausted)
    hint = _smaller(hopeless, permit.intent, world) if hopeless else _later(exhausted, permit.intent, world)
    counted = {wish.budget for wish, _ in exhausted}
    # Which tools read masked columns depends on what is asked of them.
    masks = any(budget.measure is Measure.MASKED_COLUMNS for budget in counted)
    if free := [] if masks else _uncounted(counted, permit.principal, engine, world):
        hint += f"; not counted by it: {_some(free)}"
    again_in_s = max(ceil(standing.ends_in_s) for _, standing in exhausted) if timed else None
    return OverBudget("; ".join(said), hint, tuple(rules), reason="; ".join(reasons), again_in_s=again_in_s)


def _later(exhausted: Sequence[tuple[Wish, Standing]], intent: Intent, world: World) -> str:
    """What to wait for, and what would be answered at once."""
    held = not all(_used(*each) for each in exhausted)
    wait = "wait until your other calls have ended" if held else f"wait {span(max(s.ends_in_s for _, s in exhausted))}"
    new = {column for _, standing in exhausted for column in standing.fresh} & _masked_names(intent, world)
    if others := sorted(map(_of_table, new)):
        wait = f"leave out masked columns that you have not read in that time ({_some(others)}), or {wait}"
    if not held and any(wish.budget.measure in (Measure.ROWS, Measure.BYTES) for wish, _ in exhausted):
        wait += ", and aggregate then: `count(*)` is one row"
    return wait


def _smaller(hopeless: Sequence[Wish], intent: Intent, world: World) -> str:
    """What to leave out of a call that a whole budget is too little for."""
    ways = []
    for wish in hopeless:
        names = sorted(map(_of_table, _masked_names(intent, world))) if wish.budget.measure is Measure.MASKED_COLUMNS else []
        ways.append(f"leave out masked columns until it reads {wish.budget.amount:,} of {_some(names)}" if names else _LESS)
    return "; ".join(dict.fromkeys(ways))


def _never(wish: Wish) -> bool:
    """Whether a window in which nothing else is used has too little for the call as well."""
    return _needs(wish) > wish.budget.amount


def _needs(wish: Wish) -> float:
    # All masked columns are new in a new window; of anything else a call begins with less than its limits let it use.
    return wish.most if wish.budget.measure is Measure.MASKED_COLUMNS else wish.least


def span(seconds: float) -> str:
    """A time to wait, never said shorter than it is."""
    if seconds <= 120:  # noqa: PLR2004  two minutes are still told in seconds
        return f"{max(1, ceil(seconds))} s"
    minutes = ceil(seconds / 60)
    return f"{minutes} min" if minutes <= 120 else f"{ceil(seconds / 3600)} h"  # noqa: PLR2004  two hours in minutes


def _used(wish: Wish, standing: Standing) -> bool:
    """Whether it refuses also when no other call runs."""
    return wish.budget.amount - standing.used < max(wish.least, len(standing.fresh))


def _standing(wish: Wish, standing: Standing) -> str:
    if _never(wish):
        return (
            f"{wish.budget} never suffice{'s' if wish.budget.amount == 1 else ''} for this call, which needs {ceil(_needs(wish)):,}"
        )
    verb = "is" if wish.budget.amount == 1 else "are"
    if standing.fresh and (left := int(wish.budget.amount - standing.used)) > 0:
        return f"of {wish.budget} {left} {'is' if left == 1 else 'are'} left, and this call reads {len(standing.fresh)} others"
    return f"{wish.budget} {verb} used" + ("" if _used(wish, standing) else " or held by calls that run")


def _masked_names(intent: Intent, world: World) -> set[str]:
    """Ids of the columns that the call would read through a mask and that exist for its caller."""
    masked = (access.resource for access in intent.accesses if access.action is Action.READ_MASKED)
    return {resource_id(column) for column in masked if _visible(column, world)}


def _of_table(column: str) -> str:
    """The id of a column as SQL writes it, without its datasource, which the call named."""
    return ".".join(identifier(name) for name in names_in("Column", column)[1:])


def _uncounted(budgets: set[Budget], who: Principal, engine: Engine, world: World) -> list[str]:
    """Tools whose calls these budgets do not count."""
    kinds = {(budget.measure, budget.window) for budget in budgets}
    free = []
    for name in world.tools:
        decision = engine.decide(who, Intent(name))
        if isinstance(decision, Permit) and kinds.isdisjoint((b.measure, b.window) for b in decision.obligations.budgets):
            free.append(name)
    return free


def _sentences(reasons: Iterable[Reason], world: World) -> list[str]:
    columns: dict[tuple[str, str, str], list[str]] = {}
    said = []
    reasons = tuple(reasons)
    closed = {r.access.resource for r in reasons if isinstance(r.access.resource, Table) and _visible(r.access.resource, world)}
    for reason in reasons:
        if any(reason.errors):
            said.append("a policy could not be decided, which refuses the call")
            continue
        resource = reason.access.resource
        if isinstance(resource, Column) and reason.access.action in _READS and _visible(resource, world):
            # Of a table that may not be read itself no column need be named.
            if Table(resource.datasource, resource.schema, resource.table, resource.table_tags) not in closed:
                columns.setdefault((resource.datasource, resource.schema, resource.table), []).append(resource.name)
        else:
            said.append(_sentence(reason.access.action, resource, world))
    for (_, schema, table), names in columns.items():
        said.append(f"you may not read {_plural('column', names)} {_some(names)} of `{schema}.{table}`")
    return sorted(set(said))


def _sentence(action: Action, resource: Resource, world: World) -> str:
    if isinstance(resource, Collection) and action is Action.MANAGE and not _visible(resource, world):
        return f"you may not make a collection `{resource.name}` as this one would be"  # one that is hidden is answered likewise
    if not _visible(resource, world):
        return f"unknown {_kind(resource)} `{_name(resource)}`"
    if isinstance(resource, AuditLog):
        return "you may not read the audit log"
    if isinstance(resource, Backup):
        return f"you may not {wish_of_backup(action, resource)}"
    return f"you may not {action.value} {_kind(resource)} `{_name(resource)}`"


def _visible(resource: Resource, world: World) -> bool:
    match resource:
        case Table(datasource=name) | Column(datasource=name) | Function(datasource=name) | Schema(datasource=name):
            view = world.views.get(name)
            return view is not None and (resource in view.visible or isinstance(resource, Schema))
        case Datasource(name=name):
            return name in world.views
        case Collection(name=name):
            return world.holdings is not None and name in world.holdings.collections
        case Backup():
            return world.backups is not None and resource in world.backups.may
        case Tool() | AuditLog():
            return True


def _nearest(denial: Denial, world: World) -> str:
    """What the agent can do instead, out of what it may see."""
    for reason in denial.reasons:
        match reason.access.resource:
            case Column(datasource=name, schema=schema, table=table) if name in world.views:
                return _readable_columns(world.views[name], schema, table)
            case Table(datasource=name, schema=schema, name=table) if name in world.views:
                return _readable_tables(
                    world.views[name], world.views[name].relation(schema, table), _asked_of(denial, schema, table)
                )
            case Collection(name=name):
                return nearest(world.holdings, reason.access.action)
            case Backup():
                return nearest_backups(world.backups)
            case Function():
                return "built-in functions that only compute need no permission: write it with those"
            case _:
                continue
    return "call `whoami` to see your roles and tools"


def _readable_columns(view: SchemaView, schema: str, table: str) -> str:
    relation = view.relation(schema, table)
    names = [column.name for column in view.readable_columns(relation)] if relation else []
    masked = [column.name for column in view.columns(relation) if view.mask(relation, column)] if relation and names else []
    through = f"; through a mask: {_some(masked)}" if masked else ""
    read = f"columns of `{schema}.{table}` you may read: {_some(names, len(names))}{through}"
    return read if names else _readable_tables(view, relation)


def _asked_of(denial: Denial, schema: str, table: str) -> frozenset[str]:
    """Names of the table's columns that the call would read."""
    resources = (access.resource for access in denial.intent.accesses)
    return frozenset(one.name for one in resources if isinstance(one, Column) and (one.schema, one.table) == (schema, table))


def _alike(view: SchemaView, closed: Relation | None, asked: frozenset[str]) -> str:
    """The readable table that has most of the columns asked for, such as an owner's view; none that has fewer than two of them."""
    asked &= {column.name for column in view.columns(closed)} if closed else set()
    best: tuple[Relation, list[str]] | None = None
    for relation in view.relations() if len(asked) >= _ALIKE else ():
        if relation is not closed and view.readable_columns(relation):
            found = [column.name for column in view.columns(relation) if column.name in asked]
            if len(found) >= max(_ALIKE, len(best[1]) + 1 if best else 0):
                best = relation, found
    return f"`{best[0].schema}.{best[0].name}` has {_some(best[1])}; " if best else ""


def _readable_tables(view: SchemaView, closed: Relation | None, asked: frozenset[str] = frozenset()) -> str:
    """What has the columns asked for, then those that foreign keys join to the closed one: what is asked of it may stand there."""
    joined = {id(edge.target) for edge in edges(view, closed)} if closed else set()
    readable = sorted((one for one in view.relations() if view.readable_columns(one)), key=lambda one: id(one) not in joined)
    near = sum(id(one) in joined for one in readable)
    names = [f"{one.schema}.{one.name}" for one in readable]
    if not names:
        return "you may read no table of this datasource; describe them instead"
    first = f"{_some(names[:near])}, which foreign keys join to it; " if 0 < near < len(names) else ""
    rest = names[near:] if first else names
    return f"{_alike(view, closed, asked)}tables you may read: {first}{_some(rest)}"


def _some(names: list[str], most: int = _NAMED) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _plural(noun: str, names: list[str]) -> str:
    return noun if len(names) == 1 else f"{noun}s"


def _kind(resource: Resource) -> str:
    return type(resource).__name__.lower()


def _name(resource: Resource) -> str:
    match resource:
        case Column(schema=schema, table=table, name=name):
            return f"{schema}.{table}.{name}"
        case Table(schema=schema, name=name) | Function(schema=schema, name=name):
            return f"{schema}.{name}"
        case Tool(name=name) | Datasource(name=name) | Schema(name=name) | Collection(name=name):
            return name
        case Backup(datasource=datasource, kind=kind):
            return f"{datasource}.{kind}"
        case AuditLog():
            return "audit log"
