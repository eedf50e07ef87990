"""Row rules: policies that say which rows of a table an agent has.

A row rule speaks of one action, `read_row`, and of one entity type, which is a table:

    @id("own-region")
    permit(principal in Role::"analyst", action == Action::"read_row", resource is shop::public::orders)
    when { principal has region && resource has region && resource.region == principal.region };

A table is governed once any rule names it: then an agent has the rows that a permit
allows and no forbid refuses, and none without a permit. A table that no rule names is
whole. What a policy of another action says, it does not say of rows.

Tables come from live schemas and so later than the policies. `RowRules.parse` accepts
what can be judged without them, `RowRules.problems` holds the rest against tables.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from ostiary_policies import cedar, checks, residuals, source
from ostiary_policies.attributes import AttributeType
from ostiary_policies.conditions import FALSE, Condition, Constant, RowFilter, Type
from ostiary_policies.errors import PolicyError, Problem
from ostiary_policies.model import Principal

ACTION = "read_row"

_NAME = re.compile(r"(?!(?:true|false|if|then|else|in|is|like|has|__cedar)\Z)[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TAKEN = frozenset({"Role", "Agent", "Tool", "Datasource", "Schema", "Table", "Column", "Function", "AuditLog"})
_TYPES: Mapping[AttributeType, Type] = {
    AttributeType.TEXT: Type.STRING,
    AttributeType.INTEGER: Type.LONG,
    AttributeType.BOOLEAN: Type.BOOL,
}
_SHAPE = 'write `(principal in Role::"…", action == Action::"read_row", resource is datasource::schema::table)`'


@dataclass(frozen=True, slots=True)
class RowColumn:
    """A column that a rule can ask for."""

    type: Type
    optional: bool
    """It may hold NULL, so that a policy asks `resource has` before it asks for the value."""


@dataclass(frozen=True, slots=True)
class RowTable:
    """A table as the type of its rows."""

    type: str
    """Name of the entity type, as `entity_type` spells it."""
    columns: Mapping[str, RowColumn]
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Column that no rule can ask for → why, as in "`jsonb` has no counterpart"."""


@dataclass(frozen=True, slots=True)
class RowRule:
    """One policy about rows."""

    id: str
    effect: str
    """`permit` or `forbid`."""
    type: str
    """The entity type it is about."""
    source: source.Source


@dataclass(frozen=True, slots=True)
class TableRules:
    """The rules of one table, held against its columns. Made by `RowRules.against` alone."""

    rules: tuple[RowRule, ...]
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
        left = self._policies.residuals(principal, ACTION)
        read = [(rule, residuals.of_policy(left[place], row)) for place, rule in enumerate(self.rules) if place in left]
        found = [(rule, condition) for rule, condition in read if condition != FALSE]
        return RowFilter(
            permits=tuple(condition for rule, condition in found if rule.effect == "permit"),
            forbids=tuple(condition for rule, condition in found if rule.effect == "forbid"),
            rules=tuple(sorted(rule.id for rule, _ in found)),
        )


@dataclass(frozen=True, slots=True)
class RowRules:
    """Every row rule of a policy set, as far as it can be judged without tables. Made by `parse` alone."""

    rules: tuple[RowRule, ...]
    attributes: Mapping[str, AttributeType]
    """Attributes of agents that are declared."""

    @classmethod
    def parse(cls, sources: Iterable[source.Source], declared: Mapping[str, AttributeType] = MappingProxyType({})) -> Self:
        """Take policies that are row rules. Raises PolicyError with every problem found."""
        rules: list[RowRule] = []
        problems: list[Problem] = []
        for written in sources:
            read = _rule(written)
            if isinstance(read, RowRule):
                rules.append(read)
            else:
                problems += read
        if problems:
            raise PolicyError(tuple(problems))
        return cls(tuple(rules), declared)

    @property
    def governed(self) -> frozenset[str]:
        """The entity types that any rule names."""
        return frozenset(rule.type for rule in self.rules)

    def against(self, table: RowTable) -> TableRules:
        """Hold the rules of a table against its columns. Blocks for milliseconds. Raises PolicyError with every problem found."""
        rules = tuple(rule for rule in self.rules if rule.type == table.type)
        try:
            policies = cedar.RowPolicies.parse([rule.source.text for rule in rules], self.attributes, declaring(table))
        except ValueError as error:
            raise PolicyError(
                tuple(_problem(rule, f"its table cannot be described to Cedar: {error}") for rule in rules)
            ) from error
        row = residuals.Row(table.type, _types(table), principal=self.attributes)
        problems = [problem for rule in rules for problem in _invalid(rule, table, policies)]
        samples: dict[str, Condition] = {}
        for rule in () if problems else rules:
            try:
                samples[rule.id] = residuals.of_policy(cedar.tree_of(rule.source.text), row)
            except residuals.Unsupported as error:
                # Cedar takes what stands behind `has` of an unknown attribute for never asked; here it is a mistake.
                problems.append(_problem(rule, str(error), _hint(table, str(error))))
        if problems:
            raise PolicyError(tuple(problems))
        return TableRules(rules, samples, table, policies)

    def unknown(self, types: Iterable[str]) -> tuple[Problem, ...]:
        """What there is against rules that name none of these entity types."""
        known = frozenset(types)
        hint = "the names are those of the datasource, the schema and the table, as the database spells them"
        return tuple(_problem(rule, f"there is no table `{rule.type}`", hint) for rule in self.rules if rule.type not in known)


