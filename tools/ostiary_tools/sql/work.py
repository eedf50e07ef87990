"""What one judgement gathers while it walks a statement, and the refusals that name things.

A hidden thing is refused with the very words of an unknown one; the hints are made of
visible names only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Function
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Relation
from ostiary_tools.sql.scope import Field, Item
from ostiary_tools.view import SchemaView


@dataclass(slots=True)
class Work:
    """The view a statement is judged in, and the accesses found so far."""

    view: SchemaView
    accesses: set[Access] = field(default_factory=set)

    def scan(self, relation: Relation) -> None:
        """The relation is scanned, whether or not a column of it is named."""
        self.accesses.add(Access(Action.READ, relation.resource(self.view.datasource)))

    def use_row_type(self, relation: Relation) -> None:
        """The relation's row type is named."""
        self.accesses.add(Access(Action.SEE, relation.resource(self.view.datasource)))

    def read_all(self, relation: Relation) -> None:
        """Every visible column of the relation is read."""
        for column in self.view.columns(relation):
            self.accesses.add(Access(Action.READ, relation.column_resource(self.view.datasource, column)))

    def read(self, found: Field, items: Iterable[Item], written: str) -> None:
        """The field is read. Raises Refused when it is made of a column the caller may not see."""
        for relation, column in found.sources:
            resource = relation.column_resource(self.view.datasource, column)
            if resource not in self.view.visible:
                raise self.unknown_column(written, items)
            self.accesses.add(Access(Action.READ, resource))

    def shows(self, found: Field) -> bool:
        """Whether the caller may see every column the field is made of."""
        return all(r.column_resource(self.view.datasource, c) in self.view.visible for r, c in found.sources)

    def function(self, schema: str, name: str) -> Function | None:
        """The function's resource, or `None` when it does not exist for the caller."""
        if (schema, name) not in self.view.snapshot.functions:
            return None
        resource = self.view.snapshot.function_resource(schema, name)
        return resource if resource in self.view.visible else None

    def execute(self, schema: str, name: str) -> None:
        """The function is called, by the caller or by an operator, cast or domain it uses. Raises Refused."""
        if schema == "pg_catalog":
            return
        if (schema, name) not in self.view.snapshot.functions:
            raise Refused("function", f"unknown function `{name}`", "search_schema finds the functions you may use")
        self.accesses.add(Access(Action.EXECUTE, self.view.snapshot.function_resource(schema, name)))

    def unknown_column(self, written: str, items: Iterable[Item]) -> Refused:
        """The refusal of a column that does not exist for the caller."""
        shown = sorted({f.name for i in items for f in i.fields if self.shows(f)})
        name = written.rsplit(".", 1)[-1]
        near = nearest(name, (n for n in shown if n != name))
        hint = (
            f"did you mean {near}?"
            if near
            else f"columns here: {', '.join(shown[:20])}"
            if shown
            else "describe shows a table's columns"
        )
        if name in shown:
            hint = "name the table too: `table.column`"
        return Refused("unknown_column", f"unknown column `{written}`", hint)

    def unknown_table(self, written: str) -> Refused:
        """The refusal of a relation that does not exist for the caller."""
        path = self.view.snapshot.search_path
        shown = {r.name if r.schema in path else f"{r.schema}.{r.name}" for r in self.view.relations()}
        near = nearest(written, sorted(shown))
        return Refused(
            "unknown_table",
            f"unknown table `{written}`",
            f"did you mean {near}?" if near else "search_schema lists the tables you may use",
        )


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Up to three similar names in backticks, or an empty text."""
    return " or ".join(f"`{c}`" for c in get_close_matches(name, list(candidates), 3, 0.6))
