"""The `describe` tool: a relation as its caller may know it.

`describe_relation` is the whole truth of what is shown; the resources, the search's
full detail and the prompts use the same text. A key or an index that touches
anything hidden is left out, and so is the definition of a view.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Intent, Permit
from ostiary_tools.api import Args, Hints, Rows, Session, Surface, Text, ToolError, World
from ostiary_tools.catalogs.sight import HARMLESS_DEFAULT
from ostiary_tools.diagram import er_diagram, visible_foreign_keys
from ostiary_tools.errors import Refused
from ostiary_tools.identifiers import find_relation, identifier, one_line, qualified
from ostiary_tools.snapshot import ColumnInfo, Relation
from ostiary_tools.sql.judge import Judged, judge
from ostiary_tools.view import SchemaView

Samples = Mapping[str, Sequence[str]]
"""Column → a few of its values."""

_SAMPLE_ROWS = 3


class DescribeArgs(Args):
    """What to describe."""

    tables: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=300)], ...],
        Field(min_length=1, max_length=20, description="Tables or views, as `schema.table` or `table`."),
    ]
    datasource: Annotated[str | None, Field(max_length=200, description="Needed when there is more than one.")] = None
    samples: Annotated[bool, Field(description="Add example values of the columns you may read.")] = False
    format: Annotated[Literal["text", "mermaid"], Field(description="`mermaid` draws the tables and their foreign keys.")] = "text"


class Describe:
    """See the module."""

    name = "describe"
    title = "Describe tables"
    description = "Columns, types, keys in both directions, indexes and comments of tables and views. Use before writing SQL."
    surface = Surface.TOOL
    hints = Hints()
    args = DescribeArgs

    def plan(self, args: DescribeArgs, world: World) -> Intent:
        """See the relations and their columns; read samples through judged statements."""
        view = world.view(args.datasource)
        relations = _asked(view, args)
        samples = [judged for relation in relations if (judged := _sample(view, relation, args)) is not None]
        seen = [access for relation in relations for access in sight(view, relation)]
        read = [access for judged in samples for access in judged.accesses]
        return Intent(
            self.name,
            args.model_dump(mode="json"),
            tuple(dict.fromkeys([*seen, *read])),
            datasource=view.datasource,
            statements=tuple(judged.statement for judged in samples),
        )

    async def run(self, permit: Permit, session: Session) -> Text:
        """Every relation's description, an empty line between."""
        args = DescribeArgs.model_validate(permit.intent.arguments)
        view = session.world.view(args.datasource)
        relations = _asked(view, args)
        if args.format == "mermaid":
            return Text(er_diagram(view, relations), untrusted=True)
        texts = []
        for relation in relations:
            judged = _sample(view, relation, args)
            texts.append(await _described(view, relation, judged, session) if judged else describe_relation(view, relation))
        return Text("\n\n".join(texts), untrusted=True)


def describe_relation(view: SchemaView, relation: Relation, samples: Samples | None = None) -> str:
    """The relation in a few lines: head, columns, keys both ways, indexes."""
    return "\n".join(
        (
            head_line(view, relation),
            *_rows_line(view, relation),
            *_inside_line(view, relation),
            *_terms_lines(view, relation),
            *(_column_line(view, relation, column, (samples or {}).get(column.name, ())) for column in view.columns(relation)),
            *_key_lines(view, relation),
            *_index_lines(view, relation),
        )
    )


def head_line(view: SchemaView, relation: Relation) -> str:
    """Name, kind, estimate and comment in one line."""
    estimate = view.estimated_rows(relation)
    rows = f", ~{estimate} rows" if estimate is not None else ""
    comment = f": {one_line(relation.comment)}" if relation.comment else ""
    return f"{qualified(relation.schema, relation.name)} ({relation.kind}{rows}){comment}"


def sight(view: SchemaView, relation: Relation) -> tuple[Access, ...]:
    """What showing the relation means for policy: seeing it and each of its visible columns."""
    columns = (Access(Action.SEE, relation.column_resource(view.datasource, column)) for column in view.columns(relation))
    return (Access(Action.SEE, relation.resource(view.datasource)), *columns)


def _asked(view: SchemaView, args: DescribeArgs) -> tuple[Relation, ...]:
    found = [find_relation(view, written) for written in args.tables]
    return tuple({(relation.schema, relation.name): relation for relation in found}.values())


