"""Row rules held against a live schema: what they govern, which rows a caller has, and what is wrong with them.

Done once for a policy set and a snapshot. What rules name and everything through which
its rows could be read is governed: a partition or child has the rules of what it is a
part of, and a view over a governed table has no rows until a rule speaks of it. A
relation whose rules cannot be kept has no rows for anybody, with the reason; it is
never taken for one that nobody governs.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ostiary_policies.conditions import TRUE, RowFilter
from ostiary_policies.errors import PolicyError, Problem
from ostiary_policies.model import Principal
from ostiary_policies.rows import READ, WRITES, RowRule, RowRules, entity_type, unknown
from ostiary_policies.table_rules import TableRules, against
from ostiary_tools.ancestry import Kin, ancestors, descendants, reached
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Name, Relation, RelationKind, Snapshot
from ostiary_tools.sql.printing import print_tree
from ostiary_tools.sql.row_predicates import predicate
from ostiary_tools.sql.row_types import row_table
from ostiary_tools.sql.row_values import all_of, as_tree
from ostiary_tools.view import RowTerms


@dataclass(frozen=True, slots=True)
class Governed:
    """One relation of which nobody has more rows than rules allow."""

    relation: Relation
    rules: tuple[RowRule, ...]
    """Its own and those of what it is a part of."""
    held: tuple[TableRules, ...] = ()
    """The same by the table they name; every one must allow a row."""
    closed: str = ""
    """Why nobody has a row of it, in words for an agent."""
    problems: tuple[Problem, ...] = ()
    """With its own rules."""

    def terms(self, principal: Principal) -> RowTerms:
        """Which rows the principal has. About a millisecond. Total: where it cannot be said, there are none."""
        if self.closed or not self.held:
            return self._refusing(self.closed or f"the row rules of `{self.relation.name}` are not known")
        try:
            filters = self.filters(principal)
            tree = as_tree(all_of(predicate(rows, self.relation) for rows in filters))
            return RowTerms(print_tree(tree), tuple(sorted({rule for rows in filters for rule in rows.rules})))
        except (ValueError, Refused):
            return self._refusing(f"which rows of `{self.relation.name}` you have is not certain")

    def filters(self, principal: Principal) -> tuple[RowFilter, ...]:
        """The rows the principal has, by each table's rules. Raises ValueError when that is not certain."""
        return tuple(rules.filter(principal) for rules in self.held)

    def _refusing(self, why: str) -> RowTerms:
        return RowTerms("FALSE", tuple(sorted(rule.id for rule in self.rules)), why)


@dataclass(frozen=True, slots=True)
class Findings:
    """What live schemas say of row rules."""

    problems: tuple[Problem, ...]
    """A rule about a table that is nowhere is one."""
    closed: tuple[str, ...]
    """Why nobody has rows of relations that rules close without naming them, each in a sentence."""


def governing(
    rules: RowRules, snapshot: Snapshot, before: Mapping[Name, Governed] = MappingProxyType({})
) -> Mapping[Name, Governed]:
    """The relations of the snapshot that the rules, all of one action, govern.

    Blocks for milliseconds a table that is not as it was `before`.
    `before` are those of any snapshot of the datasource, under any rules of the same installation.
    """
    named = _named(rules, snapshot)
    if not named:
        return {}
    above = ancestors(snapshot)
    below = descendants(above)
    tables: dict[Name, Governed] = {}
    for name, own in named.items():
        relation, known = _as_read(snapshot, name, below), before.get(name)
        if known is not None and name not in above and _holds_still(known, own, relation):
            tables[name] = replace(known, relation=relation)
        else:
            tables[name] = _of_table(rules, own, snapshot.datasource, relation, above.get(name, ()))
    found: dict[Name, Governed] = {}
    for name in dict.fromkeys((*named, *(part for top in named for part in below.get(top, ())))):
        whole = [tables[top] for top in (name, *above.get(name, ())) if top in tables]
        found[name] = _together(_as_read(snapshot, name, below), whole)
    for name, part in tuple(found.items()):
        for top in above.get(name, ()):
            if top not in found or not set(part.rules) <= set(found[top].rules):
                why = f"`{top[1]}` shows rows of a part that has row rules of its own"
                found[top] = Governed(snapshot.relations[top], found[top].rules if top in found else (), closed=why)
    return {**found, **_views(snapshot, found)}


def opened(governed: Mapping[Name, Governed]) -> Mapping[Name, Governed]:
    """The same where the rules hold inside views too: that says which rows a view shows of which no rule speaks."""
    return {name: one for name, one in governed.items() if one.rules or one.relation.kind is not RelationKind.VIEW}


def findings(
    rules: RowRules, snapshots: Iterable[Snapshot], unseen: Collection[str] = (), *, inside_views: bool = False
) -> Findings:
    """Hold the rules against all tables there are.

    `unseen`: datasources that exist and cannot be looked at; nothing is said of rules about their tables.
    """
    found: dict[Problem, None] = {}
    closed: list[str] = []
    types = {type_ for type_ in rules.governed if type_.partition("::")[0] in unseen}
    for snapshot in snapshots:
        by_name = governing(rules.of(READ), snapshot)
        governed = (opened(by_name) if inside_views else by_name).values()
        written = (one for action in WRITES.values() for one in governing(rules.of(action), snapshot).values())
        found |= dict.fromkeys(problem for one in (*governed, *written) for problem in one.problems)
        closed += [one.closed for one in governed if one.closed and not one.problems]
        types.update(_types(snapshot))
    return Findings((*unknown(rules, types), *found), tuple(sorted(closed)))


