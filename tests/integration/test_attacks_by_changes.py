"""Every attack of tests/cases/attacks put into changes, by roles that write rows and define nothing: 0 come through."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from fix_attacks import PATIENCE_S, TWINS, Attack, harms, plain
from fix_company import CHANGE
from fix_doors import doors
from fix_fortress import Fortress
from fix_postgres import ADMIN
from fix_server import MakeSite

WRAPPINGS = {
    "bare": "{}",
    "inserted": "insert into sink (note) {}",
    "inserted as a value": "insert into sink (id, note) values (9, ({})::varchar)",
    "inserted from": "insert into sink (note) select 'x' from ({}) as attack",
    "set": "update sink set note = ({})::varchar where id = 1",
    "set from": "update sink set note = 'x' from ({}) as attack where id = 1",
    "a condition of an update": "update sink set note = 'x' where exists ({})",
    "a condition of a delete": "delete from sink where note in ({})",
    "deleted by": "delete from sink using ({}) as attack",
    "merged": "merge into sink j using ({}) as attack on false when not matched then insert (note) values ('x')",
    "returned": "insert into sink (note) values ('x') returning ({})",
    "put in conflict": "insert into sink (id, note) values (1, 'x') on conflict (id) do update set note = ({})::varchar",
    "with": "with attack as ({}) insert into sink (note) select 'x' from attack",
    "a table": "create table made as {}",
    "a view": "create view made as {}",
    "a default": "alter table sink add column made text default (({})::text)",
    "a function": "create function made() returns setof record language sql as $made$ {} $made$",
    "a block": "do $made$ begin perform 1; {}; end $made$",
    "a rule": "create rule made as on insert to sink do also {}",
}
"""What a writing statement makes of a question."""

WRITES = """
@id("writer-calls") permit (principal in Role::"writer", action == Action::"call", resource);
@id("writer-sees") permit (principal in Role::"writer", action == Action::"see", resource);
@id("writer-reads") permit (principal in Role::"writer", action == Action::"read", resource);
@id("writer-writes")
permit (principal in Role::"writer", action in [Action::"insert", Action::"update", Action::"delete"], resource);
@id("writer-no-secrets")
forbid (principal in Role::"writer", action in [Action::"read", Action::"read_masked", Action::"insert", Action::"update"],
  resource is Column)
when { resource.tags.contains("secret") };
"""
"""A role of the house that writes rows and defines nothing; as the engineer of the shipped bundle does."""

SINK = "CREATE TABLE sink (id serial PRIMARY KEY, note varchar); INSERT INTO sink (note) VALUES ('a'), ('b')"
"""A table without a rule, a check or a cast of the house: what is refused about it is refused for what is put there."""
HONEST = Attack("honest", {"sql": "update sink set note = (select status from orders where id = 1) where id in (1, 2)"})
GROWS = re.compile(
    r"wal|transaction numbers|names in (pg_wal|pg_xact|pg_subtrans|pg_multixact.*|base.*)|.* (sequences|statistics of statements)"
)
"""What a change that is rolled back leaves: the log and its files grow, numbers of transactions and sequences are used up."""


@dataclass(frozen=True)
class Logical:
    """Sees effects as the fortress does, but for those of a change that is rolled back."""

    fortress: Fortress

    def leaked(self, reply: str, attack: Attack) -> str:
        """Name of the secret that a reply tells."""
        return self.fortress.leaked(reply, attack)

    async def quiet(self, seconds: float) -> str:
        """What still runs after that time."""
        return await self.fortress.quiet(seconds)

    async def fingerprint(self) -> dict[str, str]:
        """All that an attack could change and keep."""
        return {name: value for name, value in (await self.fortress.fingerprint()).items() if not GROWS.fullmatch(name)}


@asynccontextmanager
async def sinks(fortress: Fortress) -> AsyncIterator[None]:
    """That table in both shops, which are made anew for each test."""
    for twin in TWINS:
        await asyncio.to_thread(fortress.server.sql, SINK, twin)
    yield


def wrapped(fortress: Fortress, every: int) -> Iterator[Attack]:
    """Each attack in each wrapping, or one of so many of these pairs."""
    number = 0
    for attack in fortress.attacks():
        sql = _sql(attack.call)
        if sql is None:
            continue
        text = re.sub(r";\s*$", "", sql)
        for name, wrapping in WRAPPINGS.items():
            number += 1
            if number % every == 0:
                yield replace(attack, title=f"{attack.title} ({name})", call=_proposal(wrapping.replace("{}", text)))


def _sql(call: Mapping[str, object]) -> str | None:
    match call:
        case {"sql": str(sql)} | {"tool": "query", "arguments": {"sql": str(sql)}}:
            return sql
        case _:
            return None


def _proposal(sql: str) -> dict[str, object]:
    return {"tool": "propose_change", "arguments": {"statements": [{"sql": sql}]}}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("role", "every", "at_least"),
    [
        pytest.param("engineer", 121, 75, id="engineer-few"),
        pytest.param("writer", 127, 70, id="writer-few"),
        # All of them are some ten thousand pairs and ten minutes of a role: put 1 here to try each.
        pytest.param("engineer", 5, 1_800, id="engineer-many", marks=pytest.mark.slow),
        pytest.param("writer", 7, 1_200, id="writer-many", marks=pytest.mark.slow),
    ],
)
async def test_no_attack_comes_through_in_a_change(fortress: Fortress, role: str, every: int, at_least: int, make_site: MakeSite):
    through, count = [], 0
    judge = Logical(fortress)
    async with fortress.standing(), sinks(fortress), doors(fortress, make_site, role, ADMIN, policy=WRITES, writer=ADMIN) as do:
        honest = replace(HONEST, call=_proposal(str(HONEST.sql)))
        seen = plain((await do(TWINS[0], honest)).reply)
        assert CHANGE.search((await do(TWINS[0], honest)).reply), seen
        await fortress.quiet(PATIENCE_S)
        before = await judge.fingerprint()
        for attack in wrapped(fortress, every):
            count += 1
            found, before = await harms(judge, attack, do, before)
            through += [f"{attack.title}: {harm}" for harm in found]
        assert plain((await do(TWINS[0], honest)).reply) == seen
    assert count >= at_least
    assert through == [], f"{len(through)} of {count} attacks came through:\n" + "\n".join(through)
