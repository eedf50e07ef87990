"""The row rules of one table, held against its columns: what fits, and what is left of it for one agent.

A rule that asks for what the table does not have, or in a form that has no counterpart
in a database, is a problem with the rule's place; then no rule of the table holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ostiary_policies import cedar, residuals, rows
from ostiary_policies.attributes import AttributeType
from ostiary_policies.conditions import FALSE, Condition, Constant, RowFilter, Type
from ostiary_policies.errors import PolicyError, Problem
from ostiary_policies.model import Principal
from ostiary_policies.rows import RowColumn, RowRule, RowRules, RowTable

_TYPES: Mapping[AttributeType, Type] = {
    AttributeType.TEXT: Type.STRING,
    AttributeType.INTEGER: Type.LONG,
    AttributeType.BOOLEAN: Type.BOOL,
}


@dataclass(frozen=True, slots=True)
class TableRules:
    """Rules that fit their table. Made by `against` alone."""

    rules: tuple[RowRule, ...]
    """All of one action."""
    samples: Mapping[str, Condition]
    """By id: the condition of each rule for an agent that nobody knows, so that what cannot be asked of the table is found."""
    _table: RowTable = field(repr=False)
    _policies: cedar.RowPolicies = field(repr=False)

    def filter(self, principal: Principal) -> RowFilter:
        """Say which rows the principal has. Under a millisecond. Raises ValueError when it cannot be said: then there are none."""
        known = {
            one.name: Constant(_TYPES[one.type], one.value) for one in principal.attributes if not isinstance(one.value, frozenset)
        }
        row = residuals.Row(self._table.type, _types(self._table), known=known)
        left = self._policies.residuals(principal, self.rules[0].action)
        read = [(rule, residuals.of_policy(left[place], row)) for place, rule in enumerate(self.rules) if place in left]
        found = [(rule, condition) for rule, condition in read if condition != FALSE]
        return RowFilter(
            permits=tuple(condition for rule, condition in found if rule.effect == "permit"),
            forbids=tuple(condition for rule, condition in found if rule.effect == "forbid"),
            rules=tuple(sorted(rule.id for rule, _ in found)),
        )


def against(every: RowRules, table: RowTable) -> TableRules:
    """Hold the rules of a table against its columns; all are of one action. Blocks for milliseconds.

    Raises PolicyError with every problem found.
    """
    rules = tuple(rule for rule in every.rules if rule.type == table.type)
    try:
        policies = cedar.RowPolicies.parse([rule.source.text for rule in rules], every.attributes, declaring(table))
    except ValueError as error:
        raise PolicyError(tuple(rule.problem(f"its table cannot be described to Cedar: {error}") for rule in rules)) from error
    row = residuals.Row(table.type, _types(table), principal=every.attributes)
    problems = [problem for rule in rules for problem in _invalid(rule, table, policies)]
    samples: dict[str, Condition] = {}
    for rule in () if problems else rules:
        try:
            samples[rule.id] = residuals.of_policy(cedar.tree_of(rule.source.text), row)
        except residuals.Unsupported as error:
            # Cedar takes what stands behind `has` of an unknown attribute for never asked; here it is a mistake.
            problems.append(rule.problem(str(error), _hint(table, str(error))))
    if problems:
        raise PolicyError(tuple(problems))
    return TableRules(rules, samples, table, policies)


def declaring(table: RowTable) -> str:
    """What the schema says of a table and of the actions on its rows."""
    namespace, _, name = table.type.rpartition("::")
    columns = ", ".join(_column(name, column) for name, column in table.columns.items())
    actions = ", ".join(f'"{action}"' for action in rows.ACTIONS)
    return (
        f"\nnamespace {namespace} {{ entity {name} = {{ {columns} }}; }}\n"
        f"action {actions} appliesTo {{ principal: [Agent], resource: [{table.type}] }};\n"
    )


def quoted(text: str) -> str:
    """The text as Cedar writes it, every character outside plain ASCII by its number."""
    spelt = (char if char.isascii() and char.isprintable() and char not in '"\\' else f"\\u{{{ord(char):x}}}" for char in text)
    return f'"{"".join(spelt)}"'


def _column(name: str, column: RowColumn) -> str:
    # A type of the schema may be called like a built-in one, and an attribute may be called anything.
    return f"{quoted(name)}{'?' if column.optional else ''}: __cedar::{column.type}"


def _types(table: RowTable) -> Mapping[str, Type]:
    return {name: column.type for name, column in table.columns.items()}


def _invalid(rule: RowRule, table: RowTable, policies: cedar.RowPolicies) -> Iterator[Problem]:
    for message in policies.invalid(rule.source.text):
        yield rule.problem(message, _hint(table, message))


def _hint(table: RowTable, message: str) -> str:
    missing = next((name for name in table.left_out if f"attribute `{name}`" in message), None)
    return "" if missing is None else f"of column `{missing}`, {table.left_out[missing]}"
