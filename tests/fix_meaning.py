"""The three hundred tables of `cases/meaning` as a snapshot, as SQL and under questions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ostiary_policies.model import Resource
from ostiary_tools.snapshot import ColumnInfo, ForeignKey, Relation, RelationKind, Snapshot
from ostiary_tools.view import SchemaView

CASES = Path(__file__).parent / "cases/meaning"


@dataclass(frozen=True, slots=True)
class AskedTables:
    """A question, and the tables that are right, each as `schema.name`."""

    text: str
    right: frozenset[str]


def questions(section: str) -> list[AskedTables]:
    """Those of one section, in order."""
    found, inside = [], ""
    for line in _lines("tables_questions.txt"):
        if line.startswith("["):
            inside = line.strip("[]")
        elif inside == section:
            text, right = line.rsplit(" | ", 1)
            found.append(AskedTables(text, frozenset(right.split(", "))))
    return found


def snapshot(relations: Sequence[Relation] = (), version: str = "first") -> Snapshot:
    """All tables, or these."""
    schemas = {name: comment for name, comment, _ in _sections()}
    kept = relations or tuple(tables())
    return Snapshot(
        datasource="data",
        taken_at=datetime(2026, 1, 31, tzinfo=UTC),
        server_version=180000,
        search_path=("public",),
        schemas=schemas,
        relations={(one.schema, one.name): one for one in kept},
        functions={},
        version=version,
    )


def view(of: Snapshot, hidden: frozenset[Resource] = frozenset()) -> SchemaView:
    """As somebody sees it from whom this is hidden."""
    visible = frozenset(of.resources()) - hidden
    return SchemaView(of, visible, visible)


def tables() -> Iterator[Relation]:
    """Each with its columns and foreign keys; every column is text."""
    for schema, _, lines in _sections():
        for line in lines:
            name, comment, columns = (part.strip() for part in line.split("|"))
            yield _table(schema, name, comment, [column.strip() for column in columns.split(";")])


def sql(*schemas: str) -> str:
    """Statements that make those of these schemas, without the foreign keys."""
    comments = {name: comment for name, comment, _ in _sections()}
    made = [f"CREATE SCHEMA {name}; COMMENT ON SCHEMA {name} IS {_literal(comments[name])}" for name in schemas]
    for one in tables():
        if one.schema in schemas:
            made.append(f"CREATE TABLE {one.schema}.{one.name} ({', '.join(f'{column.name} text' for column in one.columns)})")
            made.append(f"COMMENT ON TABLE {one.schema}.{one.name} IS {_literal(one.comment)}")
    return ";\n".join(made)


def _table(schema: str, name: str, comment: str, columns: Sequence[str]) -> Relation:
    made, keys = [], []
    for column in columns:
        named, _, described = column.partition(": ")
        bare, _, target = named.partition(" > ")
        made.append(ColumnInfo(bare, "text", not_null=False, comment=described))
        if target:
            keys.append(ForeignKey(f"{bare}_key", (bare,), schema, target, ("id",)))
    return Relation(schema, name, RelationKind.TABLE, tuple(made), comment=comment, foreign_keys=tuple(keys))


def _sections() -> Iterator[tuple[str, str, list[str]]]:
    """Of each schema its name, its comment and the lines of its tables."""
    name, comment, lines = "", "", list[str]()
    for line in _lines("tables.txt"):
        if line.startswith("["):
            if name:
                yield name, comment, lines
            name, _, comment = line[1:].partition("] ")
            lines = []
        else:
            lines.append(line)
    yield name, comment, lines


def _lines(file: str) -> list[str]:
    return [line for line in (CASES / file).read_text().splitlines() if line and not line.startswith("#")]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
