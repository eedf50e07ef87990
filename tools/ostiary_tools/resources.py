"""Tables as resources: their list, and completion of their names.

Both walk the same road as tools and stand under the permission to `describe`:
who may not describe a table has no use for its address.
"""

from typing import Annotated, Literal

from pydantic import Field

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Intent, Permit
from ostiary_tools.api import Args, Hints, Name, Names, Session, Surface, World
from ostiary_tools.snapshot import Relation

_PERMISSION = "describe"


class TableResourcesArgs(Args):
    """A page of the list."""

    after: Annotated[tuple[str, ...], Field(max_length=3)] = ()
    """Path of the last name of the page before."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class TableResources:
    """Every table and view the caller may see, as (datasource, schema, name)."""

    name = _PERMISSION
    title = "Tables"
    description = "Tables and views as resources."
    surface = Surface.RESOURCES
    hints = Hints()
    args = TableResourcesArgs

    def plan(self, args: TableResourcesArgs, world: World) -> Intent:
        """Seeing what the page names."""
        page = _after(args, world)[: args.limit]
        accesses = tuple(Access(Action.SEE, relation.resource(name)) for name, relation in page)
        return Intent(self.name, args.model_dump(mode="json"), accesses)

    async def run(self, permit: Permit, session: Session) -> Names:
        """The page."""
        args = TableResourcesArgs.model_validate(permit.intent.arguments)
        rest = _after(args, session.world)
        page = rest[: args.limit]
        names = tuple(Name((name, relation.schema, relation.name), relation.comment) for name, relation in page)
        return Names(names, more=len(rest) > len(page))


class NameCompletionArgs(Args):
    """What is being typed."""

    part: Literal["datasource", "schema", "table"]
    prefix: Annotated[str, Field(max_length=200)] = ""
    datasource: Annotated[str | None, Field(max_length=200)] = None
    schema_name: Annotated[str | None, Field(max_length=200)] = None


class NameCompletion:
    """Names that begin with what was typed, out of those the caller may see."""

    name = _PERMISSION
    title = "Completion"
    description = "Completion of datasource, schema and table names."
    surface = Surface.COMPLETION
    hints = Hints()
    args = NameCompletionArgs
    limit = 100
    """The protocol's bound on one completion."""

    def plan(self, args: NameCompletionArgs, world: World) -> Intent:  # noqa: ARG002 - the protocol's shape
        """Names only; the world holds no others than the caller may see."""
        return Intent(self.name, args.model_dump(mode="json", exclude_none=True))

    async def run(self, permit: Permit, session: Session) -> Names:
        """At most `limit` names."""
        args = NameCompletionArgs.model_validate(permit.intent.arguments)
        known = sorted({name for name in _candidates(args, session.world) if name.startswith(args.prefix)})
        return Names(tuple(Name((name,)) for name in known[: self.limit]), more=len(known) > self.limit)


def _after(args: TableResourcesArgs, world: World) -> list[tuple[str, Relation]]:
    """Every relation after the asked position, in the order of the list, with its datasource."""
    return [
        (name, relation)
        for name, view in sorted(world.views.items())
        for relation in view.relations()
        if (name, relation.schema, relation.name) > args.after
    ]


def _candidates(args: NameCompletionArgs, world: World) -> set[str]:
    if args.part == "datasource":
        return set(world.views)
    views = [view for name, view in world.views.items() if args.datasource in (None, name)]
    relations = [relation for view in views for relation in view.relations()]
    if args.part == "schema":
        return {relation.schema for relation in relations}
    return {relation.name for relation in relations if args.schema_name in (None, relation.schema)}