def speaks_of_rows(policy: checks.Json) -> bool:
    """Whether a policy, in Cedar's JSON, names the action of row rules."""
    return ("Action", ACTION) in set(checks.named(policy))


def entity_type(datasource: str, schema: str, table: str) -> str | None:
    """The name of the type of a table's rows; `None` when Cedar cannot spell it, and so no rule can name it."""
    if all(map(_NAME.fullmatch, (datasource, schema, table))) and table not in _TAKEN:
        return f"{datasource}::{schema}::{table}"
    return None


def declaring(table: RowTable) -> str:
    """What the schema says of a table and of the action on its rows."""
    namespace, _, name = table.type.rpartition("::")
    columns = ", ".join(_column(name, column) for name, column in table.columns.items())
    return (
        f"\nnamespace {namespace} {{ entity {name} = {{ {columns} }}; }}\n"
        f'action "{ACTION}" appliesTo {{ principal: [Agent], resource: [{table.type}] }};\n'
    )


def _column(name: str, column: RowColumn) -> str:
    # A type of the schema may be called like a built-in one, and an attribute may be called anything.
    return f"{quoted(name)}{'?' if column.optional else ''}: __cedar::{column.type}"


def quoted(text: str) -> str:
    """The text as Cedar writes it, every character outside plain ASCII by its number."""
    spelt = (char if char.isascii() and char.isprintable() and char not in '"\\' else f"\\u{{{ord(char):x}}}" for char in text)
    return f'"{"".join(spelt)}"'


def _types(table: RowTable) -> Mapping[str, Type]:
    return {name: column.type for name, column in table.columns.items()}


def _rule(written: source.Source) -> RowRule | Sequence[Problem]:
    if not source.is_bounded(written.text):
        return [
            Problem(written.file, written.line, "", "it nests or chains too much", "split it in several, or compare with a set")
        ]
    try:
        policy = cedar.tree_of(written.text)
    except ValueError as error:
        return [Problem(written.file, written.line, "", f"it cannot be parsed: {error}")]
    name = checks.annotations(policy).get("id", "")
    found = [Problem(written.file, written.line, name, *complaint) for complaint in _complaints(policy)]
    return found or RowRule(name, policy["effect"], policy["resource"]["entity_type"], written)


def _complaints(policy: checks.Json) -> Iterator[tuple[str, str]]:
    """What there is against a rule whatever its table."""
    yield from checks.of_frame(policy)
    for term in sorted(checks.annotations(policy).keys() - {"id"}):
        yield f"`@{term}` says nothing of rows", "put it on the permit to read the table"
    action, resource = policy["action"], policy["resource"]
    if action.get("op") != "==" or ("Action", ACTION) not in set(checks.named(action)):
        yield "it speaks of rows and of something else", _SHAPE
    if resource.get("op") != "is" or "in" in resource:
        yield "it does not say of which table's rows it speaks", _SHAPE
    elif (parts := resource["entity_type"].split("::")) and (len(parts) != 3 or entity_type(*parts) is None):  # noqa: PLR2004
        yield f"`{resource['entity_type']}` is no table", _SHAPE


def _invalid(rule: RowRule, table: RowTable, policies: cedar.RowPolicies) -> Iterator[Problem]:
    for message in policies.invalid(rule.source.text):
        yield _problem(rule, message, _hint(table, message))


def _hint(table: RowTable, message: str) -> str:
    missing = next((name for name in table.left_out if f"attribute `{name}`" in message), None)
    return "" if missing is None else f"of column `{missing}`, {table.left_out[missing]}"


def _problem(rule: RowRule, message: str, hint: str = "") -> Problem:
    return Problem(rule.source.file, rule.source.line, rule.id, message, hint)
