"""The `search_schema` tool: find tables, columns, views, functions and types by words, from names to full detail."""

from typing import Annotated, Literal

from pydantic import Field

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Intent, Permit
from ostiary_tools.api import Args, AskedInWords, Content, Hints, Session, Surface, Text, World
from ostiary_tools.describe import describe_relation, head_line, sight
from ostiary_tools.identifiers import identifier, one_line, qualified
from ostiary_tools.outlines import MARKS
from ostiary_tools.question_context import Context, gather, with_values
from ostiary_tools.ranking import Hit, search
from ostiary_tools.snapshot import FunctionInfo, Relation, RelationKind
from ostiary_tools.things import Thing
from ostiary_tools.view import SchemaView

Kind = Literal["table", "view", "materialized view", "foreign table", "function", "type"]
Detail = Literal["names", "summary", "full", "sql"]
_ROOM = 6_000
"""Characters of what a SELECT needs."""


class SearchSchemaArgs(Args):
    """What to look for."""

    query: Annotated[
        str,
        AskedInWords(),
        Field(max_length=300, description="A question, or words from names, columns or comments; empty lists all."),
    ] = ""
    datasource: Annotated[str | None, Field(max_length=200, description="Needed when there is more than one.")] = None
    detail: Annotated[
        Detail, Field(description="How much to show of each; `sql` gathers what a SELECT needs: joins, values, verified examples.")
    ] = "names"
    kind: Annotated[Kind | None, Field(description="Only this kind.")] = None
    limit: Annotated[int, Field(ge=1, le=100, description="How many.")] = 20
    offset: Annotated[int, Field(ge=0, le=1_000_000, description="How many to skip.")] = 0


class SearchSchema:
    """See the module."""

    name = "search_schema"
    title = "Search the schema"
    description = "Find tables, views, columns, functions and types by words. Start here; then `describe` what fits."
    surface = Surface.TOOL
    hints = Hints()
    args = SearchSchemaArgs

    def plan(self, args: SearchSchemaArgs, world: World) -> Intent:
        """See what is returned."""
        view = world.view(args.datasource)
        if args.detail == "sql":
            needed = _needed(view, args, world)
            arguments = args.model_dump(mode="json")
            return Intent(self.name, arguments, needed.accesses, datasource=view.datasource, statements=needed.statements)
        _, page = _page(view, args, world)
        accesses = [access for hit in page for access in _sight(view, hit.thing)]
        return Intent(self.name, args.model_dump(mode="json"), tuple(dict.fromkeys(accesses)), datasource=view.datasource)

    async def run(self, permit: Permit, session: Session) -> Text | Content:
        """A line or a block for each, best first."""
        args = SearchSchemaArgs.model_validate(permit.intent.arguments)
        view = session.world.view(args.datasource)
        if args.detail == "sql":
            return await _for_sql(view, args, session)
        total, page = _page(view, args, session.world)
        if not page:
            return Text("nothing found: try other words, or an empty query to list everything")
        lines = [_shown(view, hit, args.detail) for hit in page]
        end = args.offset + len(page)
        lines.append(f"{args.offset + 1}-{end} of {total}" + (f", next: offset {end}" if end < total else ""))
        return Text("\n".join(lines), untrusted=True)


def _needed(view: SchemaView, args: SearchSchemaArgs, world: World) -> Context:
    return gather(view, args.query, world.examples.get(view.datasource, ()), _ROOM)


async def _for_sql(view: SchemaView, args: SearchSchemaArgs, session: Session) -> Content:
    needed = _needed(view, args, session.world)
    meanings = [meaning for mark, meaning in MARKS.items() if mark in needed.marks]
    rest = [line for line in (*meanings, needed.omission()) if line]
    room = _ROOM - sum(len(line) + 1 for line in (*needed.lines(), *rest))
    found = Text("\n".join((await with_values(needed, session, room)).lines()), untrusted=True)
    return Content((found, Text("\n".join(rest))) if rest else (found,))


def _page(view: SchemaView, args: SearchSchemaArgs, world: World) -> tuple[int, list[Hit]]:
    found = search(view, args.query, world.meanings.get(view.datasource))
    hits = [hit for hit in found if args.kind is None or _kind(hit.thing) == args.kind]
    return len(hits), hits[args.offset : args.offset + args.limit]


def _kind(thing: Thing) -> str:
    if isinstance(thing, Relation):
        return "table" if thing.kind is RelationKind.PARTITIONED_TABLE else str(thing.kind)
    return "function" if isinstance(thing, tuple) else "type"


def _sight(view: SchemaView, thing: Thing) -> tuple[Access, ...]:
    if isinstance(thing, Relation):
        # A line of names shows columns too: those that matched.
        return sight(view, thing)
    if isinstance(thing, tuple):
        return (Access(Action.SEE, view.snapshot.function_resource(thing[0].schema, thing[0].name)),)
    return (Access(Action.SEE, view.snapshot.schema_resource(thing.schema)),)


def _shown(view: SchemaView, hit: Hit, detail: Detail) -> str:
    thing = hit.thing
    if isinstance(thing, Relation):
        return _relation(view, thing, hit.columns, detail)
    if isinstance(thing, tuple):
        if detail == "names":
            return f"{qualified(thing[0].schema, thing[0].name)} ({thing[0].kind})"
        return "\n".join(_function(overload) for overload in thing)
    labels = f" {', '.join(one_line(label, 60) for label in thing.labels)}" if thing.labels and detail != "names" else ""
    comment = f": {one_line(thing.comment)}" if thing.comment and detail != "names" else ""
    return f"{qualified(thing.schema, thing.name)} (type, {thing.kind}){labels}{comment}"


def _relation(view: SchemaView, relation: Relation, matched: tuple[str, ...], detail: Detail) -> str:
    if detail == "full":
        return describe_relation(view, relation)
    if detail == "summary":
        return f"{head_line(view, relation)}\n  {', '.join(identifier(column.name) for column in view.columns(relation))}"
    columns = f" {', '.join(identifier(name) for name in matched)}" if matched else ""
    return f"{qualified(relation.schema, relation.name)} ({relation.kind}){columns}"


def _function(function: FunctionInfo) -> str:
    name = qualified(function.schema, function.name)
    returns = f" returns {function.result}" if function.result else ""
    comment = f": {one_line(function.comment)}" if function.comment else ""
    return f"{name}({one_line(function.arguments)}){returns} ({function.kind}, {function.volatility}){comment}"
