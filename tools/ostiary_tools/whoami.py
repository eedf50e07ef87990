"""The agent's own picture: who it is here and what it may use."""

from collections.abc import Sequence
from math import ceil

from ostiary_policies.approvals import Approval
from ostiary_policies.model import Intent, Obligations, Permit
from ostiary_tools.api import Args, BudgetLeft, Hints, Session, Surface, Text, Unavailable, World
from ostiary_tools.identifiers import identifier, qualified
from ostiary_tools.view import SchemaView

_TABLES = 3
"""Named at most in a line."""


class WhoamiArgs(Args):
    """No arguments."""


class Whoami:
    """The `whoami` tool."""

    name = "whoami"
    title = "Who am I"
    description = "Your agent name, roles, the datasources and tools you may use, the terms of your replies and your budgets."
    surface = Surface.TOOL
    hints = Hints()
    args = WhoamiArgs

    def plan(self, args: WhoamiArgs, world: World) -> Intent:  # noqa: ARG002 - the protocol's shape
        """Nothing but the call itself."""
        return Intent(tool=self.name)

    async def run(self, permit: Permit, session: Session) -> Text:
        """Lines of `key: values`."""
        world = session.world
        terms = permit.obligations
        lines = [
            f"agent: {permit.principal.agent}",
            f"roles: {', '.join(permit.principal.roles)}",
            *([f"attributes: {', '.join(one.name for one in permit.principal.attributes)}"] if permit.principal.attributes else []),
            *(
                [f"taints: {', '.join(sorted(permit.principal.taints))}, left by what you have read"]
                if permit.principal.taints
                else []
            ),
            *(f"datasource: {name} ({_extent(world, name)})" for name in sorted(world.views)),
            *(f"datasource: {name} (not available: {why})" for name, why in sorted(world.unavailable.items())),
            *(line for name in sorted(world.views) for line in _rows(world.views[name])),
            *(line for name in sorted(world.views) for line in _asked(world.views[name])),
            f"tools: {', '.join(world.tools)}",
            f"terms of this call: {told_terms(terms)}",
            *_terms_of_queries(session),
            *_told_tables("only on a replica", await session.on_replica()),
            *await _budgets(session),
            f"policy: {permit.policy_hash}",
        ]
        return Text("\n".join(lines))


def told_terms(terms: Obligations) -> str:
    """What a permit lets a reply and its statement be, in words."""
    said = [
        f"at most {terms.limit_rows} rows" if terms.limit_rows is not None else "",
        f"{terms.limit_bytes} bytes" if terms.limit_bytes is not None else "",
        f"{terms.timeout_s:g} s" if terms.timeout_s is not None else "",
        f"a cost of {terms.max_cost:,.12g}" if terms.max_cost is not None else "",
        f"{terms.max_rows_scanned:,} rows scanned" if terms.max_rows_scanned is not None else "",
        *(_yes(one) for one in terms.approvals),
        "only on a replica" if terms.replica is not None else "",
    ]
    return ", ".join(s for s in said if s) or "the server's own limits"


def _yes(approval: Approval) -> str:
    who = "a human's yes" if approval.people == 1 else "the yes of two humans"
    return f"{who} to {'each call' if approval.above_rows is None else f'each change of more than {approval.above_rows} rows'}"


def _extent(world: World, name: str) -> str:
    view = world.views[name]
    relations = view.relations()
    readable = sum(1 for relation in relations if view.readable_columns(relation))
    return f"{len(relations)} tables and views, {readable} readable"


def _rows(view: SchemaView) -> list[str]:
    """Tables of which row rules give the caller some rows or none."""
    ruled = [(one, view.rows[one.schema, one.name]) for one in view.relations() if (one.schema, one.name) in view.rows]
    told = [
        f"{qualified(one.schema, one.name)} ({', '.join(terms.rules) or ('closed' if terms.refusal else 'none permits any')})"
        for one, terms in ruled
        if view.readable_columns(one)
    ]
    more = [f"{len(told) - _TABLES} more tables"] if len(told) > _TABLES else []
    return [f"row rules: {view.datasource}: {', '.join([*told[:_TABLES], *more])}"] if told else []


def _asked(view: SchemaView) -> list[str]:
    """Tables of which a human is asked before a statement reads what is told."""
    told = []
    for one in view.relations():
        if (asked := view.asked_about(one)) is not None:
            columns = f" ({', '.join(map(identifier, asked[:_TABLES]))}{', …' if len(asked) > _TABLES else ''})" if asked else ""
            told.append(f"{qualified(one.schema, one.name)}{columns}")
    more = [f"{len(told) - _TABLES} more tables"] if len(told) > _TABLES else []
    return [f"a human is asked before reads of: {view.datasource}: {', '.join([*told[:_TABLES], *more])}"] if told else []


def _terms_of_queries(session: Session) -> list[str]:
    terms = session.terms("query")
    return [f"terms of query: {told_terms(terms)}"] if terms is not None else []


def _told_tables(what: str, tables: Sequence[str]) -> list[str]:
    more = [f"{len(tables) - _TABLES} more tables"] if len(tables) > _TABLES else []
    return [f"{what}: {', '.join([*tables[:_TABLES], *more])}"] if tables else []


async def _budgets(session: Session) -> list[str]:
    try:
        return [_budget(one, session.world) for one in await session.budgets()]
    except Unavailable as error:
        return [f"budgets: {error.message}"]


def _budget(one: BudgetLeft, world: World) -> str:
    tools = ["all tools"] if one.tools == world.tools else list(one.tools)
    more = [f"{len(one.tables) - _TABLES} more tables"] if len(one.tables) > _TABLES else []
    counted = ", ".join([*tools, *(f"reading {table}" for table in one.tables[:_TABLES]), *more])
    return f"budget: {one.budget}, {int(one.left):,} left, anew in {ceil(one.ends_in_s)} s ({counted})"
