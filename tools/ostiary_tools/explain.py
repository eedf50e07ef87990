"""The `explain` tool: what a statement would do and cost, in words, without running it.

Its statement is judged and decided like one that is run, so a statement that policy
refuses is answered by that refusal and never reaches the server. The plan is told as
far as its caller may know it (`plans/sight.py`).
"""

from typing import Annotated

from pydantic import Field

from ostiary_policies.model import Intent, Obligations, Permit
from ostiary_tools.api import Args, Hints, Redacted, Session, Surface, Text, World
from ostiary_tools.errors import Refused
from ostiary_tools.plans.advice import missing_indexes
from ostiary_tools.plans.sight import look
from ostiary_tools.plans.terms import excesses
from ostiary_tools.plans.weight import Weight, weigh
from ostiary_tools.plans.words import told_steps, told_weight
from ostiary_tools.sql import bind, judge

_INNER_NOTE = "an inner part is what stands behind a view, a function, a row policy or a table you may not see"
_LIMIT_NOTE = "no LIMIT counts here: below it rows are filtered, joined or sorted, and how soon it stops is a guess"


class ExplainArgs(Args):
    """Arguments of `explain`."""

    sql: Annotated[str, Redacted(), Field(description="One SELECT, VALUES, TABLE or WITH statement.")]
    params: Annotated[tuple[str | int | float | bool | None, ...], Redacted(), Field(description="Values of $1, $2 …")] = ()
    datasource: Annotated[str | None, Field(description="Needed when there are several.")] = None


class Explain:
    """See the module."""

    name = "explain"
    title = "Explain a query"
    description = "The plan of a statement in words, its cost, missing indexes, and what policy would refuse. Does not run it."
    surface = Surface.TOOL
    hints = Hints()
    args = ExplainArgs

    def plan(self, args: ExplainArgs, world: World) -> Intent:
        """Judge the statement. Raises Refused, Unavailable."""
        view = world.view(args.datasource)
        judged = judge(args.sql, view)
        if judged.kind == "explain":
            raise Refused("explain", "the statement is an EXPLAIN itself", "send it without EXPLAIN")
        statement = bind(judged, args.params)
        return Intent(self.name, args.model_dump(mode="json"), judged.accesses, view.datasource, explained=(statement,))

    async def run(self, permit: Permit, session: Session) -> Text:
        """Cost, steps, terms, indexes."""
        plan = await session.plan(permit.intent.explained[0])
        weight = weigh(plan)
        sight = look(plan, session.world.view(permit.intent.datasource), permit.intent.accesses)
        indexes = missing_indexes(plan, sight)
        lines = [
            told_weight(weight, sight),
            *([_LIMIT_NOTE] if sight.shaped and not weight.limit_helps else []),
            "",
            *told_steps(sight),
            *([_INNER_NOTE] if not sight.top.told else []),
            "",
            *session.narrowing("query"),
            *_verdicts(weight, session.terms("query")),
            *(["missing indexes, for the owner:", *indexes] if indexes else []),
        ]
        return Text("\n".join(lines), untrusted=True)


def _verdicts(weight: Weight, terms: Obligations | None) -> list[str]:
    if terms is None:
        return ["you may not call `query`"]
    beyond = [f"`query` would refuse it: above the `{e.term}` of {e.allowed:,.12g}" for e in excesses(weight, terms)]
    return beyond or ["`query` would run it"]
