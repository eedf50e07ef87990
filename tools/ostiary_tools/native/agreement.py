"""Whether what a login has in a database is what a caller's policy says: no more and no less. Pure: sentences from values."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ostiary_tools.identifiers import qualified
from ostiary_tools.native.facts import OTHERS, Facts, Held, RowPolicy, policy_names
from ostiary_tools.native.installation import Installation, Wanted
from ostiary_tools.powers import MEANINGS, PUBLIC
from ostiary_tools.snapshot import Name

AGAIN = "run again what `ostiary policy install` prints"
_ANOTHER = "take a login of its own"
_MOST_NAMES = 12
"""Columns told by name."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which the two do not agree."""

    sentence: str
    hint: str
    """What to do."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Of one table, at one moment."""

    read: int
    """By the login."""
    kept: int
    """By the predicate, of all there are."""
    alike: bool
    """They are the same rows."""


Same = Collection[tuple[Name, str]]
"""Policies, by relation and name, whose expression the server takes for the relation's predicate."""


def differences(installation: Installation, facts: Facts, same: Same) -> tuple[Difference, ...]:
    """Every one; none when they agree."""
    if not facts.exists:
        return (Difference(f"there is no login `{facts.login}`", "run what `ostiary policy install` prints"),)
    return (*_of_login(facts), *_of_reach(installation, facts), *_of_relations(installation, facts, same))


def _of_login(facts: Facts) -> Iterator[Difference]:
    """What it could do besides reading, and what it has from others or will have."""
    for finding in facts.findings:
        if finding.over_privileged:
            sentence = f"`{facts.login}`: {MEANINGS[finding.power]}, {finding.evidence} (by {finding.through})"
            yield Difference(sentence, f"run `{finding.fix}`" if finding.fix else _ANOTHER)
    for role in dict.fromkeys(role for role, _ in facts.memberships):
        yield Difference(f"`{facts.login}` is a member of `{role}`, and has what that role has", AGAIN)
    for default in facts.defaults:
        where = f" in schema `{default.schema}`" if default.schema else ""
        whom = "everybody" if default.everybody else f"`{facts.login}`"
        yield Difference(f"tables that `{default.owner}` makes{where} from now on can be read by {whom}", AGAIN)


def _of_reach(installation: Installation, facts: Facts) -> Iterator[Difference]:
    if not facts.connects:
        yield Difference(f"`{facts.login}` may not connect to the database `{facts.database}`", AGAIN)
    for schema in sorted({schema for schema, _ in installation.wanted} - facts.usable):
        yield Difference(f"`{facts.login}` may not use the schema `{schema}`, whose tables it may read", AGAIN)


def _of_relations(installation: Installation, facts: Facts, same: Same) -> Iterator[Difference]:
    for name, held in sorted(facts.relations.items()):
        wanted = installation.wanted.get(name)
        yield from _of_columns(name, held, wanted, installation, facts.login)
        if wanted is not None:
            yield from _of_rows(name, held, wanted, facts.login, same)
    for name in sorted(installation.wanted.keys() - facts.relations.keys()):
        yield Difference(f"`{qualified(*name)}` is not there any more", "ask again")


def _of_columns(name: Name, held: Held, wanted: Wanted | None, installation: Installation, login: str) -> Iterator[Difference]:
    said = f"`{qualified(*name)}`"
    columns = set(wanted.columns) if wanted else set()
    readable = {column for column, may in held.columns.items() if may}
    more, less = readable - columns, columns - readable
    why = f"; {installation.closed[name]}" if name in installation.closed else ""
    if more:
        yield Difference(
            f"`{login}` can read {_listed(more, held)} of {said} and the policies do not let it{_through(more, held, login)}{why}",
            AGAIN,
        )
    elif held.whole:
        yield Difference(f"`{login}` can read columns that {said} will have later{_through((), held, login)}", AGAIN)
    if less:
        yield Difference(f"`{login}` cannot read {_listed(less, held)} of {said} and the policies let it", AGAIN)


def _of_rows(name: Name, held: Held, wanted: Wanted, login: str, same: Same) -> Iterator[Difference]:
    said = f"`{qualified(*name)}`"
    if wanted.rows and not held.row_security:
        yield Difference(f"row security is not enabled on {said}, so `{login}` has all its rows", AGAIN)
    if not held.row_security:
        return
    reading = {policy.name: policy for policy in held.policies if policy.reads}
    for policy, permissive in zip(policy_names(login), (True, False), strict=True):
        found = reading.pop(policy, None)
        if found is None:
            yield Difference(f"the policy `{policy}` of {said} is gone or does not apply to `{login}`", AGAIN)
        elif found.permissive is not permissive or found.command != "r" or found.roles != (login,) or (name, policy) not in same:
            yield Difference(f"the policy `{policy}` of {said} does not say what the row rules say", AGAIN)
    for policy in sorted(reading):
        if policy == OTHERS and reading[policy].permissive:  # it gives the login nothing beyond its own two
            continue
        yield Difference(
            f"the policy `{policy}` of {said} applies to `{login}` too and is none of Ostiary's",
            "drop it, or name with `TO` the roles it is for",
        )


def compared(installation: Installation, facts: Facts) -> Mapping[tuple[Name, str], tuple[str, str]]:
    """The policies to hold against their relation's predicate: predicate and expression."""
    found: dict[tuple[Name, str], tuple[str, str]] = {}
    for name, wanted in installation.wanted.items():
        policies: tuple[RowPolicy, ...] = facts.relations[name].policies if name in facts.relations else ()
        for policy in policies:
            if wanted.rows and policy.name in policy_names(facts.login):
                found[name, policy.name] = (wanted.rows, policy.expression)
    return found


def of_rows(found: Mapping[Name, Rows], login: str) -> Iterator[Difference]:
    """Tables of which the login reads other rows than the predicate keeps."""
    for name, rows in found.items():
        if not rows.alike:
            others = f"{rows.kept}" if rows.kept != rows.read else "others"
            yield Difference(f"`{login}` reads {rows.read} rows of `{qualified(*name)}` and the row rules keep {others}", AGAIN)


def _through(columns: Collection[str], held: Held, login: str) -> str:
    """Who that was granted to, where grants say so."""
    grants = [one for one in held.grants if one.privilege == "SELECT" and (not one.column or one.column in columns)]
    known = {grant.grantee for grant in grants} & {"", login}
    words = [f"`{login}`"] * (login in known) + [PUBLIC] * ("" in known)
    return f", as it is granted to {' and '.join(words)}" if words else ""


def _listed(columns: Collection[str], held: Held) -> str:
    if len(columns) == len(held.columns):
        return "every column"
    named = [f"`{name}`" for name in held.columns if name in columns]
    more = f" and {len(named) - _MOST_NAMES} more" if len(named) > _MOST_NAMES else ""
    return ", ".join(named[:_MOST_NAMES]) + more
