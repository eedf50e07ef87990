"""Masks through a real client: what an agent gets in the place of values, wherever a statement uses them."""

import asyncio
import hashlib
import hmac
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import mcp.types as t
import pytest
from fix_postgres import PostgresServer
from fix_server import MakeSite
from mcp import Client

from ostiary.app import House, open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal

KEY = "0123456789abcdef0123456789abcdef"
PEOPLE = """
CREATE DOMAIN four_digits AS varchar(4) NOT NULL CHECK (VALUE ~ '^[0-9]{4}$');
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE people (
    id integer PRIMARY KEY, email text, phone varchar(12), born date, seen timestamptz, pay numeric(8,2), points integer,
    code uuid, badge bigint, note text NOT NULL, flag boolean, home point, secret text,
    pin four_digits DEFAULT '1234', mood mood DEFAULT 'glad', parts text[] DEFAULT '{a,b}'
);
INSERT INTO people VALUES
    (1, 'ann@example.org', '+49301234567', '1980-05-17', '2024-03-05 10:00+00', 1234.56, -7, '00000000-0000-0000-0000-000000000001',
     71, 'A1-b2', true, '(1,2)', 'hidden-1'),
    (2, 'b@example.org', '+1', 'infinity', '-infinity', -0.01, 2147483647, NULL, -71, 'ü9', false, NULL, 'hidden-2'),
    (3, NULL, NULL, '4714-11-24 BC', '294276-12-31 23:59:59+00', 'NaN', -2147483648, NULL, NULL, '', NULL, NULL, 'hidden-3'),
    (4, 'a@b@secret.example', '123456789012', '5874897-12-31', NULL, -999999.99, NULL, NULL, NULL, 'x', NULL, NULL, 'hidden-4');
CREATE TABLE mails (address text, about text);
INSERT INTO mails VALUES ('ann@example.org', 'hello'), (NULL, 'I am ann@example.org, of 7 Elm Street');
CREATE TABLE events (day date, note text, code text) PARTITION BY RANGE (day);
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO events VALUES ('2026-05-01', 'a note', 'a code');
"""
POLICY = """
@id("calls") permit (principal in Role::"reader", action == Action::"call", resource);
@id("sees") permit (principal in Role::"reader", action == Action::"see", resource);
@id("reads") permit (principal in Role::"reader", action == Action::"read", resource)
unless { resource is Column && resource.tags.contains("pii") };
"""

OpenPeople = Callable[..., Any]


def masking(**masks: str) -> str:
    """The policy, with a mask for each of these columns of `people`; they alone are tagged."""
    permits = (
        f'@id("masks-{column}") @mask("{mask}") permit (principal in Role::"reader", action == Action::"read_masked", '
        f'resource == Column::"shop.public.people.{column}");'
        for column, mask in masks.items()
    )
    return POLICY + "\n".join(permits)


