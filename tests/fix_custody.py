"""A server with a shop of two tables, a repository of backups that is ready, and agents that keep them or may not."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_answers import text_of
from fix_postgres import PostgresServer
from fix_queue import working
from fix_server import READS_ALL, MakeSite, Site
from fix_waiting import until
from mcp import Client
from mcp.types import ElicitRequestParams, ElicitResult

from ostiary.app import House, open_house
from ostiary.mcp_app import McpApp
from ostiary.vault import Vault
from ostiary_policies.model import Principal
from ostiary_tools.backup.keys import new_identity
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Fingerprint, Kind, TablePrint
from ostiary_tools.backup.port import Made
from ostiary_tools.backup.repository import initialise, open_repository
from ostiary_tools.backup.sealing import load_signer, write_secret

KEEPER = "keeper_of_backups"
SHOP = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{KEEPER}') THEN
        CREATE ROLE {KEEPER} LOGIN REPLICATION CREATEDB BYPASSRLS IN ROLE pg_read_all_data, pg_monitor;
    END IF;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO {KEEPER}', current_database());
END $$;
CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, email text);
INSERT INTO customers SELECT n, 'customer ' || n, 'canary' || n || '@example.com' FROM generate_series(1, 500) n;
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer REFERENCES customers, total numeric(10, 2));
INSERT INTO orders SELECT n, 1 + n % 500, n / 4.0 FROM generate_series(1, 2000) n;
"""
ROWS = 2500
JOB = re.compile(r'job\(id="([0-9a-f-]{36})"\)')


@dataclass
class Strongroom:
    """A server, and what may be done at it."""

    site: Site
    house: House
    database: str
    answer: str = "accept"
    """What whoever is asked says."""

    def __post_init__(self) -> None:
        self.asked: list[str] = []

    def client(self, role: str = "custodian", agent: str = "ada") -> Client:
        """An agent in a role, whose user can be asked."""
        app = McpApp(self.house.gate, lambda _: Principal(agent, (role,)), jobs=self.house.jobs)
        return Client(app.server, elicitation_callback=self._answer)

    async def _answer(self, context: Any, params: ElicitRequestParams) -> ElicitResult:  # noqa: ARG002 the callback's shape
        self.asked.append(params.message)
        said: Any = self.answer
        return ElicitResult(action=said, content={"approve": True} if said == "accept" else None)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker, while the block lasts."""
        async with working(self.house):
            yield

    async def done(self, client: Client, tool: str, /, **arguments: Any) -> str:
        """A call and its job, to the end."""
        return await done(client, tool, **arguments)

    async def backed_up(self, client: Client, **arguments: Any) -> str:
        """The id of a new backup."""
        said = await self.done(client, "create_backup", **arguments)
        found = re.search(r"backup `([0-9TZa-f-]+)`", said)
        assert found, said
        return found[1]

    async def kept(self, job: str = "a job") -> str:
        """The id of a backup that was made without any database."""
        rows = Fingerprint("shop", (TablePrint("public", "orders", ROWS, "1"),))
        async with making(self.house.vault.repository(), Kind.LOGICAL, "shop", job) as begun:
            member = await begun.put("database.dump", Content.DATABASE, BytesIO(b"a dump" * 10_000), lambda _: None)
            return (await begun.commit(Made("18.6", (member,), rows))).manifest.id

    @asynccontextmanager
    async def admin(self, database: str = "") -> AsyncIterator[asyncpg.Connection]:
        """The data as its owner."""
        connection = await asyncpg.connect(self.site.server.dsn(database=database or self.database))
        try:
            yield connection
        finally:
            await connection.close()


OpenStrongroom = Callable[..., Any]
"""`async with strongroom() as it`."""


@pytest.fixture
def strongroom(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
) -> OpenStrongroom:
    """A server that has backups; `policy` is in force beside the shipped bundles, `ready=False` leaves the repository unmade.

    `login` makes and restores backups.
    """

    @asynccontextmanager
    async def opened(
        *, ready: bool = True, proven: bool = True, rows: str = SHOP, login: str = KEEPER, **wishes: Any
    ) -> AsyncIterator[Strongroom]:
        database = await make_database(rows)
        dsns = {"shop": postgres_server.dsn(database=database)}
        wishes = {
            "policy": READS_ALL,
            "backups": {"shop": postgres_server.dsn(login, database)},
        } | wishes
        site = await make_site(dsns, **wishes)
        site.folder.chmod(0o711)  # copies may be another user's
        async with open_house(site.config, lambda _: None) as house:
            if ready:
                begin(house.vault, proven=proven)
            yield Strongroom(site, house, database)

    return opened


def begin(vault: Vault, *, proven: bool = True) -> Path:
    """What `ostiary backup init` does, and `prove`."""
    signer, own, recovery = load_signer(vault.signing_key), new_identity(), new_identity()
    write_secret(vault.identity_file, own.text)
    initialise(vault.storage(), signer, own.recipient, recovery.recipient)
    if proven:
        assert open_repository(vault.storage(), signer.seal, signer).prove((recovery,))
    return vault.folder


async def begun(client: Client, tool: str, /, **arguments: Any) -> str:
    """The job that a call became."""
    reply = text_of(await client.call_tool(tool, arguments))
    found = JOB.search(reply)
    assert found, reply
    return found[1]


async def ended(client: Client, id_: str) -> str:
    """How a job ended, in the words of the tool `job`."""
    said = [""]

    async def has() -> bool:
        said[0] = text_of(await client.call_tool("job", {"id": id_}))
        return not re.search(r" (is working|waits for a worker)", said[0].partition("\n")[0])

    await until(has, 90)
    return said[0]


async def done(client: Client, tool: str, /, **arguments: Any) -> str:
    """A call and its job, to the end."""
    return await ended(client, await begun(client, tool, **arguments))


def rows(listed: str) -> list[str]:
    """Of a list, the backups."""
    return [line for line in listed.splitlines() if re.match(r"\d{8}T\d{6}Z-", line)]
