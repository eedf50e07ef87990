"""Tools whose arguments clients repeat in headers, for whatever routes requests on the way."""

from typing import Annotated

import pytest
from fix_postgres import PostgresServer
from fix_server import MakeSite
from pydantic import Field

from ostiary.app import open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal
from ostiary_tools.api import Args, Surface
from ostiary_tools.whoami import Whoami


class RoutedArgs(Args):
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]


class Routed(Whoami):
    name = "routed"
    args = RoutedArgs  # type: ignore[assignment]  # another tool in all but its run


@pytest.mark.asyncio
async def test_headers_are_compared_for_the_callers_own_tools_only(make_site: MakeSite, postgres_server: PostgresServer):
    """A mismatch is answered before the call is judged: for a tool that is hidden it would tell that there is one."""
    site = await make_site({"shop": postgres_server.dsn()})
    async with open_house(site.config, lambda _: None) as house:
        registry = {**house.registry, (Surface.TOOL, "routed"): Routed()}
        house.gate._registry = registry  # as a pack would bring it
        reader = McpApp(house.gate, lambda _: Principal("a", ("reader",)))
        stranger = McpApp(house.gate, lambda _: Principal("b", ("nobody",)))

        schema = reader.mirrored("routed")
        assert schema is not None
        assert schema["properties"]["region"]["x-mcp-header"] == "Region"
        assert [reader.mirrored(name) for name in ("query", "nothing")] == [None, None]
        assert stranger.mirrored("routed") is None
