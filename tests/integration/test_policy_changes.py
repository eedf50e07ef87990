"""What other policies would change, held against a live schema."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fix_http import ostiary
from fix_postgres import PostgresServer
from fix_server import READS_ALL, MakeSite, Site

LESS = """
@id("no-b") forbid (principal, action == Action::"read", resource == Column::"shop.public.t.b");
@id("no-u") forbid (principal, action == Action::"see", resource == Table::"shop.public.u");
@id("other-sees") permit (principal in Role::"other", action == Action::"see", resource is Datasource);
"""


@pytest.fixture
def make_shop(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
) -> Callable[[], Awaitable[Site]]:
    """A site with two small tables, that reads all."""

    async def make() -> Site:
        dsn = postgres_server.dsn(database=await make_database("CREATE TABLE t (id int, a int, b text); CREATE TABLE u (x int)"))
        return await make_site({"shop": dsn}, more='[agent]\nrole = "reader"\nroles = ["reader"]')

    return make


def base(site: Site) -> Path:
    return site.config.home.data.parent


async def policy(site: Site, *arguments: str, expected: int = 0) -> Any:
    """A command's JSON."""
    given = ("policy", *arguments, "--config", str(base(site) / "ostiary.toml"), "--json")
    return json.loads(await ostiary(site.config, *given, expected=expected))


def other(site: Site, text: str) -> str:
    path = base(site) / "other.cedar"
    path.write_text(text)
    return str(path)


@pytest.mark.asyncio
async def test_diff_tells_what_each_role_gains_and_loses_of_a_live_schema(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    own = str(base(site) / "policies")
    found = await policy(site, "diff", own, other(site, READS_ALL + LESS), "--datasource", "shop", expected=1)
    hidden = ["shop.public.t.b", "shop.public.u", "shop.public.u.x"]
    roles = {shift["role"]: (shift["gained"], shift["lost"]) for shift in found["roles"]}
    assert roles == {"reader": ({}, {"see": hidden[1:], "read": hidden}), **_bundles(roles, hidden)}
    back = await policy(site, "diff", other(site, READS_ALL + LESS), "--datasource", "shop", expected=1)
    assert next(shift for shift in back["roles"] if shift["role"] == "reader")["gained"] == {"see": hidden[1:], "read": hidden}
    assert (await policy(site, "diff", own, "--datasource", "shop"))["roles"] == []


def _bundles(roles: Any, hidden: list[str]) -> dict[str, Any]:
    """Roles of the shipped bundles see the same tables, and may not read all of it; they gain nothing."""
    others = {role: told for role, told in roles.items() if role != "reader"}
    assert all(gained == {} and lost["see"] == hidden[1:] for gained, lost in others.values())
    return others
