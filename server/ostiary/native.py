"""The policies in force as a database login's own rights: the SQL that makes them so, and whether they are.

Connects to the datasource as the server does, looks, and changes nothing.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ostiary.app import open_sources, open_world
from ostiary.config import Config
from ostiary.exits import CommandFailed, Exit
from ostiary_policies.actions import Action
from ostiary_policies.attributes import plain
from ostiary_policies.model import Access, Principal, Tool
from ostiary_tools.datasources.native import Looking, looking
from ostiary_tools.datasources.opening import PostgresSettings
from ostiary_tools.identifiers import qualified
from ostiary_tools.native.agreement import Difference, compared, differences, of_rows
from ostiary_tools.native.facts import Facts
from ostiary_tools.native.installation import Installation, installation
from ostiary_tools.native.script import needs_keeping, script, taken_from_everybody, title
from ostiary_tools.powers import MEANINGS, Power
from ostiary_tools.view import SchemaView

_LONGEST_NAME = 63
"""Bytes of a role's name."""
_BEYOND_REPAIR = (Power.SUPERUSER, Power.BYPASS_RLS, Power.CREATE_ROLE, Power.REPLICATION, Power.CREATE_DATABASE, Power.OWNER)
"""What makes a login one that is not for an agent; taking it away would break whatever it is for."""


@dataclass(frozen=True, slots=True)
class Natively:
    """What the owner runs."""

    sql: str
    notes: tuple[str, ...]
    """How it is not as by the gate, and whom else it touches; each in a sentence."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What a login has, held against the policies."""

    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    """What the gate gives and grants cannot; each in a sentence."""
    relations: int
    columns: int
    filtered: int
    """Relations with policies of row security."""


async def natively(config: Config, who: Principal, login: str, datasource: str | None) -> Natively:
    """The SQL for a login that is nothing else. Raises CommandFailed, ToolError."""
    async with _looking(config, who, login, datasource) as (view, source, policy_hash), looking(source) as look:
        facts = await look.facts(login)
    _check_login(facts, source.set_role)
    made = installation(view, facts)
    attributes = [f"{one.name} = {plain(one)!r}" for one in who.attributes]
    text = script(made, facts, title(who.roles, attributes, policy_hash))
    return Natively(text, (*_notes(made), *_touched(made, facts)))


async def installed(config: Config, who: Principal, login: str, datasource: str | None, *, rows: bool = False) -> Installed:
    """Hold what the login has against the policies, and where `rows` says so what it reads. Raises CommandFailed, ToolError."""
    async with _looking(config, who, login, datasource) as (view, source, _):
        async with looking(source) as look:
            made, found = await _held(view, look, login)
        if not rows:
            return _installed(made, found, ())
        if found:
            return _installed(made, found, ("rows are compared when nothing else differs",))
        async with looking(source) as look:
            await look.lock(name for name, wanted in made.wanted.items() if wanted.rows)
            made, found = await _held(view, look, login)
            read = (
                {} if found else {name: await look.rows(login, name, wanted) for name, wanted in made.wanted.items() if wanted.rows}
            )
    seen = {name: counted for name, counted in read.items() if counted is not None}
    unseen = sorted(
        f"the rows of `{qualified(*name)}` are not compared: we may not see both ours and the login's"
        for name in read.keys() - seen.keys()
    )
    return _installed(made, (*found, *of_rows(seen, login)), tuple(unseen))


async def _held(view: SchemaView, look: Looking, login: str) -> tuple[Installation, tuple[Difference, ...]]:
    facts = await look.facts(login)
    made = installation(view, facts)
    same = {
        key
        for key, (predicate, expression) in compared(made, facts).items()
        if await look.same(view.snapshot.relations[key[0]], predicate, expression)
    }
    return made, differences(made, facts, same)


def _installed(made: Installation, found: tuple[Difference, ...], notes: tuple[str, ...]) -> Installed:
    wanted = made.wanted.values()
    columns = sum(len(one.columns) for one in wanted)
    return Installed(found, (*_notes(made), *notes), len(wanted), columns, filtered=sum(bool(one.rows) for one in wanted))


@asynccontextmanager
async def _looking(
    config: Config, who: Principal, login: str, name: str | None
) -> AsyncIterator[tuple[SchemaView, PostgresSettings, str]]:
    if not 0 < len(login.encode(errors="replace")) <= _LONGEST_NAME or "\0" in login:
        raise CommandFailed(f"no login has the name `{login}`", "it has at most 63 bytes", Exit.USAGE)
    async with open_sources(config, lambda _: None) as settings, open_world(config, who) as (engine, _, world):
        calling = engine.allows(who, Access(Action.CALL, Tool("query")))
        if not calling.allowed:
            raise CommandFailed("the policies do not let it call `query`, so through Ostiary it reads nothing")
        if any(one.above_rows is None for one in calling.obligations.approvals):
            raise CommandFailed("a human is asked before any call of `query`, and natively nobody is")
        view = world.view(name)
        [source] = [one for one in settings if one.name == view.datasource]
        yield view, source, engine.policy_hash


def _check_login(facts: Facts, set_role: str | None) -> None:
    """Refuse a login that is for something else."""
    hint = "name one that does not exist yet, and it is made"
    if facts.login in (facts.asking, set_role):
        raise CommandFailed(f"`{facts.login}` is what the server itself is in the database, for the agents of all roles", hint)
    for finding in facts.findings:
        if finding.power in _BEYOND_REPAIR and finding.through == facts.login:
            raise CommandFailed(f"`{facts.login}`: {MEANINGS[finding.power]}, so it is not for an agent", hint)


def _notes(made: Installation) -> tuple[str, ...]:
    return (*made.closed.values(), *made.remarks)


def _touched(made: Installation, facts: Facts) -> Iterator[str]:
    if taken_from_everybody(made, facts):
        yield "the SQL takes rights from everybody (PUBLIC), under a comment that says so: grant them to the roles that need them"
    if begins := [f"`{qualified(*name)}`" for name in needs_keeping(made, facts)]:
        kept = "who has rights there now keeps all rows by the policy `ostiary_others`"
        yield f"row security begins on {', '.join(begins)}: {kept}, and who gets rights later has no rows until a policy says so"
