"""Servers and the control database die between the pages of a result."""

import asyncio
import os
import re
import signal

import pytest
from fix_faults import Installation, answered, crash
from fix_postgres import PostgresServer

pytestmark = pytest.mark.fault

LONG = "select n from numbers order by n"
_HANDLE = re.compile(r'cursor="([A-Za-z0-9_-]{24})"')


@pytest.fixture
def numbers(shop_server: PostgresServer) -> None:
    """A long table."""
    shop_server.sql("CREATE TABLE numbers (n int PRIMARY KEY); INSERT INTO numbers SELECT generate_series(1, 500)")


@pytest.mark.asyncio
async def test_the_server_is_killed_between_pages_and_the_next_one_goes_on(installation: Installation, numbers: None) -> None:
    async with installation.serving() as killed:
        handle = _handle((await killed.query(LONG)).text)
        os.kill(killed.pid, signal.SIGKILL)
        await killed.exit_code()
    async with installation.serving() as other:
        assert "\n201\n202\n" in (await other.call("query", cursor=handle)).text
    await installation.assert_verified()


@pytest.mark.asyncio
async def test_the_control_database_restarts_between_pages_and_the_next_page_comes(
    installation: Installation, control_server: PostgresServer, numbers: None
) -> None:
    async with installation.serving() as serving:
        handle = _handle((await serving.query(LONG)).text)
        await asyncio.to_thread(control_server.stop)
        down = await serving.call("query", cursor=handle)
        assert down.code in ("unavailable", "not_recorded"), down.text
        await asyncio.to_thread(control_server.start)
        page = await answered(lambda: serving.call("query", cursor=handle))
        assert "\n201\n202\n" in page.text
    await installation.assert_verified()


@pytest.mark.asyncio
async def test_a_crash_of_the_control_database_may_take_a_cursor_and_then_it_is_unknown(
    installation: Installation, control_server: PostgresServer, numbers: None
) -> None:
    async with installation.serving() as serving:
        handle = _handle((await serving.query(LONG)).text)
        await crash(control_server)
        await asyncio.to_thread(control_server.start)
        again = await answered(lambda: serving.query(LONG))
        assert "\n201\n202\n" in (await serving.call("query", cursor=_handle(again.text))).text
        old = await serving.call("query", cursor=handle)
        assert "\n201\n202\n" in old.text or "unknown cursor, or one that has ended" in old.text
    await installation.assert_verified()


def _handle(text: str) -> str:
    found = _HANDLE.search(text)
    assert found, text
    return found[1]