def _sample(view: SchemaView, relation: Relation, args: DescribeArgs) -> Judged | None:
    columns = view.readable_columns(relation)
    if not (args.samples and columns and args.format == "text"):
        return None
    names = ", ".join(identifier(column.name) for column in columns)
    try:
        # Names of the snapshot, quoted, and judged like any agent's statement.
        return judge(f"SELECT {names} FROM {qualified(relation.schema, relation.name)} LIMIT {_SAMPLE_ROWS}", view)  # noqa: S608
    except Refused:
        return None


async def _described(view: SchemaView, relation: Relation, judged: Judged, session: Session) -> str:
    try:
        samples = _by_column(await session.rows(judged.statement))
    except ToolError as error:
        return f"{describe_relation(view, relation)}\nsamples: none, {error.message}"
    return describe_relation(view, relation, samples)


def _by_column(rows: Rows) -> Samples:
    """Distinct values in the order they came; NULL says nothing here."""
    return {
        head.name: tuple(dict.fromkeys(one_line(value, 40) for row in rows.rows if (value := row[place])))
        for place, head in enumerate(rows.columns)
    }


def _column_line(view: SchemaView, relation: Relation, column: ColumnInfo, samples: Sequence[str]) -> str:
    readable, mask = column in view.readable_columns(relation), view.mask(relation, column)
    taints = view.tainting.get(relation.column_resource(view.datasource, column), ())
    words = [
        f"  {identifier(column.name)} {column.type}",
        "not null" if column.not_null else "",
        "generated" if column.generated else "",
        f"default {column.default}" if readable and not column.generated and HARMLESS_DEFAULT.fullmatch(column.default) else "",
        "" if readable else f"[masked: {mask.kind}]" if mask else "[no read]",
        f"[taints you: {', '.join(sorted(taints))}]" if taints else "",
        f"-- {one_line(column.comment)}" if column.comment else "",
        f"e.g. {' | '.join(samples)}" if samples else "",
    ]
    return " ".join(word for word in words if word)


def _rows_line(view: SchemaView, relation: Relation) -> list[str]:
    """Which rows the caller has, where rules say it and it may read any."""
    terms = view.rows.get((relation.schema, relation.name))
    if terms is None or not view.readable_columns(relation):
        return []
    rules = ", ".join(f"`{rule}`" for rule in terms.rules)
    if terms.refusal:
        return [f"rows: none, {terms.refusal}"]
    if terms.predicate == "FALSE":
        return [f"rows: none{f', by {rules}' if rules else ', no row rule permits any'}"]
    return [f"rows: only what {rules} allow{'s' if len(terms.rules) == 1 else ''}"]


def _inside_line(view: SchemaView, relation: Relation) -> list[str]:
    """What stands inside a view that the caller may read."""
    if not view.enters(relation) or not view.readable_columns(relation):
        return []
    rules = [f"`{rule}`" for rule in view.insides[relation.schema, relation.name].rules]
    rows = f", only rows that {', '.join(rules)} allow{'s' if len(rules) == 1 else ''}" if rules else ", masks"
    return [f"inside: what you have of all that it reads{rows}"]


def _terms_lines(view: SchemaView, relation: Relation) -> list[str]:
    asked, taints = view.asked_about(relation), view.tainting.get(relation.resource(view.datasource), ())
    told = [] if asked is None else [f"a human is asked before any read{f' of {_list(asked)}' if asked else ''}"]
    return [*told, *([f"any read taints you: {', '.join(sorted(taints))}"] if taints else [])]


def _key_lines(view: SchemaView, relation: Relation) -> list[str]:
    visible = {column.name for column in view.columns(relation)}
    lines = (
        [f"primary key ({_list(relation.primary_key)})"]
        if relation.primary_key and visible.issuperset(relation.primary_key)
        else []
    )
    lines += [
        f"foreign key ({_list(key.columns)}) -> {qualified(key.target_schema, key.target_table)} ({_list(key.target_columns)})"
        for key in visible_foreign_keys(view, relation)
    ]
    lines += [
        f"referenced by {qualified(other.schema, other.name)} ({_list(key.columns)}) -> ({_list(key.target_columns)})"
        for other in view.relations()
        for key in (visible_foreign_keys(view, other) if _refers(other, relation) else ())
        if (key.target_schema, key.target_table) == (relation.schema, relation.name)
    ]
    return lines


def _refers(other: Relation, relation: Relation) -> bool:
    return any((key.target_schema, key.target_table) == (relation.schema, relation.name) for key in other.foreign_keys)


def _index_lines(view: SchemaView, relation: Relation) -> list[str]:
    return [
        f"{'unique index' if index.unique else 'index'} {identifier(index.name)} {one_line(index.definition)}"
        for index in view.indexes(relation)
    ]


def _list(names: Sequence[str]) -> str:
    return ", ".join(identifier(name) for name in names)
