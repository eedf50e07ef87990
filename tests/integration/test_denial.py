"""Statements that would take the server's time, memory or disk: each is refused, or meets a bound that its reply names."""

import re

import pytest
from fix_attacks import HUNG, PATIENCE_S, TWINS, Attack
from fix_doors import doors
from fix_fortress import Fortress
from fix_postgres import ADMIN
from fix_server import MakeSite

_HONEST = Attack("honest", {"sql": "select count(*) from orders"})


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("attacked", ["fortress", "system_fortress"], indirect=True)
async def test_no_statement_takes_the_server_from_others(attacked: Fortress, make_site: MakeSite):
    wrong: list[str] = []
    count = 0
    async with attacked.standing(), doors(attacked, make_site, "engineer", ADMIN, timeout_s=2) as do:
        assert "60" in (await do(TWINS[0], _HONEST)).reply
        await attacked.quiet(PATIENCE_S)
        before = await attacked.fingerprint()
        for attack in attacked.attacks("denial"):
            count += 1
            reply = (await do(TWINS[0], attack)).reply
            if reply == HUNG or not re.search(f"(?i)refused|{attack.bound}", reply, re.MULTILINE):
                wrong.append(f"{attack.title}: {reply[:300]}")
            if still := await attacked.quiet(PATIENCE_S):
                wrong.append(f"{attack.title}: {still}")
            if "60" not in (await do(TWINS[0], _HONEST)).reply:
                wrong.append(f"{attack.title}: the next agent is not answered")
            await attacked.quiet(PATIENCE_S)
        assert await attacked.fingerprint() == before
    assert wrong == []
    assert count >= 27
