"""Row rules held against a live schema: which tables they govern, what each says, and what is wrong with them.

Done once for a policy set and a snapshot. A table whose rules cannot be kept has no
rows for anybody, with the reason; it is never taken for one that nobody governs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ostiary_policies.conditions import TRUE, RowFilter
from ostiary_policies.errors import PolicyError, Problem
from ostiary_policies.model import Principal
from ostiary_policies.rows import RowRules, unknown
from ostiary_policies.table_rules import TableRules, against
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Name, Relation, Snapshot
from ostiary_tools.sql.row_predicates import predicate
from ostiary_tools.sql.row_types import row_table


@dataclass(frozen=True, slots=True)
class Governed:
    """One table that row rules name."""

    relation: Relation
    rules: TableRules | None
    """`None` when they cannot be kept."""
    problems: tuple[Problem, ...] = ()

    def rows(self, principal: Principal) -> RowFilter:
        """Say which rows the principal has. Under a millisecond. Raises Refused when that is not certain."""
        if self.rules is None:
            raise Refused("row_rule", f"the row rules of `{self.relation.name}` do not fit the table as it is now", "ask its owner")
        try:
            return self.rules.filter(principal)
        except ValueError as error:
            raise Refused("row_rule", f"which rows of `{self.relation.name}` you have is not certain", "ask its owner") from error

    def predicate(self, principal: Principal, alias: str | None = None) -> Any:
        """A tree that is TRUE for the principal's rows, over columns under that name. Raises Refused."""
        return predicate(self.rows(principal), self.relation, alias)


def governing(rules: RowRules, snapshot: Snapshot) -> Mapping[Name, Governed]:
    """The tables of the snapshot that the rules name. Blocks for milliseconds a table."""
    found: dict[Name, Governed] = {}
    for name, relation in snapshot.relations.items():
        table = row_table(snapshot.datasource, relation)
        if table is None or table.type not in rules.governed:
            continue
        try:
            held = against(rules, table)
            problems = tuple(_unsaid(held, relation))
        except PolicyError as error:
            held, problems = None, error.problems
        found[name] = Governed(relation, None if problems else held, problems)
    return found


def problems(rules: RowRules, snapshots: Iterable[Snapshot]) -> tuple[Problem, ...]:
    """All there is against the rules, given every datasource that they may speak of; a table that is nowhere is a problem too."""
    found: list[Problem] = []
    types: set[str] = set()
    for snapshot in snapshots:
        governed = governing(rules, snapshot)
        found += [problem for one in governed.values() for problem in one.problems]
        types |= {table.type for one in governed.values() if (table := row_table(snapshot.datasource, one.relation))}
    return (*unknown(rules, types), *found)


def _unsaid(held: TableRules, relation: Relation) -> Iterable[Problem]:
    """What cannot be said in SQL, of each rule by itself."""
    for rule in held.rules:
        sample = held.samples[rule.id]
        try:
            predicate(RowFilter((sample, sample), (), ()), relation)
            predicate(RowFilter((TRUE,), (sample,), ()), relation)
        except Refused as refused:
            yield Problem(rule.source.file, rule.source.line, rule.id, refused.message, refused.hint)
