"""Row rules: policies that say which rows of a table an agent has.

A row rule speaks of one action, mostly `read_row`, and of one entity type, which is a table:

    @id("own-region")
    permit(principal in Role::"analyst", action == Action::"read_row", resource is shop::public::orders)
    when { principal has region && resource has region && resource.region == principal.region };

A table is governed once any such rule names it: then an agent has the rows that a permit
allows and no forbid refuses, and none without a permit. A table that no rule names is
whole. What a policy of another action says, it does not say of rows.

Rules of `insert_row`, `update_row` and `delete_row` say in the same way which rows may be
added, may stand before and after they are changed, and may be taken away. Each action
governs by itself: a table that only rules of `delete_row` name is read and written whole.

Tables come from live schemas and so later than the policies. Here stands what can be
judged without them; `table_rules` holds the rest against the columns of a table.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ostiary_policies import checks, source
from ostiary_policies.actions import Action
from ostiary_policies.attributes import AttributeType
from ostiary_policies.conditions import Type
from ostiary_policies.errors import Problem

READ = "read_row"
WRITES: Mapping[Action, str] = {
    Action.INSERT: "insert_row",
    Action.UPDATE: "update_row",
    Action.DELETE: "delete_row",
}
"""What is done to a table → the action of rules about the rows that it is done to."""
ACTIONS = (READ, *WRITES.values())

_NAME = re.compile(r"(?!(?:true|false|if|then|else|in|is|like|has|__cedar)\Z)[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TAKEN = frozenset(
    {"Role", "Agent", "Tool", "Datasource", "Schema", "Table", "Column", "Function", "Collection", "Backup", "AuditLog"}
)
_ACTION_IDS = frozenset(("Action", action) for action in ACTIONS)
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
    action: str
    """One of `ACTIONS`."""
    type: str
    """The entity type it is about."""
    source: source.Source

    def problem(self, message: str, hint: str = "") -> Problem:
        """Something against it."""
        return Problem(self.source.file, self.source.line, self.id, message, hint)


@dataclass(frozen=True, slots=True)
class RowRules:
    """Every row rule of a policy set. Made by `cedar.PolicySet.parse` alone."""

    rules: tuple[RowRule, ...] = ()
    attributes: Mapping[str, AttributeType] = field(default_factory=dict)
    """Attributes of agents that are declared."""

    @property
    def governed(self) -> frozenset[str]:
        """The entity types that any rule names."""
        return frozenset(rule.type for rule in self.rules)

    def of(self, action: str) -> "RowRules":
        """Those that speak of this action."""
        return replace(self, rules=tuple(rule for rule in self.rules if rule.action == action))


NO_RULES = RowRules()


def speaks_of_rows(policy: checks.Json) -> bool:
    """Whether a policy, in Cedar's JSON, names an action of row rules."""
    return not _ACTION_IDS.isdisjoint(checks.named(policy))


def complaints(policy: checks.Json, declared: checks.Words) -> Iterator[tuple[str, str]]:
    """What there is against a policy that speaks of rows, whatever its table, as message and hint."""
    yield from checks.of_frame(policy)
    yield from checks.of_agent(policy, declared.attributes)
    for term in sorted(checks.annotations(policy).keys() - {"id"}):
        yield f"`@{term}` says nothing of rows", "put it on the permit to read the table"
    action, resource = policy["action"], policy["resource"]
    if action.get("op") != "==" or _ACTION_IDS.isdisjoint(checks.named(action)):
        yield "it speaks of rows and of something else", _SHAPE
    if resource.get("op") != "is" or "in" in resource:
        yield "it does not say of which table's rows it speaks", _SHAPE
    elif (parts := resource["entity_type"].split("::")) and (len(parts) != 3 or entity_type(*parts) is None):  # noqa: PLR2004
        yield f"`{resource['entity_type']}` is no table", _SHAPE


def rule(name: str, policy: checks.Json, written: source.Source) -> RowRule:
    """The rule that a policy is against which there are no complaints."""
    [(_, action)] = _ACTION_IDS.intersection(checks.named(policy["action"]))
    return RowRule(name, policy["effect"], action, policy["resource"]["entity_type"], written)


def entity_type(datasource: str, schema: str, table: str) -> str | None:
    """The name of the type of a table's rows; `None` when Cedar cannot spell it, and so no rule can name it."""
    if all(map(_NAME.fullmatch, (datasource, schema, table))) and table not in _TAKEN:
        return f"{datasource}::{schema}::{table}"
    return None


def unknown(rules: RowRules, types: Iterable[str]) -> tuple[Problem, ...]:
    """What there is against rules that name none of these entity types."""
    known = frozenset(types)
    hint = "the names are those of the datasource, the schema and the table, as the database spells them"
    return tuple(one.problem(f"there is no table `{one.type}`", hint) for one in rules.rules if one.type not in known)
