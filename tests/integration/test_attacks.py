"""Everything in tests/cases/attacks through a real MCP client, judged by what it did and what came out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import asyncpg
import fix_fingerprint
import pytest
from fix_attacks import HUNG, PATIENCE_S, TWINS, Attack, Do, Outcome, differing, harms, plain
from fix_doors import doors
from fix_fortress import READER, Fortress
from fix_postgres import ADMIN
from fix_server import MakeSite

_HONEST = Attack(
    "honest", {"sql": "select o.id, o.total, c.city from orders o join customers c on c.id = o.customer_id order by 1"}
)
_ATTACKERS = [
    # An engineer may do most, and a superuser of the database; READER is the least that can read it.
    pytest.param("fortress", "engineer", ADMIN, 8, id="every eighth"),
    *(
        pytest.param("fortress", role, login, 1, marks=pytest.mark.slow)
        for role, login in (("engineer", ADMIN), ("engineer", READER), ("analyst", ADMIN), ("operator", ADMIN))
    ),
    *(
        pytest.param("system_fortress", role, login, 1, marks=pytest.mark.slow)
        for role, login in (("engineer", ADMIN), ("engineer", READER), ("analyst", READER), ("operator", ADMIN))
    ),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("attacked", "role", "login", "every"), _ATTACKERS, indirect=["attacked"])
async def test_no_attack_comes_through(attacked: Fortress, role: str, login: str, every: int, make_site: MakeSite):
    through, count = [], 0
    async with attacked.standing(), doors(attacked, make_site, role, login) as do:
        honest = plain((await do(TWINS[0], _HONEST)).reply)
        await attacked.quiet(PATIENCE_S)
        before = await attacked.fingerprint()
        for attack in islice(attacked.attacks(), 0, None, every):
            count += 1
            found, before = await harms(attacked, attack, do, before)
            through += [f"{attack.title}: {harm}" for harm in found]
            if plain((await do(TWINS[0], _HONEST)).reply) != honest:
                through.append(f"{attack.title}: the next honest query is answered otherwise")
    assert honest.count("\n") >= 60, honest
    assert count >= 510 // every
    assert through == [], f"{len(through)} of {count} attacks came through: {through}"


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("attacked", ["fortress", "system_fortress"], indirect=True)
async def test_every_attack_would_do_harm_without_the_gate(attacked: Fortress):
    """Otherwise the suite proves nothing: each case is run bare, as a superuser, and must be seen to harm."""
    wrong: list[str] = []
    bitten = 0
    async with attacked.standing():
        before = await attacked.fingerprint()
        for title in [attack.title for attack in attacked.attacks()]:
            # Filled anew: the sessions it aims at are others after a rebuild.
            attack = next(a for a in attacked.attacks() if a.title == title)
            if attack.sql is None or not attack.needs <= attacked.offers:
                continue
            async with _bare(attacked) as do:
                found, after = await harms(attacked, attack, do, before, patience_s=0 if attack.toothless else PATIENCE_S)
            bitten += bool(found)
            if bool(found) == bool(attack.toothless):
                wrong.append(f"{title}: {found}")
            if after != before:
                await attacked.rebuild()
                before = await attacked.fingerprint()
    assert wrong == [], "\n".join(wrong)
    assert bitten >= 380


_BARE = {"statement_timeout": "3000", "application_name": "bare"}
_REFUSALS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError, OSError)


@asynccontextmanager
async def _bare(fortress: Fortress) -> AsyncIterator[Do]:
    """No gate: a superuser with the driver, whose sessions stay open until the end: what they hold is harm too."""
    sessions: list[asyncpg.Connection] = []

    async def do(twin: str, attack: Attack) -> Outcome:
        assert attack.sql is not None
        connection = await asyncpg.connect(fortress.server.dsn(database=twin), server_settings=_BARE, statement_cache_size=0)
        sessions.append(connection)
        if attack.bare:
            await connection.execute(attack.bare)
        held = await fix_fingerprint.of_session(connection)
        try:
            reply = repr(await _run(fortress, connection, attack.sql))
        except asyncpg.QueryCanceledError:
            return Outcome(HUNG)
        except _REFUSALS as error:
            reply = f"{error} {getattr(error, 'detail', '')}"
        if connection.is_closed():
            return Outcome(reply, ("nothing",))
        return Outcome(reply, differing(held, await fix_fingerprint.of_session(connection)))

    try:
        yield do
    finally:
        for connection in sessions:
            connection.terminate()


async def _run(fortress: Fortress, connection: asyncpg.Connection, sql: str) -> list[Any]:
    if sql.endswith("to stdout"):  # the driver takes COPY by another call
        options = ("-X", "-h", str(fortress.server.root), "-U", ADMIN, "-d", TWINS[0])
        return [(await asyncio.to_thread(fortress.server.run, "psql", *options, text_in=sql)).stdout]
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    except asyncpg.PostgresSyntaxError as error:
        if "multiple commands" not in str(error):
            raise
        return [await connection.execute(sql)]
