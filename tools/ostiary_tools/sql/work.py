"""What one judgement gathers while it walks a statement, and the refusals that name things.

A hidden thing is refused with the very words of an unknown one; the hints are made of
visible names only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Function
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Relation
from ostiary_tools.sql import suggestions
from ostiary_tools.sql.definitions import objection
from ostiary_tools.sql.inventory import FUNCTIONS, REFUSED_FUNCTIONS
from ostiary_tools.sql.scope import Env, Field, Item
from ostiary_tools.view import SchemaView


@dataclass(slots=True)
class Work:
    """The view a statement is judged in, and the accesses found so far."""

    view: SchemaView
    text: str = ""
    """The statement as it was given; only hints look at it."""
    keeps_rows: bool = False
    """A row may have to keep its table's type, because a field is taken of an expression."""
    accesses: set[Access] = field(default_factory=set)
    kinds: dict[int, tuple[object, tuple[str, str] | None]] = field(default_factory=dict)
    """Types found so far, by the identity of the expression, which is kept so that it stays one."""
    supplied: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    """Offered catalogs that are scanned → the parameter of each scan."""

    def scan(self, relation: Relation) -> None:
        """The relation is scanned, whether or not a column of it is named."""
        self.accesses.add(Access(Action.READ, relation.resource(self.view.datasource)))
        if (inside := self.view.insides.get((relation.schema, relation.name))) is not None:
            self.accesses |= inside.accesses
        if relation.runs:
            self.run(relation.runs, f"{relation.schema}.{relation.name}")

    def sees_all(self, relation: Relation) -> bool:
        """Whether the caller gets the relation's own rows, with no column hidden."""
        return len(self.view.columns(relation)) == len(relation.columns) and not self.view.fenced(relation)

    def use_row_type(self, relation: Relation) -> None:
        """The relation's row type is named."""
        self.accesses.add(Access(Action.SEE, relation.resource(self.view.datasource)))
        for column in relation.columns:
            self.run(column.runs, f"{relation.schema}.{relation.name}.{column.name}")

    def read_all(self, relation: Relation) -> None:
        """Every visible column of the relation is read."""
        for column in self.view.columns(relation):
            if (access := self.view.reading(relation, column)) is not None:
                self.accesses.add(access)
            if column.runs:
                self.run(column.runs, f"{relation.schema}.{relation.name}.{column.name}")

    def read(self, found: Field, items: Iterable[Item], written: str, env: Env | None = None) -> None:
        """The field is read. Raises Refused when it is made of a column the caller may not see."""
        for relation, column in found.sources:
            access = self.view.reading(relation, column)
            if access is None:
                raise self.unknown_column(written, items, env)
            self.accesses.add(access)
            if column.runs:
                self.run(column.runs, f"{relation.schema}.{relation.name}.{column.name}")

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
        """The function is called, by the caller or by an operator or cast it uses. Raises Refused."""
        if schema == "pg_catalog":
            reason = REFUSED_FUNCTIONS.get(name, "")
            if reason not in ("", "internals of the server"):
                raise Refused("function", f"the function `{name}` is not run: {reason}", "use a built-in operator")
            return
        self._state(schema, name)
        self.run(self.view.snapshot.called.get((schema, name), ()), f"{schema}.{name}")

    def run(self, functions: Iterable[tuple[str, str]], owner: str, *, writes: bool = False) -> None:
        """Using what is so named, or writing it, runs these functions, which nobody wrote in the statement. Raises Refused."""
        for schema, name in functions:
            if schema != "pg_catalog":
                self._state(schema, name)
                continue
            volatile = any(f.volatility == "volatile" for f in self.view.snapshot.functions.get((schema, name), ()))
            reached = objection(name, volatile=volatile, writes=writes)
            if reached:
                raise Refused(
                    "definition",
                    f"using `{owner}` does more than {'change rows' if writes else 'read'}: its definition reaches {reached}",
                    "use another table or column",
                )

    def _state(self, schema: str, name: str) -> None:
        if (schema, name) not in self.view.snapshot.functions:
            raise Refused("function", f"unknown function `{name}`", "search_schema finds the functions you may use")
        self.accesses.add(Access(Action.EXECUTE, self.view.snapshot.function_resource(schema, name)))

    def unknown_column(self, written: str, items: Iterable[Item], env: Env | None = None) -> Refused:
        """The refusal of a column that does not exist for the caller; `env` is where it was looked for."""
        shown = sorted({f.name for i in items for f in i.fields if self.shows(f)})
        reach = [i for level in env.levels() for i in level.items] if env is not None else items
        quoted = f'"{written}"' in self.text
        return Refused(
            "unknown_column",
            f"unknown column `{written}`",
            suggestions.for_column(self.view, written, shown, reach, quoted=quoted),
        )

    def unknown_table(self, written: str) -> Refused:
        """The refusal of a relation that does not exist for the caller."""
        return Refused("unknown_table", f"unknown table `{written}`", suggestions.for_table(self.view, written))

    def unknown_qualifier(self, written: str, env: Env) -> Refused:
        """The refusal of `table.` before a column, where FROM has no such entry for the caller."""
        items = [i for level in env.levels() for i in level.items]
        return Refused("unknown_table", f"unknown table `{written}`", suggestions.for_qualifier(self.view, written, items))

    def unknown_function(self, schema: str | None, name: str) -> Refused:
        """The refusal of a function that does not exist for the caller."""
        known = [(s, n) for s, n in self.view.snapshot.functions if s != "pg_catalog" and self.function(s, n)]
        written = name if schema is None else f"{schema}.{name}"
        hint = suggestions.for_function(self.view, schema, name, known, FUNCTIONS)
        return Refused("function", f"unknown function `{written}`", hint)