@pytest.fixture
def people(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenPeople:
    @asynccontextmanager
    async def opened(policy: str, *tagged: str, **wishes: Any) -> AsyncIterator[Client]:
        dsn = postgres_server.dsn(database=await make_database(PEOPLE))
        tags = {f"public.{name}" if "." in name else f"public.people.{name}": ["pii"] for name in (*tagged, "secret")}
        site = await make_site({"shop": dsn}, policy=policy, tagged=tags, **{"mask_key": KEY, **wishes})
        async with open_house(site.config, lambda _: None) as house, client_of(house) as client:
            yield client

    return opened


def client_of(house: House) -> Client:
    return Client(McpApp(house.gate, lambda _: Principal("ada", ("reader",))).server)


async def asked(client: Client, tool: str, **arguments: Any) -> str:
    block = (await client.call_tool(tool, arguments)).content[0]
    assert isinstance(block, t.TextContent)
    return block.text


async def values(client: Client, sql: str) -> list[str]:
    """Lines of the answer that hold rows."""
    text = await asked(client, "query", sql=sql)
    assert text.startswith("<data-"), text
    return text.partition("\n</data-")[0].splitlines()[2:]


def signed(digest: str) -> str:
    return str(int.from_bytes(bytes.fromhex(digest[:16]), "big", signed=True))


def hashed(value: str) -> str:
    return hmac.new(KEY.encode(), value.encode(), hashlib.sha256).hexdigest()


VALUES = {
    "email": {
        "email": ["a***@example.org", "***", "", "a***@secret.example"],
        "null": ["", "", "", ""],
        "redact": ["***", "***", "***", "***"],
        "constant:it's so": ["it's so"] * 4,
        "shape": ["xxx@xxxxxxx.xxx", "x@xxxxxxx.xxx", "", "x@x@xxxxxx.xxxxxxx"],
        "first:2": ["an***", "b@***", "", "a@***"],
        "hash": [hashed("ann@example.org"), hashed("b@example.org"), "", hashed("a@b@secret.example")],
    },
    "phone": {
        "last:4": ["***4567", "***", "", "***9012"],
        "first:999": ["***", "***", "", "***"],
        "constant:a text too long": ["a text too l"] * 4,
    },
    "born": {
        "year": ["1980-01-01", "294000-01-01", "4000-01-01 BC", "294000-01-01"],
        "month": ["1980-05-01", "294000-01-01", "4000-01-01 BC", "294000-01-01"],
        "constant:2000-01-01": ["2000-01-01"] * 4,
    },
    "seen": {
        "month": ["2024-03-01 00:00:00+00", "4000-01-01 00:00:00+00 BC", "294000-01-01 00:00:00+00", ""],
        "null": [""] * 4,
    },
    "pay": {
        "bucket:1000": ["1000", "-1000", "NaN", "-1000000"],
        "constant:12345678.5": ["12345678.5"] * 4,
    },
    "points": {
        "bucket:1000": ["-1000", "2147483000", "-2147483648", ""],
        "constant:-5": ["-5"] * 4,
    },
    "code": {
        "hash": [str(uuid.UUID(hashed("00000000-0000-0000-0000-000000000001")[:32])), "", "", ""],
        "constant:00000000-0000-0000-0000-00000000000f": ["00000000-0000-0000-0000-00000000000f"] * 4,
    },
    "badge": {"hash": [signed(hashed("71")), signed(hashed("-71")), "", ""]},
    "flag": {"constant:true": ["t"] * 4},
    "home": {"null": [""] * 4},
    "note": {"shape": ["x9-x9", "x9", '""', "x"], "null": [""] * 4},
    "pin": {"first:1": ["1***", "1***", "1***", "1***"], "null": [""] * 4},
    "mood": {"null": [""] * 4},
    "parts": {"null": [""] * 4},
}
"""Column → mask → what the agent gets of the four rows."""
NOT_TAKEN = {
    "points": ("redact", "hash", "email", "year", "constant:5000000000", "constant:x"),
    "email": ("bucket:10", "month"),
    "phone": ("hash",),
    "home": ("redact", "constant:(1,2)", "hash"),
    "mood": ("redact", "first:1"),
    "flag": ("constant:yes", "bucket:1"),
    "born": ("constant:2000-02-30", "first:2"),
}


def rounds(table: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Column → mask, so often that each mask of each column had its turn; a server for each would take long."""
    most = max(map(len, table.values()))
    return [{column: masks[n] for column, masks in table.items() if n < len(masks)} for n in range(most)]


@pytest.mark.asyncio
@pytest.mark.parametrize("masks", rounds({column: list(masks) for column, masks in VALUES.items()}))
async def test_every_mask_gives_what_it_says_for_every_value(people: OpenPeople, masks: dict[str, str]) -> None:
    async with people(masking(**masks), *masks) as client:
        described = await asked(client, "describe", tables=["people"])
        for column, mask in masks.items():
            rows = await values(client, f"select id, {column} from people order by id")
            assert [row.partition(",")[2] for row in rows] == VALUES[column][mask], (column, mask)
        assert described.count("[masked: ") == len(masks)


@pytest.mark.asyncio
@pytest.mark.parametrize("masks", rounds(NOT_TAKEN))
async def test_a_column_whose_mask_does_not_take_its_type_does_not_exist(people: OpenPeople, masks: dict[str, str]) -> None:
    async with people(masking(**masks), *masks) as client:
        for column, mask in masks.items():
            assert f"unknown column `{column}`" in await asked(client, "query", sql=f"select {column} from people"), mask


@pytest.mark.asyncio
async def test_without_a_key_a_hashed_column_does_not_exist(people: OpenPeople) -> None:
    async with people(masking(email="hash"), "email", mask_key="") as client:
        assert "unknown column `email`" in await asked(client, "query", sql="select email from people")


@pytest.mark.asyncio
async def test_hashes_join_what_the_values_join(people: OpenPeople) -> None:
    policy = masking(email="hash") + (
        '@id("masks-mails") @mask("hash") permit (principal in Role::"reader", action == Action::"read_masked", '
        'resource == Column::"shop.public.mails.address");'
    )
    async with people(policy, "email", "mails.address") as client:
        assert await values(client, "select p.id, m.about from people p join mails m on m.address = p.email") == ["1,hello"]


@pytest.mark.asyncio
async def test_the_mask_of_an_address_shows_no_text_behind_it(people: OpenPeople) -> None:
    policy = masking() + (
        '@id("masks-about") @mask("email") permit (principal in Role::"reader", action == Action::"read_masked", '
        'resource == Column::"shop.public.mails.about");'
    )
    async with people(policy, "mails.about") as client:
        assert await values(client, "select about from mails") == ["***", "***"]


USES: tuple[tuple[str, list[str] | None], ...] = (
    ("select count(*) from people where email = 'ann@example.org'", ["0"]),
    ("select count(*) from people where email like 'a%'", ["2"]),
    ("select email from people order by email desc nulls last limit 1", ["a***@secret.example"]),
    ("select max(email), min(email) from people", ["a***@secret.example,***"]),
    ("select email, count(*) from people group by email having count(*) > 1", []),
    ("select distinct on (left(email, 1)) email from people where email is not null order by left(email, 1), email", None),
    ("table people", None),
    ("select p from people p", None),
    ("select (p).email from people p", None),
    ("select row_to_json(p), to_jsonb(p.*), p::text from people p", None),
    ("select string_agg(email, ',') over (partition by flag) from people", None),
    ("with q as materialized (select * from people) select email from q union all select email from people", None),
    ("select (select email from people i where i.id = o.id) from people o", None),
    ("select l.email from people o, lateral (select o.email) l", None),
    ("select email from people tablesample bernoulli (100) repeatable (1)", None),
    ("select email from only people", None),
    ("select a.email from people a join people b using (email)", None),
    ("select x.c2 from people as x (c1, c2)", None),
    ("select * from (values ('ann@example.org')) v(e) where exists (select from people p where (p.id, p.email) = (1, v.e))", []),
    ("select xmlforest(email) from people", None),
    ("select (select jsonb_agg(j) from jsonb_each_text(to_jsonb(p)) j) from people p", None),
    ("select case when email = 'ann@example.org' then 1/(id-1) else 1 end from people where id = 1", ["1"]),
    ("select email::integer from people where id = 1", None),
)


@pytest.mark.asyncio
async def test_every_use_of_a_masked_column_is_a_use_of_its_mask(people: OpenPeople) -> None:
    async with people(masking(email="email"), "email") as client:
        for sql, expected in USES:
            text = await asked(client, "query", sql=sql)
            assert "ann@" not in text.replace(sql, ""), sql
            assert "a@b" not in text, sql
            if expected is not None:
                assert await values(client, sql) == expected, sql


@pytest.mark.asyncio
async def test_no_system_column_of_a_masked_table_is_read(people: OpenPeople) -> None:
    async with people(masking(email="email"), "email") as client:
        for sql in ("select ctid from people", "select p.ctid from people p", "select xmin from people"):
            assert "rule: system_column" in await asked(client, "query", sql=sql)


@pytest.mark.asyncio
async def test_plans_of_masked_tables_tell_no_numbers(people: OpenPeople) -> None:
    async with people(masking(email="email"), "email") as client:
        assert "rule: explain" in await asked(client, "query", sql="explain select email from people")
        told = await asked(client, "explain", sql="select email from people where email is null")
        assert "cost and rows scanned are not told" in told
        assert "sequential" not in told
        assert "mask: of public.people.email only `email`, by `masks-email`" in told
        assert "it would run" not in told, "only for those who may read the audit log"


@pytest.mark.asyncio
async def test_pages_of_a_masked_result_go_on_where_they_ended(people: OpenPeople) -> None:
    async with people(masking(email="null", note="null"), "email", "note") as client:
        first = await asked(client, "query", sql="select note, id from people order by note, id", max_rows=2)
        found = re.search(r"[A-Za-z0-9_-]{24}", first.rpartition("cursor")[2])
        assert found, first
        rest = await asked(client, "query", cursor=found[0])
        ids = [line.split(",")[1] for text in (first, rest) for line in text.splitlines() if line.startswith(",")]
        assert ids == ["1", "2", "3", "4"]


@pytest.mark.asyncio
async def test_a_part_shows_no_more_of_a_column_than_the_whole_that_may_be_read(people: OpenPeople) -> None:
    masks = "".join(
        f'@id("{name}") @mask("{mask}") permit (principal in Role::"reader", action == Action::"read_masked", '
        f'resource == Column::"shop.public.{name}");'
        for name, mask in (("events.note", "first:1"), ("events_2026.note", "redact"), ("events.code", "redact"))
    )
    async with people(POLICY + masks, "events.note", "events.code") as client:
        assert await values(client, "select note, code from events") == ["a***,***"]
        assert await values(client, "select note from events_2026") == ["***"]
        assert "unknown column `code`" in await asked(client, "query", sql="select code from events_2026")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "change",
    [
        "COMMENT ON COLUMN events_2026.code IS '@pii'",
        """
        CREATE TABLE events_2027 PARTITION OF events FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
        COMMENT ON COLUMN events_2027.code IS '@pii'
        """,
    ],
)
async def test_what_a_part_is_tagged_with_meanwhile_holds_for_the_next_call(
    make_site: MakeSite,
    make_database: Callable[[str], Awaitable[str]],
    postgres_server: PostgresServer,
    change: str,
) -> None:
    """However old the snapshot is: the part's tags are its whole's too, though the statement does not name the part."""
    name = await make_database(PEOPLE)
    site = await make_site({"shop": postgres_server.dsn(database=name)}, policy=POLICY)
    async with open_house(site.config, lambda _: None) as house, client_of(house) as client:
        assert await values(client, "select code from events") == ["a code"]
        await asyncio.to_thread(postgres_server.sql, change, name)
        told = await asked(client, "query", sql="select code from events")
        assert "a code" not in told
        assert "changed meanwhile" in told or "unknown column `code`" in told