def terms(governed: Mapping[Name, Governed], principal: Principal) -> Mapping[Name, RowTerms]:
    """Which rows the principal has of each relation. About a millisecond for each but the parts of a table, which are alike."""
    made: dict[Hashable, RowTerms] = {}
    found: dict[Name, RowTerms] = {}
    for name, one in governed.items():
        alike = (*map(id, one.held), *((column.name, column.kind, column.not_null) for column in one.relation.columns))
        known = made.get(alike) if one.held else None
        found[name] = known or one.terms(principal)
        if not found[name].refusal:
            made[alike] = found[name]
    return found


def missing(rules: RowRules, snapshot: Snapshot) -> tuple[Problem, ...]:
    """What there is against rules about tables that are not in this datasource and should be."""
    here = tuple(rule for rule in rules.rules if rule.type.partition("::")[0] == snapshot.datasource)
    return unknown(replace(rules, rules=here), _types(snapshot))


def _types(snapshot: Snapshot) -> Iterator[str]:
    return (type_ for name in snapshot.relations if (type_ := entity_type(snapshot.datasource, *name)))


def _named(rules: RowRules, snapshot: Snapshot) -> Mapping[Name, tuple[RowRule, ...]]:
    """The relations that rules name, with these."""
    by_type: defaultdict[str, list[RowRule]] = defaultdict(list)
    for rule in rules.rules:
        by_type[rule.type].append(rule)
    found = {name: by_type.get(entity_type(snapshot.datasource, *name) or "") for name in snapshot.relations}
    return {name: tuple(own) for name, own in found.items() if own}


def _holds_still(before: Governed, own: tuple[RowRule, ...], relation: Relation) -> bool:
    """Whether the same rules were held of the same columns."""
    columns = (before.relation.kind, before.relation.columns) == (relation.kind, relation.columns)
    return bool(before.held) and before.rules == own and columns


def _of_table(rules: RowRules, own: tuple[RowRule, ...], datasource: str, relation: Relation, whole: Collection[Name]) -> Governed:
    """A table that rules name, by itself; it may be a part of others."""
    table = row_table(datasource, relation)
    why = f"the row rules of `{relation.name}` do not fit the table as it is now"
    if table is None or whole:
        others = " and ".join(f"`{schema}.{name}`" for schema, name in sorted(whole))
        hint = "write the rule about that one: it holds for all its parts"
        wrong = tuple(rule.problem(f"its table is a part of {others}", hint) for rule in own)
        return Governed(relation, own, closed=why, problems=wrong)
    try:
        held = against(rules, table)
        found = tuple(_unsaid(held, relation))
    except PolicyError as error:
        return Governed(relation, own, closed=why, problems=error.problems)
    return Governed(relation, own, closed=why, problems=found) if found else Governed(relation, own, (held,))


def _together(relation: Relation, whole: Sequence[Governed]) -> Governed:
    """A relation with the rules of all of these; where those of one cannot be kept, none can."""
    closed = any(one.closed for one in whole)
    return Governed(
        relation,
        tuple(rule for one in whole for rule in one.rules),
        () if closed else tuple(held for one in whole for held in one.held),
        f"the row rules of `{relation.name}` do not fit the table as it is now" if closed else "",
        tuple(problem for one in whole for problem in one.problems),
    )


def _views(snapshot: Snapshot, governed: Mapping[Name, Governed]) -> Mapping[Name, Governed]:
    """Views over governed relations, and over such views, of which no rule speaks: nobody has said which rows they show."""
    over = {name: {used[:2] for used in detail.uses} for name, detail in snapshot.details.relations.items() if detail.uses}
    shown = {name for name in over if name not in governed and name in snapshot.relations}
    return {
        name: Governed(
            snapshot.relations[name],
            (),
            closed=f"`{name[1]}` shows rows of a table that has row rules, and no row rule speaks of `{name[1]}`",
        )
        for name in shown
        if not governed.keys().isdisjoint(reached(name, over))
    }


def _as_read(snapshot: Snapshot, name: Name, below: Kin) -> Relation:
    """The relation without a NOT NULL that does not hold for all that is read with it: of a part, of another server's table."""
    relation = snapshot.relations[name]
    read = (relation, *(snapshot.relations[part] for part in below.get(name, ())))
    foreign = any(one.kind is RelationKind.FOREIGN_TABLE for one in read)
    nullable = {column.name for one in read for column in one.columns if foreign or not column.not_null}
    return replace(relation, columns=tuple(replace(one, not_null=one.name not in nullable) for one in relation.columns))


def _unsaid(held: TableRules, relation: Relation) -> Iterator[Problem]:
    """What cannot be said in SQL, of each rule by itself."""
    for rule in held.rules:
        sample = held.samples[rule.id]
        try:
            predicate(RowFilter((sample, sample), (), ()), relation)
            predicate(RowFilter((TRUE,), (sample,), ()), relation)
        except Refused as refused:
            yield rule.problem(refused.message, refused.hint)
